"""Decoders of instructions, by family. Importing this package registers them all."""

from . import asynchronous, atomic, compare, control, convert, floating, half, integer, matrix, memory, move, warp

__all__ = [
    "asynchronous",
    "atomic",
    "compare",
    "control",
    "convert",
    "floating",
    "half",
    "integer",
    "matrix",
    "memory",
    "move",
    "warp",
]
