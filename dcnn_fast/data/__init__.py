"""Photographs from files, folders, bytes and arrays, and sets of them with labels and ratings."""

from dcnn_fast.data.examples import DataSet, Example
from dcnn_fast.data.folders import SUFFIXES, find_images
from dcnn_fast.data.reading import MAX_PIXELS, Photo, ReadError, read

__all__ = ["MAX_PIXELS", "SUFFIXES", "DataSet", "Example", "Photo", "ReadError", "find_images", "read"]
