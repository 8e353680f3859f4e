"""Photographs from files, folders, bytes and arrays."""

from dcnn_fast.data.folders import SUFFIXES, find_images
from dcnn_fast.data.reading import MAX_PIXELS, Photo, ReadError, read

__all__ = ["MAX_PIXELS", "SUFFIXES", "Photo", "ReadError", "find_images", "read"]
