"""A property whose value is computed on first use and kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


class computed_once(Generic[Value]):  # noqa: N801 - a decorator
    """functools.cached_property as it is from Python 3.12 on, without a lock.

    Before, all instances share one, and a process made by a fork while another thread computes a value waits for it for ever.
    Two threads may compute the same value; the last one is kept.
    """

    def __init__(self, compute: Callable[[Any], Value]) -> None:
        self._compute, self.__doc__ = compute, compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Value:
        value = instance.__dict__[self._name] = self._compute(instance)  # found there from now on, before this descriptor
        return value
