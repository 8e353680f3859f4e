"""Reads JSON of any origin; input that Python's reader ignores or reports cryptically is refused in one sentence."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

_MOST_DIGITS = 100  # of an integer: Python takes minutes to read one of millions, and refuses one of thousands


def loads(text: str | bytes) -> Any:
    """The value of the JSON text. NaN and infinities are accepted in Python's notation.

    Raises ValueError for text that is not JSON, a repeated name in an object, a number of more than a hundred digits and
    nesting deeper than Python reads.
    """
    try:
        return json.loads(text, parse_int=_integer, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("JSON must not be nested so deeply") from None


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number in JSON must have at most {_MOST_DIGITS} digits, got {len(digits)}")
    return int(digits)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"a JSON object must have each name once, got {twice[:60]!r} twice")
    return found
