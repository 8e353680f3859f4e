"""Photographs from files, folders, bytes and arrays, and sets of them with labels and ratings."""

from dcnn_fast.data.examples import DataSet, Example, by_category
from dcnn_fast.data.folders import SUFFIXES, find_images
from dcnn_fast.data.reading import MAX_PIXELS, Photo, ReadError, read
from dcnn_fast.data.sets import KINDS, load_set

__all__ = [
    "KINDS", "MAX_PIXELS", "SUFFIXES", "DataSet", "Example", "Photo", "ReadError", "by_category", "find_images", "load_set",
    "read",
]  # fmt: skip
