"""Checkpoints in the form that cuda-convnet wrote under Python 2: pickle protocol 2, numpy's old names, `options` objects."""

from __future__ import annotations

import struct

import numpy as np


class Option:
    """Pickled as an instance of `options.Option`."""


def _text(value):
    raw = value.encode("latin1") if isinstance(value, str) else value
    return b"U" + bytes([len(raw)]) + raw if len(raw) < 256 else b"T" + struct.pack("<i", len(raw)) + raw


def _array(value):
    kind = value.dtype.str[1:]
    dtype = (
        b"cnumpy\ndtype\n"
        + _text(kind)
        + b"K\x00K\x01\x87R"
        + b"(K\x03"
        + _text("<")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    fortran = value.flags.f_contiguous and not value.flags.c_contiguous
    data = value.tobytes("F" if fortran else "C")
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + _text("b") + b"\x87R"
    return made + b"(K\x01" + _written(tuple(value.shape)) + dtype + _written(bool(fortran)) + _text(data) + b"tb"


def _written(value):
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, (int, float)):
        return b"J" + struct.pack("<i", value) if isinstance(value, int) else b"G" + struct.pack(">d", value)
    if isinstance(value, (str, bytes)):
        return _text(value)
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, Option):
        return b"(coptions\nOption\no" + b"}(" + _text("name") + _text("x") + b"ub"
    opening, closing = {dict: (b"}(", b"u"), list: (b"](", b"e"), tuple: (b"(", b"t")}[type(value)]
    items = [part for pair in value.items() for part in pair] if isinstance(value, dict) else value
    return opening + b"".join(map(_written, items)) + closing


def pickled(value):
    """The bytes of a pickle of protocol 2."""
    return b"\x80\x02" + _written(value) + b"."
