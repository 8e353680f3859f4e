"""One layer's entry in cuda-convnet's checkpoints."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from dcnn_fast.networks import bounds
from dcnn_fast.networks.convnet_layer import refuse


class Entry:
    """One layer's entry in a checkpoint; values for each input are lists."""

    def __init__(self, name: str, entry: dict[str, Any]) -> None:
        self.name, self.entry = name, entry

    def one(self, key: str, default: Any = None) -> Any:
        listed = listed_of(self.entry.get(key, default))
        if len(listed) != 1:
            raise refuse(self.name, key, f"must be one value, as only the label layer has several inputs, got {len(listed)}")
        return listed[0]

    def at(self, key: str, index: int, inputs: int, default: Any = None) -> Any:
        """The value for one input; a single value may stand for all inputs."""
        listed = listed_of(self.entry.get(key, default))
        if len(listed) not in (1, inputs):
            raise refuse(self.name, key, f"must be one value, or one for each of {inputs} inputs, got {len(listed)}")
        return listed[index if len(listed) == inputs else 0]

    def integer_at(self, key: str, index: int, inputs: int, default: int | None = None) -> int:
        return self._integer(key, self.at(key, index, inputs, default))

    def number_at(self, key: str, index: int, inputs: int, default: float | None = None) -> float:
        return self._number(key, self.at(key, index, inputs, default))

    def connections(self, index: int) -> tuple[int, ...]:
        """The maps that the groups of one input read, group by group."""
        listed = listed_of(self.entry.get("filterConns"))
        found = listed[index] if index < len(listed) else None
        if isinstance(found, np.ndarray):
            found = found.ravel().tolist() if found.dtype.kind in "iu" else None
        if not isinstance(found, (list, tuple)) or len(found) > bounds.WIDTH or not all(type(each) is int for each in found):
            raise refuse(self.name, "filterConns", f"must be numbers of maps, got {shown(found)}")
        return tuple(found)

    def integer(self, key: str, default: int | None = None) -> int:
        return self._integer(key, self.one(key, default))

    def number(self, key: str, default: float | None = None) -> float:
        return self._number(key, self.one(key, default))

    def _integer(self, key: str, value: Any) -> int:
        if not isinstance(value, int) or abs(value) >= 2**31:
            raise refuse(self.name, key, f"must be an integer less than 2**31, got {shown(value)}")
        return int(value)

    def _number(self, key: str, value: Any) -> float:
        if not isinstance(value, (int, float)) or not abs(value) < 1e300:
            raise refuse(self.name, key, f"must be a finite number, got {shown(value)}")
        return float(value)

    def must_be(self, key: str, wanted: Any) -> None:
        """Refuse any value but `wanted`, which is also the default."""
        value = self.one(key, wanted)
        if value != wanted:
            raise refuse(self.name, key, f"must be {wanted}, all that can be said, got {shown(value)}")


def shown(value: Any) -> str:
    """A value in a message: text unchanged, the rest shortened, as nested lists that repeat others could grow exponentially."""
    return value[:40] if isinstance(value, str) else reprlib.repr(value)[:40]


def listed_of(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else [value]
