"""cuda-convnet's layer definitions and layer parameters: two texts, separated here by a marker line."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from random import Random

from dcnn_fast.networks import (
    Column,
    ConvNetError,
    Network,
    Preprocessing,
    parse_convnet_cfg,
    preprocessing_of,
    write_convnet_cfg,
)
from fuzz.target import FoundError, Target
from tests.convnet_files import LAYERS, PARAMS

_PART = "\n----\n"
_VALUES = (
    "0", "1", "-1", "3", "7", "2147483648", "9" * 5000, "\u00b2", "1e400", "nan", "inf", "0.5", "conv1", "pool1", "fc1,fc2",
    "1,1,1", ",", "data", "labels", "relu", "max", "avg", "true", "fc", "conv", "pool", "rnorm", "cmrnorm", "softmax",
    "%(x)s", "",
)  # fmt: skip


def _read(data: bytes) -> None:
    layers, parted, params = data.decode("utf-8", "replace").partition(_PART)
    read = parse_convnet_cfg(layers, params if parted else None, Preprocessing(plane=40, window=32))
    try:
        texts = write_convnet_cfg(read.network, read.rules)
    except ConvNetError:
        return
    again = parse_convnet_cfg(*texts, preprocessing_of(read.network), labels=read.network.labels).network
    if _layers(again) != _layers(read.network):
        raise FoundError(f"layers must be written as they were read, got {_layers(again)} for {_layers(read.network)}")


def _layers(network: Network) -> list[object]:
    """The parts of a network that a file must keep: not its name, nor an order of pool and norm where one is missing."""
    return [
        [{**vars(column), "view": None, "blocks": None}, *({**vars(block), "order": None} for block in column.blocks)]
        for column in network.columns
        if isinstance(column, Column)
    ]


def _seeds() -> Mapping[str, bytes]:
    network = parse_convnet_cfg(LAYERS, PARAMS, Preprocessing(plane=40, window=32)).network
    two = dataclasses.replace(network, columns=network.columns * 2)
    return {
        "one": (LAYERS + _PART + PARAMS).encode(),
        "alone": LAYERS.encode(),
        "two": _PART.join(write_convnet_cfg(two)).encode(),
        "new": _PART.join(write_convnet_cfg(network, dialect="v2")).encode(),
    }


def _mutated(data: bytes, longest: int, random: Random) -> bytes:
    """Drop, repeat or move lines, or change their values."""
    lines = data.decode("utf-8", "replace").split("\n")
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(lines))
        choice = random.randrange(4)
        if choice == 0 and len(lines) > 1:
            del lines[at]
        elif choice == 1:
            lines.insert(random.randrange(len(lines) + 1), lines[at])
        elif choice == 2:
            other = random.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        else:
            key, equals, _ = lines[at].partition("=")
            lines[at] = key + equals + random.choice(_VALUES) if equals else random.choice(_VALUES)
    return "\n".join(lines).encode("utf-8", "replace")[:longest]


TARGET = Target(_read, (ConvNetError,), _seeds, longest=16384, mutated=_mutated)
