"""The fully-connected layer stated plainly, so that a row's bits depend on nothing but the row and the weights.

Libraries change their summation order with a product's shape, a row's place in it, the number of threads and torch's settings.
So every row is multiplied alone, by numpy's own loop, which runs on one thread in an order set by the number of inputs; on
devices other than the cpu, by torch.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dcnn_fast.ops.linear.backend import LinearBackend
from dcnn_fast.ops.linear.params import LinearParams
from dcnn_fast.ops.plain_torch import plainly


class ReferenceLinear(LinearBackend):
    """The layer stated plainly."""

    def can_run(self, params: LinearParams, device: torch.device) -> str | None:
        """The reference runs everything, everywhere."""
        return None

    def forward(self, params: LinearParams, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """x [rows, inputs] -> [rows, outputs]."""
        return forward(params, x, weight, bias)


@plainly
def forward(params: LinearParams, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x: [rows, inputs] -> [rows, outputs]. 16-bit operands are multiplied and summed in float32."""
    if params.precision == "bf16":
        x = x.bfloat16()
    summed = torch.float64 if x.dtype == torch.float64 else torch.float32
    rows = _products(x.to(summed), weight.to(summed)) + bias.to(summed)
    return (rows.relu() if params.relu else rows).to(params.dtype)


def _products(x: Tensor, weight: Tensor) -> Tensor:
    if x.device.type != "cpu":
        return torch.stack([torch.mv(weight, row) for row in x]) if len(x) else x.new_empty(0, len(weight))
    result = torch.empty(len(x), len(weight), dtype=x.dtype, device="cpu")
    filters = np.ascontiguousarray(weight.detach().numpy())
    for row, out in zip(np.ascontiguousarray(x.detach().numpy()), result.numpy(), strict=True):
        np.einsum("oi,i->o", filters, row, out=out)
    return result


BACKEND = ReferenceLinear()
