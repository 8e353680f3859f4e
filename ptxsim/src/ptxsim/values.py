"""Registers as numpy arrays.

A register is an array of shape (blocks or 1, threads or 1): a value common to all thread blocks, or to all threads, is held
once and numpy broadcasts it. Arrays are never changed in place, so a `mov` is an alias. The dtype is that of the register's
last write; readers reinterpret the bits.
"""

from __future__ import annotations

from typing import Any, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class UndefinedRead(Exception):  # noqa: N818  (no error of the simulator: it says what the kernel did)
    """A read of a register that no instruction has written."""


class _Undefined:
    """The content of such a register: it can be moved, as by `mov`, but not read."""

    def _read(self, *args: Any, **options: Any) -> NoReturn:
        raise UndefinedRead

    __getattr__ = __array__ = __array_ufunc__ = __invert__ = __bool__ = _read


UNDEFINED = cast(Array, _Undefined())

BOOL = np.dtype(np.bool_)
U8, U16, U32, U64 = (np.dtype(f"u{n}") for n in (1, 2, 4, 8))
S8, S16, S32, S64 = (np.dtype(f"i{n}") for n in (1, 2, 4, 8))
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
RAW128 = np.dtype("V16")

UNSIGNED = {1: U8, 2: U16, 4: U32, 8: U64, 16: RAW128, 32: np.dtype("V32")}

# The dtypes of PTX types. Half types are held as their bits: their arithmetic goes through fp32 or fp64.
DTYPES = {
    "pred": BOOL,
    **{f"{k}{8 * n}": UNSIGNED[n] for k in "bu" for n in (1, 2, 4, 8)},
    "s8": S8,
    "s16": S16,
    "s32": S32,
    "s64": S64,
    "f32": F32,
    "f64": F64,
    "f16": U16,
    "bf16": U16,
    "f16x2": U32,
    "bf16x2": U32,
    "f32x2": U64,
    "tf32": U32,
    "b128": RAW128,
}

with np.errstate(invalid="ignore"):  # signalling NaNs
    _HALF_TO_SINGLE = np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32)
    _HALF_TO_DOUBLE = _HALF_TO_SINGLE.astype(np.float64)
    _BF16_TO_DOUBLE = (np.arange(65536, dtype=np.uint32) << 16).view(np.float32).astype(np.float64)


def bits(x: Array, dtype: np.dtype[np.generic]) -> Array:
    """`x` viewed as `dtype`; a wider register gives its low bits, a narrower one is extended with zeros."""
    have = x.dtype
    if have is dtype:
        return x
    if have.itemsize == dtype.itemsize and have is not BOOL:
        return x.view(dtype)
    if have is BOOL:
        return x.astype(dtype)
    return x.view(UNSIGNED[have.itemsize]).astype(UNSIGNED[dtype.itemsize]).view(dtype)


def constant(value: int, size: int) -> Array:
    """The integer `value`, modulo its width, as a register with the same value everywhere."""
    return np.array([[value % (1 << 8 * size)]], dtype=UNSIGNED[size])


def half_to_single(x: Array) -> Array:
    return _HALF_TO_SINGLE.take(x)


def half_to_double(x: Array) -> Array:
    return _HALF_TO_DOUBLE.take(x)


def bf16_to_single(x: Array) -> Array:
    return (x.astype(np.uint32) << 16).view(np.float32)


def bf16_to_double(x: Array) -> Array:
    return _BF16_TO_DOUBLE.take(x)


def single_to_half(x: Array) -> Array:
    return np.where(np.isnan(x), np.uint16(0x7FFF), x.astype(np.float16).view(np.uint16))


def single_to_bf16(x: Array) -> Array:
    """Round to nearest even; NaN becomes the canonical 0x7fff."""
    b = x.view(np.uint32)
    rounded = ((b + ((b >> 16) & 1) + np.uint32(0x7FFF)) >> 16).astype(np.uint16)
    return np.where(np.isnan(x), np.uint16(0x7FFF), rounded)


def double_to_bf16(x: Array) -> Array:
    """Round fp64 to bf16 once: rounding to odd in fp32 keeps the information that the second rounding needs."""
    single = x.astype(np.float32)
    b = single.view(np.int32)
    back = single.astype(np.float64)
    towards_zero = np.where(np.abs(back) > np.abs(x), b - 1, b)
    odd = np.where((back != x) & np.isfinite(single), towards_zero | 1, b)
    return single_to_bf16(np.where(np.isnan(x), np.int32(0x7FFFFFFF), odd).view(np.float32))


def double_to_half(x: Array) -> Array:
    return np.where(np.isnan(x), np.uint16(0x7FFF), x.astype(np.float16).view(np.uint16))


def flush(x: Array) -> Array:
    """Replace subnormal fp32 numbers by zeros of their sign, as for `.ftz`."""
    small = np.abs(x) < np.float32(2.0**-126)
    return np.where(small, x * np.float32(0), x) if small.any() else x


def differ(x: Array, y: Array) -> Array:
    """Whether raw values of any width differ."""
    if x.dtype.kind != "V":
        return x != y
    words = x.dtype.itemsize // 8
    x, y = np.ascontiguousarray(x), np.ascontiguousarray(y)
    return (x.view(np.uint64).reshape(*x.shape, words) != y.view(np.uint64).reshape(*y.shape, words)).any(axis=-1)
