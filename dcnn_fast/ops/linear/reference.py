"""The fully-connected layer in plain PyTorch, so that a row's bits depend on nothing but the row and the weights.

Libraries change their summation order with a product's shape, with a row's place in it and with the number of threads. So
every row is multiplied alone, as a matrix-vector product of one shape, on one thread, from memory of its own (an address
that is not aligned changes the order, too).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from dcnn_fast.ops.linear.params import LinearParams


def can_run(params: LinearParams, device: torch.device) -> str | None:
    """The reference runs everything, everywhere."""
    return None


def forward(x: Tensor, weight: Tensor, bias: Tensor, params: LinearParams) -> Tensor:
    """x: [rows, inputs] -> [rows, outputs]."""
    if params.precision == "bf16":
        x, weight = x.bfloat16().to(x.dtype), weight.to(x.dtype)
    with _one_thread():
        rows = [torch.mv(weight, row.clone()) for row in x.contiguous()]
    result = torch.stack(rows) + bias if rows else x.new_empty(0, params.outputs)
    return result.relu() if params.relu else result


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    if before == 1:  # nothing to set: what is set here is also what threads that torch has not seen yet begin with
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
