"""A random call under construction: valid and invalid sizes, words and arrays, and a check of the memory around outputs."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

REFUSALS = (ValueError, TypeError, MemoryError)  # the last for outputs larger than any memory
MARGIN = 64  # values around an array that is written to
SIZES = (-(2**63), -1, 0, 1, 3, 17, 2**16, 2**31 - 1, 2**31, 2**40, 2**63 - 1, 2**64)
WORDS = ("", "up", "ieee", "cross_map", "mmx", "\0", "x" * 1000)


@dataclass
class Call:
    """A call under construction. `right` until an invalid argument is put into it."""

    rng: np.random.Generator
    right: bool = True
    wrongness: float = 0.0  # the probability that a value is invalid
    buffers: list[np.ndarray] = field(default_factory=list)

    def spoils(self) -> bool:
        spoilt = bool(self.rng.random() < self.wrongness)
        self.right &= not spoilt
        return spoilt

    def up_to(self, least: int, most: int) -> int:
        return int(self.rng.integers(least, most + 1))

    def size(self, value: int) -> Any:
        if not self.spoils():
            return value
        choice = self.up_to(0, len(SIZES) + 2)
        return (*SIZES, None, 1.5, "3")[choice]

    def word(self, value: str) -> Any:
        return WORDS[self.up_to(0, len(WORDS) - 1)] if self.spoils() else value

    def array(self, shape: tuple[int, ...], dtype: Any = np.float32, order: tuple[int, ...] | None = None) -> Any:
        """Random values between margins that `untouched` checks. order: the axes, from the outermost in memory on."""
        axes = order or tuple(range(len(shape)))
        count = int(np.prod(shape))
        buffer = np.full(count + 2 * MARGIN, 77, dtype)
        inside = buffer[MARGIN : MARGIN + count]
        inside[:] = self.rng.integers(0, 100, count) if np.dtype(dtype).kind in "iu" else self.rng.standard_normal(count)
        self.buffers.append(buffer)
        array = inside.reshape([shape[axis] for axis in axes]).transpose(np.argsort(axes))
        return self.spoilt(array) if self.spoils() else array

    def last(self, shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
        return self.array(shape, dtype, (0, 2, 3, 1))

    def maybe(self, array: Any) -> Any:
        """The array or None; either may be valid, depending on the other arguments."""
        return array if self.rng.random() < 0.5 else None

    def spoilt(self, array: np.ndarray) -> Any:
        array = np.atleast_1d(array)
        misaligned = np.empty(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
        readable = array.view()
        readable.flags.writeable = False
        huge = np.broadcast_to(np.zeros(1, array.dtype), (*array.shape[:-2], 2**20, 2**20)) if array.ndim > 1 else array[:0]
        far = np.broadcast_to(array[..., :1], (*array.shape[:-1], 2**36))
        none = np.zeros((*array.shape[:-1], 0), array.dtype)
        none_of_many = np.zeros((0, *array.shape[2:], 2**31), array.dtype) if array.ndim > 1 else none
        choices: list[Any] = [
            None, array.tolist(), array.astype(np.float64), array.astype(np.int8), array.astype(array.dtype.newbyteorder()),
            misaligned, readable, array[..., :-1], array[..., ::-1], array[:0], array.T, array.reshape(-1), array[None], huge,
            np.repeat(array, 2, -1)[..., ::2], np.broadcast_to(array[..., :1], array.shape),
            np.concatenate([array, array[:1]]), far, none, none_of_many,
        ]  # fmt: skip
        return choices[self.up_to(0, len(choices) - 1)]

    def untouched(self) -> bool:
        return all((buffer[:MARGIN] == 77).all() and (buffer[-MARGIN:] == 77).all() for buffer in self.buffers)


def any_isa(engine: Any, call: Call) -> Any:
    names = [*engine.isas(), *engine.emulated_isas()]
    return call.word(names[call.up_to(0, len(names) - 1)])


def laid_inside(memory: np.ndarray, array: np.ndarray) -> np.ndarray | None:
    """An array of the shape of `array`, channels_last, that overlaps the memory of `memory`; None if it does not fit."""
    if memory.dtype != array.dtype or not array.size or memory.nbytes < array.nbytes or not _dense(memory):
        return None
    at = memory.__array_interface__["data"][0]
    flat = np.frombuffer((ctypes.c_char * array.nbytes).from_address(at), array.dtype)
    images, channels, rows, cols = array.shape
    return flat.reshape(images, rows, cols, channels).transpose(0, 3, 1, 2)


def _dense(array: np.ndarray) -> bool:
    """Whether its values fill their memory without gaps from its own address on."""
    reach = sum((count - 1) * stride for count, stride in zip(array.shape, array.strides, strict=True))
    return min(array.strides) >= 0 and reach + array.itemsize == array.nbytes


def wrong_places(array: np.ndarray) -> list[np.ndarray]:
    """Arrays that cannot replace one of four axes: too small, or of another kind."""
    smaller = [array[tuple(slice(-1 if axis == cut else None) for axis in range(4))] for cut in range(4)]
    return [*smaller, array[0], array.astype(np.float64)]


@contextlib.contextmanager
def refused() -> Iterator[None]:
    """Requires a refusal inside: an engine that runs has not checked its arguments."""
    try:
        yield
    except REFUSALS:
        return
    raise AssertionError("a wrong call ran")
