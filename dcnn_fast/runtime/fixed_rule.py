"""Decides which photographs take the fixed evaluation (runtime/fixed.py), and when sharing is worth a plan per photograph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import torch

from dcnn_fast import networks
from dcnn_fast.ops.block.gpu import choice
from dcnn_fast.ops.block.params import problems_of
from dcnn_fast.ops.gpus import LEAST_CAPABILITY, named
from dcnn_fast.ops.views import ViewParams
from dcnn_fast.ops.views.fixed import refused
from dcnn_fast.runtime.executor import FixedRule

MOST_SAMPLES = 1024
SHARED_FROM = 4  # the smallest grid of offsets at which plans always share enough
# Host seconds per photograph, with and without sharing: by `python -m bench --suite host` on one core of an AMD EPYC.
HOST_SHARING, HOST_FIXED = 1.7e-3, 0.1e-3
# The largest part of multiplications that sharing saves for fifty windows of one plane of Arch 1, by grid; counted, 8 draws.
SAVED = {1: 0.64, 2: 0.78}
_VIEWS = 50  # samples that the predictions are for


class Fixed(FixedRule):
    """The rule for a network on a GPU.

    launches: whether all of its layers are launches of kernels.
    """

    def __init__(self, network: networks.Network, dtype: torch.dtype, capability: int, launches: bool) -> None:
        self._network, self._dtype = network, dtype
        self._capability, self._launches = capability, launches
        self.refused = lru_cache(maxsize=1024)(self._refused)  # type: ignore[method-assign]

    def refused(self, shape: tuple[int, int], samples: int, grid: int) -> str | None:
        """As `FixedRule` says."""
        return self._refused(shape, samples, grid)

    def _refused(self, shape: tuple[int, int], samples: int, grid: int) -> str | None:
        if self._capability < LEAST_CAPABILITY:
            return f"it needs compute capability {named(LEAST_CAPABILITY)} or later, this is {named(self._capability)}"
        if not self._launches:
            return "a layer of the network is computed by no kernel that could be recorded"
        if samples > MOST_SAMPLES:
            return f"{samples} samples are more than {MOST_SAMPLES}"
        if why := self._shared(samples, grid):
            return why
        columns = self._network.columns
        return next((why for column in columns if (why := refused(ViewParams(*shape, column.view, column.plane)))), None)

    def _shared(self, samples: int, grid: int) -> str | None:
        """None where no plan is worth the host's time, else one sentence that says why one is."""
        if not any(isinstance(column, networks.Column) for column in self._network.columns):
            return None  # windows of a backbone share nothing
        if grid >= SHARED_FROM:
            return f"windows on a grid of {grid} pixels share most of their work"
        saved = (
            SAVED[min(grid, max(SAVED))]
            * samples
            / _VIEWS
            * predicted_seconds(self._network.columns, self._dtype, self._capability)
        )
        if saved <= HOST_SHARING - HOST_FIXED:
            return None
        return f"sharing is predicted to save {saved * 1e3:.1f} ms of the GPU for {HOST_SHARING * 1e3:.1f} ms of the host"


def predicted_seconds(columns: Sequence[networks.AnyColumn], dtype: torch.dtype, capability: int) -> float:
    """The predicted time of the blocks for fifty windows of every column, by the faster backend (ops/block/gpu/choice.json).
    Counts 0 for blocks without a prediction, and for columns of local windows, which share little.
    """
    total = 0.0
    for column in columns:
        if isinstance(column, networks.Column) and column.view != "local":
            for number, problem in enumerate(problems_of(column)):
                params = replace(problem, dtype=dtype if number else torch.uint8, weight_dtype=dtype, out_dtype=dtype)
                times = choice.predicted(params, capability)
                total += 0.0 if times is None else min(times) * 1e-6
    return total
