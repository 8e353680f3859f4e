"""The settings in which a library can run, and the search for the fastest one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from bench.timing import seconds

Run = Callable[[Tensor], np.ndarray]
CHUNK = 10  # windows: few enough for their maps to fit a core's cache, more than one to reuse weights


@dataclass(frozen=True)
class Setting:
    """One configuration of a library. memory: the layout of its input; `prepare` builds a function on float32."""

    name: str
    memory: torch.memory_format
    prepare: Callable[[], Run]


@dataclass(frozen=True)
class Peer:
    """A library in one setting: float32 windows [N, C, H, W] in `memory` -> its output as float32."""

    setting: str
    memory: torch.memory_format
    run: Run

    def __call__(self, x: Tensor) -> np.ndarray:
        """The output for `x`."""
        return self.run(x)


def fastest(settings: Sequence[Setting], x: Tensor) -> Peer:
    """The library's setting that computes `x` in the least time: each is warmed up and tried twice.

    A failing setting is skipped; if all fail, the peer raises the last failure when run.
    """
    best, least = None, float("inf")
    failed: tuple[Setting, Exception] | None = None
    for setting in settings:
        given = x.contiguous(memory_format=setting.memory)
        try:
            run = setting.prepare()
            run(given)
        except Exception as failure:  # whatever a library raises, the others must still be measured
            failed = setting, failure
            continue
        took = min(seconds(partial(run, given)) for _ in range(2))
        if took < least:
            best, least = Peer(setting.name, setting.memory, run), took
    if best is None:
        assert failed is not None, "a library has at least one setting"
        return Peer(failed[0].name, failed[0].memory, _raising(failed[1]))
    return best


def known(settings: Sequence[Setting], name: str) -> Peer:
    """The setting with this name, without trying it."""
    setting = next(setting for setting in settings if setting.name == name)
    try:
        return Peer(name, setting.memory, setting.prepare())
    except Exception as failure:  # as in `fastest`
        return Peer(name, setting.memory, _raising(failure))


def _raising(failure: Exception) -> Run:
    def run(x: Tensor) -> np.ndarray:
        raise failure

    return run


def in_chunks(run: Run) -> Run:
    """A function that runs `run` on `CHUNK` windows at a time."""
    return lambda x: np.concatenate([run(part) for part in torch.split(x, CHUNK)])
