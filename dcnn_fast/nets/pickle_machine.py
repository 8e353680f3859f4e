"""Interprets pickles of plain data within a budget: created data count against the file's size.

A pickle may copy one text a million times, or make ten million dicts from ten million bytes. The machine refuses both: it
limits the number of instructions, and calls may copy at most twice the file's size.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

MOST_INSTRUCTIONS = 1_000_000
"""The limit for a pickle: a network with a thousand layers takes forty thousand, and the log of each batch about twenty."""

_COPIES = 2  # bytes that calls may make for each byte of the pickle
_ROOM = 2**20  # bytes that calls may make in addition
_LONGEST_NUMBER = 8  # bytes: longer ones are not sizes, and could be keys with colliding hashes
_LONGEST_LINE = 4096  # bytes of a number written as text or of a name


class PickleError(ValueError):
    """A pickle is damaged or holds more than plain data."""


class Mark:
    """Where the items of a collection start on the stack."""


class Name:
    """A known name: the function that computes a call of it, given the machine and the arguments."""

    def __init__(self, text: str, make: Callable[..., Any]) -> None:
        self.text, self.make = text, make


class Machine:
    """The stack, the memo and the budget of a pickle.

    size: bytes of the pickle. named: gives the object for a name; raises PickleError for an unknown one. build: sets an
    object's state as stored in the pickle. persistent: gives the object for an identifier, None where there are none.
    """

    def __init__(
        self,
        size: int,
        named: Callable[[str], Name],
        build: Callable[[Machine, Any, Any], None],
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.named, self.build, self.persistent = named, build, persistent
        self._left = _COPIES * size + _ROOM

    def spend(self, size: int) -> None:
        """Count bytes that a call makes. Raises PickleError where they exceed the budget."""
        self._left -= size
        if self._left < 0:
            raise PickleError("it asks for more memory than it holds data")

    def result(self, instructions: Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]]) -> Any:
        """The result of the pickle's instructions, from `pickletools.genops`. Raises PickleError for an unknown one."""
        try:
            for number, (opcode, argument, _) in enumerate(instructions):
                if number >= MOST_INSTRUCTIONS:
                    raise PickleError(f"it must have at most {MOST_INSTRUCTIONS:,} instructions")
                if opcode.name == "STOP":
                    return self.pop()
                step = _STEPS.get(opcode.name)
                if step is None:
                    raise PickleError(f"the instruction {opcode.name} is not one that plain data needs")
                step(self, argument)
        except PickleError:
            raise
        except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise PickleError(_reason(error)) from None
        raise PickleError("damaged: it has no end")

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def pop(self) -> Any:
        """Pop the topmost value from the stack. Raises PickleError for a mark, IndexError where there is none."""
        value = self.stack.pop()
        if value is Mark:
            raise PickleError("damaged: a mark where a value must be")
        return value

    def to_mark(self) -> list[Any]:
        """Pop the values above the last mark, and the mark, from the stack."""
        items = []
        while self.stack[-1] is not Mark:
            items.append(self.stack.pop())
        self.stack.pop()
        return items[::-1]

    def top(self, kind: type) -> Any:
        """The topmost value. Raises PickleError where it is not of that kind."""
        if not isinstance(self.stack[-1], kind):
            raise PickleError(f"damaged: items for what is no {kind.__name__}")
        return self.stack[-1]


def _reason(error: Exception) -> str:
    if "set_int_max_str_digits" in str(error):  # replaces Python's advice to programmers
        return f"a number must have at most {8 * _LONGEST_NUMBER} bits"
    return f"damaged: {str(error)[:200] or type(error).__name__}"


def key_of(key: Any) -> Any:
    """A dict's key; tuples are refused, as hashing a deep one exhausts the interpreter's stack."""
    if not isinstance(key, (str, int, float)):
        raise PickleError("a key must be text or a number")
    return key


def as_bytes(machine: Machine, data: Any) -> bytes:
    """The bytes of a Python 2 string, counted against the budget. Raises PickleError for anything else."""
    if isinstance(data, bytes):
        return data
    if not isinstance(data, str):
        raise PickleError("bytes must be written as text")
    machine.spend(len(data))
    return data.encode("latin1")


def pairs(machine: Machine, items: Any = ()) -> dict[Any, Any]:
    """The dict from a list of pairs, which are counted."""
    if not isinstance(items, (list, tuple)):
        raise PickleError("a dict must be made of a list of pairs")
    machine.spend(64 * len(items))
    made: dict[Any, Any] = {}
    for pair in items:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise PickleError("a dict must be made of a list of pairs")
        made[key_of(pair[0])] = pair[1]
    return made


def _constant(make: Callable[[], Any]) -> Callable[[Machine, Any], None]:
    return lambda machine, argument: machine.stack.append(make())


def _number(machine: Machine, argument: Any) -> None:
    if isinstance(argument, int) and argument.bit_length() > 8 * _LONGEST_NUMBER:
        raise PickleError(f"a number must have at most {8 * _LONGEST_NUMBER} bits, got {argument.bit_length()}")
    machine.stack.append(argument)


def _store(machine: Machine, argument: Any) -> None:
    machine.memo[argument] = machine.stack[-1]


def _tuple(size: int) -> Callable[[Machine, Any], None]:
    def step(machine: Machine, argument: Any) -> None:
        del argument
        items = [machine.pop() for _ in range(size)]
        machine.stack.append(tuple(items[::-1]))

    return step


def _append(machine: Machine, argument: Any) -> None:
    del argument
    value = machine.pop()
    machine.top(list).append(value)


def _appends(machine: Machine, argument: Any) -> None:
    del argument
    values = machine.to_mark()
    machine.top(list).extend(values)


def _set_item(machine: Machine, argument: Any) -> None:
    del argument
    value, key = machine.pop(), machine.pop()
    machine.top(dict)[key_of(key)] = value


def _set_items(machine: Machine, argument: Any) -> None:
    del argument
    items = machine.to_mark()
    made = machine.top(dict)
    for key, value in zip(items[::2], items[1::2], strict=True):
        made[key_of(key)] = value


def _global(machine: Machine, argument: Any) -> None:
    machine.stack.append(machine.named(".".join(argument[:_LONGEST_LINE].split(" ", 1))))


def _call(machine: Machine, argument: Any) -> None:
    del argument
    arguments, name = machine.pop(), machine.pop()
    _called(machine, name, arguments)


def _old_instance(machine: Machine, argument: Any) -> None:
    del argument
    name, *arguments = machine.to_mark()
    _called(machine, name, tuple(arguments))


def _called(machine: Machine, name: Any, arguments: Any) -> None:
    if not isinstance(name, Name) or not isinstance(arguments, tuple):
        raise PickleError("damaged: what is called must be a name, with a tuple of arguments")
    machine.stack.append(name.make(machine, *arguments))


def _build(machine: Machine, argument: Any) -> None:
    del argument
    state = machine.pop()
    machine.build(machine, machine.stack[-1], state)


def _persistent(machine: Machine, argument: Any) -> None:
    del argument
    if machine.persistent is None:
        raise PickleError("the instruction BINPERSID is not one that plain data needs")
    machine.stack.append(machine.persistent(machine.pop()))


_STEPS: Mapping[str, Callable[[Machine, Any], None]] = {
    **dict.fromkeys(("INT", "LONG", "LONG1", "LONG4"), _number),
    **dict.fromkeys(
        (
            "BININT", "BININT1", "BININT2", "BINFLOAT", "BINSTRING", "SHORT_BINSTRING", "BINUNICODE", "SHORT_BINUNICODE",
            "BINBYTES", "SHORT_BINBYTES",
        ),
        Machine.push,
    ),
    "NONE": _constant(lambda: None), "NEWTRUE": _constant(lambda: True), "NEWFALSE": _constant(lambda: False),
    "EMPTY_LIST": _constant(list), "EMPTY_DICT": _constant(dict), "EMPTY_TUPLE": _constant(tuple),
    "MARK": _constant(lambda: Mark), "BINPUT": _store, "LONG_BINPUT": _store,
    "BINGET": lambda machine, argument: machine.stack.append(machine.memo[argument]),
    "LONG_BINGET": lambda machine, argument: machine.stack.append(machine.memo[argument]),
    "TUPLE": lambda machine, argument: machine.stack.append(tuple(machine.to_mark())),
    "TUPLE1": _tuple(1), "TUPLE2": _tuple(2), "TUPLE3": _tuple(3), "APPEND": _append, "APPENDS": _appends,
    "SETITEM": _set_item, "SETITEMS": _set_items, "GLOBAL": _global, "REDUCE": _call, "NEWOBJ": _call, "OBJ": _old_instance,
    "BUILD": _build, "BINPERSID": _persistent, "PROTO": lambda machine, argument: None, "FRAME": lambda machine, argument: None,
}  # fmt: skip
