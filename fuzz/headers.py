"""Mutators for files with a safetensors header, which change its JSON or the JSON in one of its texts."""

from __future__ import annotations

import hashlib
import json
from copy import deepcopy
from random import Random

from fuzz.target import Mutator

_NUMBERS = (-1, 0, 1, 2, 7, 2**31 - 1, 2**63, 1e308, 0.5, True, None, "", "x" * 50, [], {}, [[]], {"a": 1})


def _places(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in _places(each, (*path, key)))] if path or inner else []


def _changed(whole: object, random: Random) -> None:
    """Replace a value at one place of nested dicts and lists."""
    places = [place for place in _places(whole) if place]
    if not places:
        return
    *way, last = random.choice(places)
    inside = whole
    for key in way:
        inside = inside[key]  # type: ignore[index]
    choice = random.randrange(3)
    if choice == 0 and isinstance(inside, dict):
        del inside[last]
    elif choice == 1 and isinstance(inside, list):
        inside.append(deepcopy(inside[last]))  # type: ignore[index]
    else:
        inside[last] = deepcopy(random.choice(_NUMBERS))  # type: ignore[index]


def changed_header(key: str, digest: str = "") -> Mutator:
    """A mutator that changes values in the header.

    key: the metadata key of the text with our JSON. digest: the key of its SHA-256, which is mostly updated.
    """

    def mutated(data: bytes, longest: int, random: Random) -> bytes:
        try:
            length = int.from_bytes(data[:8], "little")
            header, rest = json.loads(data[8 : 8 + length]), data[8 + length :]
            ours = json.loads(header["__metadata__"][key])
        except (ValueError, KeyError, TypeError, RecursionError):
            return data
        for _ in range(random.randint(1, 3)):
            _changed(ours if random.random() < 0.95 else header, random)
        if isinstance(header.get("__metadata__"), dict) and random.random() < 0.9:
            header["__metadata__"][key] = json.dumps(ours)
            if digest and random.random() < 0.9:
                header["__metadata__"][digest] = hashlib.sha256(header["__metadata__"][key].encode()).hexdigest()
        text = json.dumps(header).encode()
        return (len(text).to_bytes(8, "little") + text + rest)[:longest]

    return mutated
