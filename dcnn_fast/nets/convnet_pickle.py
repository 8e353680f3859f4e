"""Reads the pickles that cuda-convnet wrote, without Python's unpickler: nothing named in a file is imported or called.

A pickle is a program. Here the instructions that plain data needs are interpreted, and the few names are known that numpy's
arrays and cuda-convnet's options have; every other instruction and name is refused.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np

_DTYPES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")


class PickleError(ValueError):
    """A pickle that is damaged or holds what is not plain data."""


class _Mark:
    """Where the items of a collection start on the stack."""


class Stub:
    """An object of cuda-convnet's options; what it held is not kept."""


class _DType:
    """A dtype whose byte order may still come. kind: numpy's text, as "f4"."""

    def __init__(self, kind: str) -> None:
        self.kind, self.order = kind, "<"

    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.kind)


class _Array:
    """An array whose contents may still come."""

    value: np.ndarray[Any, Any] | None = None


class _Name:
    """A name that is known: what a call of it makes."""

    def __init__(self, text: str, make: Callable[..., Any]) -> None:
        self.text, self.make = text, make


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    del shape, code
    if not isinstance(kind, _Name) or kind.text != "numpy.ndarray":
        raise PickleError("an array must be a numpy.ndarray")
    return _Array()


def _dtype(kind: Any, *options: Any) -> _DType:
    del options
    kind = kind.lstrip("<>|=") if isinstance(kind, str) else kind
    if kind not in _DTYPES:
        raise PickleError(
            f"an array must be of numbers, got the dtype {kind[:20] if isinstance(kind, str) else type(kind).__name__!r}"
        )
    return _DType(kind)


def _scalar(dtype: Any, data: Any) -> Any:
    if not isinstance(dtype, _DType):
        raise PickleError("a number of numpy's must have a dtype")
    return _numbers(dtype, data, 1)[0].item()


def _bytes(text: Any, encoding: Any) -> bytes:
    if encoding != "latin1":
        raise PickleError("bytes must be encoded as latin1")
    return _as_bytes(text)


def _pairs(pairs: Any = ()) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    for pair in pairs:
        key, value = pair
        made[_key(key)] = value
    return made


def _refused(*arguments: Any) -> Any:
    raise PickleError("an object of this kind cannot be made by calling it")


def _stub(*arguments: Any) -> Stub:
    del arguments
    return Stub()


def _old_object(kind: Any, base: Any, state: Any) -> Any:
    del base, state
    if not isinstance(kind, _Name) or not kind.text.startswith("options."):
        raise PickleError("only objects of cuda-convnet's options are passed over")
    return Stub()


_KNOWN: dict[str, Callable[..., Any]] = {
    "numpy.ndarray": _refused, "numpy.dtype": _dtype, "__builtin__.object": _refused, "collections.OrderedDict": _pairs,
    "copy_reg._reconstructor": _old_object, "_codecs.encode": _bytes,
    **{f"numpy.{core}.multiarray._reconstruct": _reconstruct for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
}  # fmt: skip


def read_pickle(data: bytes) -> Any:
    """What the pickle holds: dicts, lists, tuples, strings, numbers, numpy arrays, and a `Stub` for each object of options.

    Python 2's strings are read as latin1. Raises PickleError, before anything is made that the file does not itself contain.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                return _plain(machine.pop())
            machine.run(opcode.name, argument)
    except PickleError:
        raise
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, AttributeError, UnicodeError) as error:
        raise PickleError(f"damaged: {str(error)[:200]}") from None
    raise PickleError("damaged: it has no end")


class _Machine:
    """The stack and the memo of a pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def pop(self) -> Any:
        value = self.stack.pop()
        if isinstance(value, _Mark):
            raise PickleError("damaged: a mark where a value must be")
        return value

    def to_mark(self) -> list[Any]:
        items = []
        while not isinstance(self.stack[-1], _Mark):
            items.append(self.stack.pop())
        self.stack.pop()
        return items[::-1]

    def run(self, name: str, argument: Any) -> None:
        if name in _PUSHED:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name in _STEPS:
            _STEPS[name](self, argument)
        elif name not in ("PROTO", "FRAME"):
            raise PickleError(f"the instruction {name} is not one that plain data needs")


def _tuple(size: int) -> Callable[[_Machine, Any], None]:
    def step(machine: _Machine, argument: Any) -> None:
        del argument
        items = [machine.pop() for _ in range(size)]
        machine.stack.append(tuple(items[::-1]))

    return step


def _tuple_to_mark(machine: _Machine, argument: Any) -> None:
    del argument
    machine.stack.append(tuple(machine.to_mark()))


def _append(machine: _Machine, argument: Any) -> None:
    del argument
    value = machine.pop()
    _top(machine, list).append(value)


def _appends(machine: _Machine, argument: Any) -> None:
    del argument
    values = machine.to_mark()
    _top(machine, list).extend(values)


def _set_item(machine: _Machine, argument: Any) -> None:
    del argument
    value, key = machine.pop(), machine.pop()
    _top(machine, dict)[_key(key)] = value


def _set_items(machine: _Machine, argument: Any) -> None:
    del argument
    items = machine.to_mark()
    made = _top(machine, dict)
    for key, value in zip(items[::2], items[1::2], strict=True):
        made[_key(key)] = value


def _global(machine: _Machine, argument: Any) -> None:
    text = ".".join(argument.split(" ", 1))
    if text in _KNOWN:
        machine.stack.append(_Name(text, _KNOWN[text]))
    elif text.startswith("options.") and text.count(".") == 1:
        machine.stack.append(_Name(text, _stub))
    else:
        raise PickleError(f"the name {text[:80]!r} is not one that data of cuda-convnet's has")


def _call(machine: _Machine, argument: Any) -> None:
    del argument
    arguments, name = machine.pop(), machine.pop()
    _called(machine, name, arguments)


def _old_instance(machine: _Machine, argument: Any) -> None:
    del argument
    name, *arguments = machine.to_mark()
    _called(machine, name, tuple(arguments))


def _called(machine: _Machine, name: Any, arguments: Any) -> None:
    if not isinstance(name, _Name) or not isinstance(arguments, tuple):
        raise PickleError("damaged: what is called must be a name, with a tuple of arguments")
    machine.stack.append(name.make(*arguments))


def _build(machine: _Machine, argument: Any) -> None:
    del argument
    state = machine.pop()
    target = machine.stack[-1]
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
        target.value = _numbers(dtype, data, math.prod(shape)).reshape(shape, order="F" if fortran else "C")
    elif not isinstance(target, Stub):
        raise PickleError("damaged: a state for what has none")


_PUSHED = (
    "INT", "LONG", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINSTRING", "SHORT_BINSTRING", "BINUNICODE",
    "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES",
)  # fmt: skip
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_LIST": list, "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple, "MARK": _Mark,
}  # fmt: skip
_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "TUPLE": _tuple_to_mark, "TUPLE1": _tuple(1), "TUPLE2": _tuple(2), "TUPLE3": _tuple(3), "APPEND": _append,
    "APPENDS": _appends, "SETITEM": _set_item, "SETITEMS": _set_items, "GLOBAL": _global, "REDUCE": _call, "NEWOBJ": _call,
    "OBJ": _old_instance, "BUILD": _build,
}  # fmt: skip


def _top(machine: _Machine, kind: type) -> Any:
    if type(machine.stack[-1]) is not kind:
        raise PickleError(f"damaged: items for what is no {kind.__name__}")
    return machine.stack[-1]


def _key(key: Any) -> Any:
    """A dict's key; a tuple is none, as hashing a deep one exhausts the interpreter's stack."""
    if not isinstance(key, (str, int, float)):
        raise PickleError("a key must be text or a number")
    return key


def _as_bytes(data: Any) -> bytes:
    if isinstance(data, bytes):
        return data
    if not isinstance(data, str):
        raise PickleError("bytes must be written as text")
    return data.encode("latin1")


def _numbers(dtype: _DType, data: Any, count: int) -> np.ndarray[Any, Any]:
    raw, kind = _as_bytes(data), dtype.numpy()
    if len(raw) != count * kind.itemsize:
        raise PickleError(f"an array of {count} numbers must have {count * kind.itemsize} bytes, got {len(raw)}")
    return np.frombuffer(raw, kind)


def _plain(value: Any) -> Any:
    """`value` with finished arrays in place of those that were in the making; shared and circular parts stay so."""
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
