"""The update on the C++ engine (csrc/cpu/update.cpp): one pass over the memory of all parameters, spread over threads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dcnn_fast import engine
from dcnn_fast.ops.update.params import UpdateParams, laid_like

_KINDS = ((torch.float32, torch.float32), (torch.float64, torch.float64), (torch.bfloat16, torch.float32))  # csrc/cpu/update.h


def can_run(params: UpdateParams, device: torch.device) -> str | None:
    """None, or the sentence that says why not."""
    if why := engine.reason():
        return why
    if device.type != "cpu":
        return f"the C++ engine runs on the cpu, not on {device.type}"
    if (params.dtype, params.step_dtype) not in _KINDS:
        return f"the C++ engine updates float32, float64 and bfloat16, not {str(params.dtype).removeprefix('torch.')}"
    if not params.in_step:
        return "the C++ engine takes parameters without gaps in memory, and increments that lie as their parameters do"
    return None


def update(
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    increments: Sequence[Tensor],
    rates: Sequence[float],
    momenta: Sequence[float],
    decays: Sequence[float],
    params: UpdateParams,
) -> None:
    """In place; every rate is positive. A value's bits are its own, on any number of threads, and those of the reference."""
    laid = [laid_like(g, w) for g, w in zip(gradients, parameters, strict=True)]
    engine.native.update(
        parameters=[engine.array_of(tensor) for tensor in parameters],
        gradients=[engine.array_of(tensor) for tensor in laid],
        increments=[engine.array_of(tensor) for tensor in increments],
        rates=rates,
        momenta=momenta,
        pulls=[decay * rate for decay, rate in zip(decays, rates, strict=True)],
        threads=engine.threads(),
    )
