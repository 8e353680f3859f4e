"""The C library called from another language: functions by ctypes, structs as in include/dcnn_fast.h."""

from __future__ import annotations

import ctypes
import math
import os
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from dcnn_fast import c_library

OK, ARGUMENT, FILE, MODEL, UNSUPPORTED, IMAGE, NOT_FINITE, MEMORY, INTERNAL = range(9)
_double_p = ctypes.POINTER(ctypes.c_double)


class Error(ctypes.Structure):
    """dcnn_error."""

    _fields_ = (("struct_size", ctypes.c_size_t), ("status", ctypes.c_int32), ("message", ctypes.c_char * 508))


class Image(ctypes.Structure):
    """dcnn_image."""

    _fields_ = (
        ("struct_size", ctypes.c_size_t), ("pixels", ctypes.c_void_p), ("width", ctypes.c_int64), ("height", ctypes.c_int64),
        ("row_bytes", ctypes.c_int64),
    )  # fmt: skip


class Options(ctypes.Structure):
    """dcnn_options."""

    _fields_ = (
        ("struct_size", ctypes.c_size_t), ("views", ctypes.c_int64), ("grid", ctypes.c_int64), ("seed", ctypes.c_int64),
        ("long_side", ctypes.c_int64), ("threads", ctypes.c_int32), ("reserved", ctypes.c_int32),
    )  # fmt: skip


class Result(ctypes.Structure):
    """dcnn_result."""

    _fields_ = (
        ("struct_size", ctypes.c_size_t), ("probabilities", _double_p), ("probabilities_count", ctypes.c_size_t),
        ("samples", _double_p), ("samples_count", ctypes.c_size_t), ("mean", ctypes.c_double), ("std", ctypes.c_double),
        ("percentile", ctypes.c_double), ("views", ctypes.c_int64), ("label", ctypes.c_int64), ("enlarged", ctypes.c_int64),
    )  # fmt: skip


@lru_cache(maxsize=1)
def loaded():
    """The library with typed functions."""
    library = ctypes.CDLL(os.fspath(c_library.library()))
    for name in ("open", "read", "close", "labels", "label", "caution", "isa"):
        getattr(library, f"dcnn_model_{name}").restype = ctypes.c_int
    for name in ("label", "caution", "isa"):
        getattr(library, f"dcnn_model_{name}").restype = ctypes.c_char_p
    library.dcnn_version.restype = ctypes.c_char_p
    library.dcnn_model_labels.restype = ctypes.c_size_t
    library.dcnn_model_close.restype = None
    return library


def init(struct, *values):
    """Initialise the struct like its _init in the header; it may be of another version and longer."""
    name = next(kind.__name__ for kind in type(struct).__mro__ if kind.__name__ in ("Error", "Image", "Options", "Result"))
    function = getattr(loaded(), f"dcnn_{name.lower()}_init_sized")
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)[: len(values)])
    function.restype = None
    function(ctypes.addressof(struct), ctypes.sizeof(struct), *values)
    return struct


class FailedError(Exception):
    """A call failed with this status and message."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Scored:
    """The results of dcnn_score; NaN becomes None."""

    mean: float | None
    std: float | None
    percentile: float | None
    views: int
    label: str
    probs: dict[str, float]
    samples: np.ndarray
    enlarged: bool


def check(status, error):
    """Raise the error that the call reports."""
    assert status == error.status
    if status != OK:
        raise FailedError(status, error.message.decode())


def new_error():
    """A dcnn_error initialised like its _init function."""
    return init(Error())


class Model:
    """A model opened from a path, or from a file's bytes."""

    def __init__(self, source):
        self.handle, error = ctypes.c_void_p(), new_error()
        if isinstance(source, bytes):
            status = loaded().dcnn_model_read(
                source, ctypes.c_size_t(len(source)), ctypes.byref(self.handle), ctypes.byref(error)
            )
        else:
            status = loaded().dcnn_model_open(os.fsencode(source), ctypes.byref(self.handle), ctypes.byref(error))
        assert (status == OK) == bool(self.handle)
        check(status, error)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        loaded().dcnn_model_close(self.handle)

    @property
    def labels(self):
        """The labels' names."""
        count = loaded().dcnn_model_labels(self.handle)
        return [loaded().dcnn_model_label(self.handle, ctypes.c_size_t(i)).decode() for i in range(count)]

    @property
    def isa(self):
        """The instruction set's name."""
        return loaded().dcnn_model_isa(self.handle).decode()

    @property
    def caution(self):
        """The caution about its scores."""
        return loaded().dcnn_model_caution(self.handle).decode()

    def score(self, pixels, *, row_bytes=None, **options):
        """The score of [H, W, 3] uint8."""
        image = init(Image(), pixels.ctypes.data, pixels.shape[1], pixels.shape[0])
        asked, result, error = init(Options()), init(Result()), new_error()
        image.row_bytes = pixels.strides[0] if row_bytes is None else row_bytes
        for name, value in options.items():
            setattr(asked, name, value)
        labels = self.labels
        probs, samples = np.full(len(labels), np.nan), np.full((max(0, min(asked.views, 10**6)), len(labels)), np.nan)
        result.probabilities, result.probabilities_count = probs.ctypes.data_as(_double_p), probs.size
        result.samples, result.samples_count = samples.ctypes.data_as(_double_p), samples.size
        status = loaded().dcnn_score(self.handle, *map(ctypes.byref, (image, asked, result, error)))
        check(status, error)
        mean, std, percentile = (None if math.isnan(x) else x for x in (result.mean, result.std, result.percentile))
        return Scored(
            mean, std, percentile, result.views, labels[result.label], dict(zip(labels, probs.tolist(), strict=True)), samples,
            bool(result.enlarged),
        )  # fmt: skip
