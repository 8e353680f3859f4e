"""The update on the C++ engine (csrc/cpu/update.cpp): one pass over the memory of all parameters, spread over threads."""

from __future__ import annotations

import torch

from dcnn_fast import engine
from dcnn_fast.ops.update.backend import Step, UpdateBackend
from dcnn_fast.ops.update.params import UpdateParams, laid_like

_KINDS = ((torch.float32, torch.float32), (torch.float64, torch.float64), (torch.bfloat16, torch.float32))  # csrc/cpu/update.h


class CpuUpdate(UpdateBackend):
    """The update on the C++ engine."""

    def can_run(self, params: UpdateParams, device: torch.device) -> str | None:
        """None, or one sentence that says why not."""
        if why := engine.reason():
            return why
        if device.type != "cpu":
            return f"the C++ engine runs on the cpu, not on {device.type}"
        if (params.dtype, params.step_dtype) not in _KINDS:
            return f"the C++ engine updates float32, float64 and bfloat16, not {str(params.dtype).removeprefix('torch.')}"
        if not params.in_step:
            return "the C++ engine takes parameters without gaps in memory, and increments that lie as their parameters do"
        return None

    def update(self, params: UpdateParams, step: Step) -> None:
        """Update in place. A value's bits equal the reference's, on any number of threads."""
        laid = [laid_like(g, w) for g, w in zip(step.gradients, step.parameters, strict=True)]
        engine.native.update(
            parameters=[engine.array_of(tensor) for tensor in step.parameters],
            gradients=[engine.array_of(tensor) for tensor in laid],
            increments=[engine.array_of(tensor) for tensor in step.increments],
            rates=step.rates,
            momenta=step.momenta,
            pulls=[decay * rate for decay, rate in zip(step.decays, step.rates, strict=True)],
            threads=engine.threads(),
        )


BACKEND = CpuUpdate()
