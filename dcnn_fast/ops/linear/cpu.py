"""The fully-connected layer on the C++ engine (csrc/cpu/linear_impl.h): fp32; a row's bits do not depend on other rows."""

from __future__ import annotations

import torch
from torch import Tensor

from dcnn_fast import engine
from dcnn_fast.ops.linear.backend import LinearBackend
from dcnn_fast.ops.linear.params import LinearParams
from dcnn_fast.ops.memory import contiguous, copied, empty


class CpuLinear(LinearBackend):
    """The layer on the C++ engine."""

    def can_run(self, params: LinearParams, device: torch.device) -> str | None:
        """None, or one sentence that says why not."""
        if why := engine.reason():
            return why
        if device.type != "cpu":
            return f"the C++ engine runs on the cpu, not on {device.type}"
        if params.dtype != torch.float32:
            return f"the C++ engine takes float32, not {params.dtype}"
        if params.precision not in ("ieee", "bf16"):
            return f"the C++ engine computes in ieee fp32 or bf16, not in {params.precision}"
        return None

    def forward(self, params: LinearParams, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """x [rows, inputs] -> [rows, outputs], the outputs spread over `engine.threads()` threads."""
        result = empty((params.rows, params.outputs))
        run(engine.isa(), x, weight, bias, params, result, engine.threads())
        return result


BACKEND = CpuLinear()


def run(isa: str, x: Tensor, weight: Tensor, bias: Tensor, params: LinearParams, result: Tensor, threads: int) -> None:
    """Write the product to `result` (contiguous), with one instruction set."""
    bf16 = params.precision == "bf16"
    x = copied(x, torch.bfloat16) if bf16 else x
    if bf16 and not engine.native.has_bf16(isa):
        x, weight = copied(x, torch.float32), copied(weight, torch.float32)
    engine.native.linear(
        isa,
        x=engine.array_of(contiguous(x)),
        weight=engine.array_of(contiguous(weight)),
        bias=engine.array_of(contiguous(bias)),
        y=engine.array_of(result),
        relu=params.relu,
        threads=threads,
    )
