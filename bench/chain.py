"""The block as a torch user writes it, and the bytes that autograd keeps for the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dcnn_fast import networks
from dcnn_fast.ops import response_norm


def torch_chain(
    x: Tensor, weight: Tensor, bias: Tensor, block: networks.Block, rounding: networks.Rounding, own_norm: bool = False
) -> Tensor:
    """conv2d, ReLU, max_pool2d and local_response_norm of torch, in the block's order; rounding up pads the input with zeros.

    own_norm: `ops.response_norm` in place of torch's norm; it is faster and keeps only its input. Raises ValueError for a norm
    within maps, which torch lacks.
    """
    up = rounding == "up"
    more = [-(extent + 2 * block.padding - block.size) % block.stride for extent in x.shape[2:]]
    if up and any(more):
        x = F.pad(x, (0, more[1], 0, more[0]))
    y = F.conv2d(
        x, weight, bias, block.stride, block.padding, groups=block.groups
    ).relu_()  # in place, as nothing else reads its input
    for stage in block.order.split("-")[1:]:
        if stage == "pool" and block.pool is not None:
            y = F.max_pool2d(y, block.pool.size, block.pool.stride, ceil_mode=up)
        elif stage == "norm" and block.norm is not None:
            norm = block.norm
            if not isinstance(norm, networks.CrossMapNorm):
                raise ValueError("torch has no norm within maps")
            y = response_norm(y, norm) if own_norm else F.local_response_norm(y, norm.size, norm.scale, norm.power, norm.k)
    return y


def saved_bytes(without: Iterable[Tensor], run: Callable[..., Tensor], *arguments: Any, **keywords: Any) -> int:
    """Bytes that autograd keeps between a run with these arguments and its backward pass; shared memory counts once.

    without: tensors not counted, such as parameters.
    """
    others = {tensor.untyped_storage().data_ptr() for tensor in without}
    found: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in others:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = run(*arguments, **keywords)  # alive during the count: freed memory might be reused at the same address
        total = sum(found.values())
        del result
    return total
