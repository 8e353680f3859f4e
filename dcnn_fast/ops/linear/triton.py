"""The fully-connected layer in Triton: two launches; the order of their sums depends on the number of inputs alone."""

from __future__ import annotations

import torch
from torch import Tensor

from dcnn_fast.ops import launch
from dcnn_fast.ops.linear.backend import LinearBackend
from dcnn_fast.ops.linear.params import LinearParams

_ROWS, _OUTPUTS = 64, 64  # per program
_SLICE, _MOST = 1024, 32  # fewest inputs of a slice, most slices
_BLOCK = 1024  # values per program that adds slices
_COUNTED = 2**31  # the kernels count in 32 bits


class TritonLinear(LinearBackend):
    """The layer in Triton."""

    def can_run(self, params: LinearParams, device: torch.device) -> str | None:
        """None, or one sentence that says why not."""
        if why := launch.refused(device):
            return why
        if params.dtype == torch.float64:
            return "the Triton kernel sums in float32, not in float64"
        if params.precision not in ("ieee", "bf16"):
            return f"the Triton kernel multiplies in ieee or bf16, not in {params.precision}"
        if max(params.rows, params.inputs, params.outputs) > _COUNTED - _BLOCK:
            return f"the Triton kernel counts rows, inputs and outputs below 2**31, not {params}"
        return None

    def forward(self, params: LinearParams, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """x [rows, inputs] -> [rows, outputs], in x's dtype."""
        out = torch.empty(params.rows, params.outputs, dtype=x.dtype, device=x.device)
        for what in launches_of(params, x, weight, bias, out):
            launch.launch(what)
        return out


BACKEND = TritonLinear()


def launches_of(
    params: LinearParams, x: Tensor, weight: Tensor, bias: Tensor, out: Tensor
) -> tuple[launch.Launch, launch.Launch]:
    """The two launches, which write to `out` (contiguous)."""
    from dcnn_fast.ops.linear.triton_kernels import linear_product_kernel, linear_sum_kernel  # noqa: PLC0415 - Triton on first use

    x, weight, bias = x.contiguous(), weight.contiguous(), bias.contiguous()
    depth = 64 if weight.dtype.itemsize == 2 else 32
    slices = min(_MOST, max(1, params.inputs // _SLICE))
    share = _tiles(_tiles(params.inputs, slices), depth) * depth
    slices = _tiles(params.inputs, share)
    partial = torch.empty(slices, params.rows, params.outputs, dtype=torch.float32, device=x.device)
    product = launch.Launch(
        linear_product_kernel,
        (_tiles(params.rows, _ROWS), _tiles(params.outputs, _OUTPUTS), slices),
        {
            "x": x, "weight": weight, "partial": partial, "rows": params.rows, "inputs": params.inputs,
            "outputs": params.outputs, "share": share,
        },
        {"BM": _ROWS, "BN": _OUTPUTS, "BK": depth},
        warps=8,
        stages=4,
    )  # fmt: skip
    count = params.rows * params.outputs
    total = launch.Launch(
        linear_sum_kernel,
        (_tiles(count, _BLOCK),),
        {"partial": partial, "bias": bias, "out": out, "slices": slices, "count": count, "outputs": params.outputs},
        {"RELU": params.relu, "BLOCK": _BLOCK},
    )
    return product, total


def _tiles(extent: int, size: int) -> int:
    return -(-extent // size)
