"""A property whose value is computed on first use and kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


class computed_once(Generic[Value]):  # noqa: N801 - a decorator
    """functools.cached_property without a lock, as in Python 3.12 and later.

    Earlier versions share one lock among all instances; a process forked while another thread holds it waits for ever.
    Two threads may compute the same value; the last result is kept.
    """

    def __init__(self, compute: Callable[[Any], Value]) -> None:
        self._compute, self.__doc__ = compute, compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Value:
        value = instance.__dict__[self._name] = self._compute(instance)  # later lookups find it there before this descriptor
        return value
