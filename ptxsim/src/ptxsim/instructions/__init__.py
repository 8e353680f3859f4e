"""Decoders of instructions, by family. Importing this package registers them all."""

from . import (
    asynchronous,
    atomic,
    cluster,
    compare,
    control,
    convert,
    floating,
    half,
    integer,
    matrix,
    mbarrier,
    memory,
    move,
    warp,
    warpgroup,
)  # fmt: skip

__all__ = [
    "asynchronous",
    "atomic",
    "cluster",
    "compare",
    "control",
    "convert",
    "floating",
    "half",
    "integer",
    "matrix",
    "mbarrier",
    "memory",
    "move",
    "warp",
    "warpgroup",
]
