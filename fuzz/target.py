"""A reader under attack."""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

SOURCES: Mapping[str, tuple[str, ...]] = {
    "images": ("dcnn_fast.data", "PIL"),
    "model_files": ("dcnn_fast.nets", "dcnn_fast.networks"),
    "pickles": ("dcnn_fast.nets", "dcnn_fast.networks"),
    "state_dicts": ("dcnn_fast.nets", "torch._weights_only_unpickler"),
    "checkpoints": ("dcnn_fast.training",),
    "layer_files": ("dcnn_fast.networks", "configparser"),
    "labels": ("dcnn_fast.data", "csv"),
    "ava_lists": ("dcnn_fast.data",),
    "xmp_packets": ("dcnn_fast.xmp",),
}
"""The targets, and the modules in which coverage is measured for each."""

LONGEST_REFUSAL = 2000  # characters: enough for a sentence, not for the file

Mutator = Callable[[bytes, int, Random], bytes]


@dataclass(frozen=True)
class Target:
    """How an input is read, and which outcomes are correct.

    read: reads the input as the program would. refusals: the only exceptions that it may raise. seeds: valid inputs and known
    attacks, by name. longest: the most bytes of an input. mutated: makes a similar input of at most that many bytes; None for
    bytes changed anywhere.
    """

    read: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...]
    seeds: Callable[[], Mapping[str, bytes]]
    longest: int = 4096
    mutated: Mutator | None = None


class FoundError(Exception):
    """The reader mishandles an input without raising an exception itself."""


def load(name: str) -> Target:
    """The target with this name: `TARGET` of fuzz/targets/NAME.py."""
    target: Target = importlib.import_module(f"fuzz.targets.{name}").TARGET
    return target


def attack(target: Target, data: bytes) -> None:
    """Give the reader one input. Raises its exceptions except refusals; FoundError for a refusal that is not one sentence."""
    try:
        target.read(data)
    except target.refusals as refusal:
        said = str(refusal)
        if not said or len(said) > LONGEST_REFUSAL:  # commands show its unprintable characters as escapes
            raise FoundError(f"a refusal must be a sentence, got {len(said)} characters: {said[:300]!r}") from refusal


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(prefix="dcnn-fast-fuzz-", dir=memory if os.access(memory, os.W_OK) else None)


def file_of(data: bytes, name: str) -> Path:
    """A file with this name and these bytes, until the next call with the same name."""
    path = Path(_folder().name) / name
    path.write_bytes(data)
    return path
