"""Model files: a safetensors header with our JSON, and the tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from random import Random

from dcnn_fast.nets import Model, ModelError, build, load_model, save_model
from dcnn_fast.spec import Block, Column, CrossMapNorm, Network, Pool, View
from fuzz.target import Target, file_of

_NUMBERS = (-1, 0, 1, 2, 7, 2**31 - 1, 2**63, 1e308, 0.5, True, None, "", "x" * 50, [], {}, [[]], {"a": 1})
_KEY = "dcnn_fast"


def _read(data: bytes) -> None:
    load_model(file_of(data, "m.safetensors"))


def _tiny(views: tuple[View, ...]) -> Model:
    """A model whose file is mostly header."""
    blocks = (Block(2, 5, stride=2, pool=Pool(), norm=CrossMapNorm()), Block(2, 3, padding=1, groups=2))
    columns = tuple(Column(view, blocks, (3, 2), plane=16, window=12, mean=(120.5, 110.0, 100.0)) for view in views)
    return Model(build(Network("tiny", columns, ("low", "high")), seed=1).eval(), {"trained on": "nothing"})


def _seeds() -> Mapping[str, bytes]:
    found = {}
    path = file_of(b"", "seed.safetensors")
    views: tuple[View, ...]
    for views in (("warp",), ("local", "warp")):
        save_model(_tiny(views), path)
        found[f"{len(views)} columns"] = path.read_bytes()
        save_model(_tiny(views), path, fc_storage="int8", block_storage="float16")
        found[f"{len(views)} columns, compact"] = path.read_bytes()
    return found


def _places(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in _places(each, (*path, key)))] if path or inner else []


def _changed(whole: object, random: Random) -> None:
    """Put something else at one place of nested dicts and lists."""
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


def _mutated(data: bytes, longest: int, random: Random) -> bytes:
    """The header changed at a place of its JSON, or of the JSON within."""
    try:
        length = int.from_bytes(data[:8], "little")
        header, rest = json.loads(data[8 : 8 + length]), data[8 + length :]
        ours = json.loads(header["__metadata__"][_KEY])
    except (ValueError, KeyError, TypeError, RecursionError):
        return data
    for _ in range(random.randint(1, 3)):
        _changed(ours if random.random() < 0.95 else header, random)
    if isinstance(header.get("__metadata__"), dict) and random.random() < 0.9:
        header["__metadata__"][_KEY] = json.dumps(ours)
    text = json.dumps(header).encode()
    return (len(text).to_bytes(8, "little") + text + rest)[:longest]


TARGET = Target(_read, (ModelError,), _seeds, longest=1 << 14, mutated=_mutated)
