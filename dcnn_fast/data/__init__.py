"""Photographs from files, folders, bytes and arrays, and sets of them with labels and ratings."""

from dcnn_fast import former
from dcnn_fast.data.examples import DataSet, Example, by_category
from dcnn_fast.data.folders import SUFFIXES, find_images
from dcnn_fast.data.reading import MAX_PIXELS, Photo, ReadError, read
from dcnn_fast.data.sets import KINDS, load_set, open_dataset, source_at
from dcnn_fast.data.sources import Ava, AvaStyle, Csv, Folders, Iad, Source

__all__ = [
    "KINDS", "MAX_PIXELS", "SUFFIXES", "Ava", "AvaStyle", "Csv", "DataSet", "Example", "Folders", "Iad", "Photo",
    "ReadError", "Source", "by_category", "find_images", "load_set", "open_dataset", "read", "source_at",
]  # fmt: skip

__getattr__ = former.names(__name__, {})
