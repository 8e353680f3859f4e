"""The update on the C++ engine (csrc/cpu/update.cpp): one pass over the memory of all parameters, spread over threads."""

from __future__ import annotations

import torch

from dcnn_fast import engine
from dcnn_fast.ops.update.backend import Step, UpdateBackend
from dcnn_fast.ops.update.params import UpdateParams, laid_like

# csrc/cpu/update.h
_KINDS = {
    (torch.float32, torch.float32): 0,
    (torch.float64, torch.float64): 1,
    (torch.bfloat16, torch.float32): 2,
}


class CpuUpdate(UpdateBackend):
    """The update on the C++ engine."""

    def can_run(self, params: UpdateParams, device: torch.device) -> str | None:
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

    def update(self, params: UpdateParams, step: Step) -> None:
        """In place. A value's bits are its own, on any number of threads, and those of the reference."""
        laid = [laid_like(g, w) for g, w in zip(step.gradients, step.parameters, strict=True)]
        columns = step.parameters, laid, step.increments, step.rates, step.momenta, step.decays
        rows = [
            (w.data_ptr(), g.data_ptr(), own.data_ptr(), w.numel(), rate, momentum, decay * rate)
            for w, g, own, rate, momentum, decay in zip(*columns, strict=True)
        ]
        engine.load().update(rows, _KINDS[params.dtype, params.step_dtype], engine.threads())


BACKEND = CpuUpdate()
