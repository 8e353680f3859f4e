"""Resolves the device that a scorer is given to the one that it uses."""

from __future__ import annotations

import re
from typing import Any

import torch

from dcnn_fast.nets import MultiColumn
from dcnn_fast.ops import launch
from dcnn_fast.runtime import Executor, executor_of, verdict

AUTO = "auto"


def require_device(value: Any) -> str:
    """The value, if it names a device. Raises ValueError."""
    if type(value) is not str or re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", value) is None:
        raise ValueError(f"device must be one of auto, cpu, cuda, cuda:N; got {value!r}")
    return value


def executor_on(
    device: str, net: MultiColumn, dtype: torch.dtype, *, graphs: bool, tf32: bool = False
) -> tuple[str, Executor]:  # fmt: skip
    """The executor of a network, and the device that it is on: for "auto" the current GPU where scores have been checked on it
    (`python -m tools.gpu_check`) and it computes this network, else the cpu. Raises ValueError and WeightsError as
    `executor_of` does.
    """
    if device != AUTO:
        return device, executor_of(net, device, dtype, graphs=graphs, tf32=tf32)
    if checked_gpu():
        try:
            return "cuda", executor_of(net, "cuda", dtype, graphs=graphs, tf32=tf32)
        except ValueError:  # no GPU computes this network or dtype: the cpu does, or says why not
            pass
    return "cpu", executor_of(net, "cpu", dtype, graphs=graphs, tf32=tf32)


def checked_gpu() -> bool:
    """Whether there is a GPU on which scores have been checked with the present driver and versions."""
    try:
        return verdict.passed(launch.gpu())
    # No GPU: there is none, or the parent used it before the fork that made this process; torch was built without CUDA; the
    # simulator stands in for one.
    except (RuntimeError, AssertionError, ValueError):
        return False
