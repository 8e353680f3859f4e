"""Reads cuda-convnet's pickles without Python's unpickler: nothing named in a file is imported or called.

A pickle is a program. Only the instructions for plain data are interpreted (`pickle_machine`), and only the names used by
numpy's arrays and cuda-convnet's options are known; every other instruction and name is refused.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np

from dcnn_fast.nets.pickle_machine import Machine, Name, PickleError, as_bytes, pairs

_DTYPES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")


class Stub:
    """An object of cuda-convnet's options; its contents are dropped."""


class _DType:
    """A dtype whose byte order may still follow. kind: numpy's text, such as "f4"."""

    def __init__(self, kind: str) -> None:
        self.kind, self.order = kind, "<"

    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.kind)


class _Array:
    """An array whose contents may still follow."""

    value: np.ndarray[Any, Any] | None = None


def read_pickle(data: bytes) -> Any:
    """The pickle's contents: dicts, lists, tuples, strings, numbers, numpy arrays, and a `Stub` for each object of options.

    Python 2's strings are read as latin1. Raises PickleError before allocating anything that the file does not itself contain.
    """
    return _plain(Machine(len(data), _named, _build).result(pickletools.genops(data)))


def _reconstruct(machine: Machine, kind: Any, shape: Any, code: Any) -> _Array:
    del machine, shape, code
    if not isinstance(kind, Name) or kind.text != "numpy.ndarray":
        raise PickleError("an array must be a numpy.ndarray")
    return _Array()


def _dtype(machine: Machine, kind: Any, *options: Any) -> _DType:
    del machine, options
    kind = kind[:20].lstrip("<>|=") if isinstance(kind, str) else kind
    if kind not in _DTYPES:
        raise PickleError(
            f"an array must be of numbers, got the dtype {kind if isinstance(kind, str) else type(kind).__name__!r}"
        )
    return _DType(kind)


def _scalar(machine: Machine, dtype: Any, data: Any) -> Any:
    if not isinstance(dtype, _DType):
        raise PickleError("a number of numpy's must have a dtype")
    return _numbers(machine, dtype, data, 1)[0].item()


def _bytes(machine: Machine, text: Any, encoding: Any) -> bytes:
    if encoding != "latin1":
        raise PickleError("bytes must be encoded as latin1")
    return as_bytes(machine, text)


def _refused(*arguments: Any) -> Any:
    del arguments
    raise PickleError("an object of this kind cannot be made by calling it")


def _stub(*arguments: Any) -> Stub:
    del arguments
    return Stub()


def _old_object(machine: Machine, kind: Any, base: Any, state: Any) -> Any:
    del machine, base, state
    if not isinstance(kind, Name) or not kind.text.startswith("options."):
        raise PickleError("only objects of cuda-convnet's options are passed over")
    return Stub()


_KNOWN: dict[str, Callable[..., Any]] = {
    "numpy.ndarray": _refused, "numpy.dtype": _dtype, "__builtin__.object": _refused, "collections.OrderedDict": pairs,
    "copy_reg._reconstructor": _old_object, "_codecs.encode": _bytes,
    **{f"numpy.{core}.multiarray._reconstruct": _reconstruct for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
}  # fmt: skip


def _named(text: str) -> Name:
    if text in _KNOWN:
        return Name(text, _KNOWN[text])
    if text.startswith("options.") and text.count(".") == 1:
        return Name(text, _stub)
    raise PickleError(f"the name {text[:80]!r} is not one that data of cuda-convnet's has")


def _build(machine: Machine, target: Any, state: Any) -> None:
    if isinstance(target, _DType):
        order = state[1]
        if order not in ("<", ">", "|", "="):
            raise PickleError("damaged: a dtype's byte order")
        target.order = "<" if order in "|=" else order
    elif isinstance(target, _Array):
        _, shape, dtype, fortran, data = state
        if not isinstance(dtype, _DType) or not isinstance(shape, tuple) or len(shape) > 8:
            raise PickleError("damaged: an array's shape or dtype")
        if any(type(n) is not int or not 0 <= n < 2**32 for n in shape):
            raise PickleError("damaged: an array's shape or dtype")
        target.value = _numbers(machine, dtype, data, math.prod(shape)).reshape(shape, order="F" if fortran else "C")
    elif not isinstance(target, Stub):
        raise PickleError("damaged: a state for what has none")


def _numbers(machine: Machine, dtype: _DType, data: Any, count: int) -> np.ndarray[Any, Any]:
    kind = dtype.numpy()
    if isinstance(data, (bytes, str)) and len(data) != count * kind.itemsize:
        raise PickleError(f"an array of {count} numbers must have {count * kind.itemsize} bytes, got {len(data)}")
    return np.frombuffer(as_bytes(machine, data), kind)


def _plain(value: Any) -> Any:
    """`value` with finished arrays in place of unfinished ones; shared and circular parts stay so."""
    done: dict[int, Any] = {}
    pending = [value]
    while pending:
        item = pending.pop()
        if id(item) in done:
            continue
        done[id(item)] = item
        pending += item.values() if isinstance(item, dict) else item if isinstance(item, (list, tuple)) else ()
    for item in done.values():
        if isinstance(item, dict):
            item.update({key: _array(part) for key, part in item.items()})
        elif isinstance(item, list):
            item[:] = map(_array, item)
    return _array(value)


def _array(value: Any) -> Any:
    if not isinstance(value, _Array):
        return value
    if value.value is None:
        raise PickleError("damaged: an array without contents")
    return value.value
