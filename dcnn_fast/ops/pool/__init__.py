"""Max-pooling alone, differentiable, with cuda-convnet's or torch's rule for ties."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dcnn_fast.networks import ROUNDINGS, Pool, Rounding
from dcnn_fast.ops.block.params import TIES, Ties
from dcnn_fast.ops.pool import reference
from dcnn_fast.ops.torch_tools import in_transform, no_forward_mode, refuse_tangents, without_autocast


def max_pool(x: Tensor, size: int, stride: int, *, rounding: Rounding = "up", ties: Ties = "all") -> Tensor:
    """Max over windows of size x size, stride apart.

    In a network, `block` does this fused. Under torch.autocast it computes in x's dtype. Second derivatives, vmap and the
    reverse-mode transforms of torch.func work.

    Args:
        x: [N, C, H, W], at least `size` high and wide.
        size: The side of a window, in values.
        stride: The step from window to window, in values, 1 to `size`.
        rounding: "up" adds a last window that hangs over the right or bottom edge and ignores what lies outside; "down" drops
            it.
        ties: The gradient goes to "all" equal maxima (cuda-convnet) or to the "first" in row order (torch).

    Returns:
        [N, C, H', W'] in x's dtype.

    Raises:
        ValueError: An argument breaks a rule; the message names it.
        RuntimeError: It is called in forward mode.

    Example:
        >>> max_pool(torch.arange(16.0).reshape(1, 1, 4, 4), 2, 2)
        tensor([[[[ 5.,  7.],
                  [13., 15.]]]])

    Source:
        docs/cuda-convnet.md#formulas
    """
    pool = Pool(size, stride)
    if x.ndim != 4:
        raise ValueError(f"x must have shape [N, C, H, W], got {list(x.shape)}")
    for name, value, choices in (("rounding", rounding, ROUNDINGS), ("ties", ties, TIES)):
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}")
    if min(x.shape[2:]) < size:
        raise ValueError(f"x must be at least size {size} high and wide, got {list(x.shape)}")
    refuse_tangents("max_pool", x)
    function = _TransformedMaxPool if in_transform() else _MaxPool
    result: Tensor = function.apply(x, pool, rounding, ties)  # type: ignore[no-untyped-call]
    return result


class _MaxPool(torch.autograd.Function):
    """Saves only x; its backward consists of torch's operations, which can be differentiated again."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, pool: Pool, rounding: Rounding, ties: Ties) -> Tensor:
        with without_autocast(x.device):
            return reference.forward(x, pool, rounding)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, *ctx.arguments = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        (x,) = ctx.saved_tensors
        with without_autocast(x.device):
            return reference.backward(grad, x, *ctx.arguments), None, None, None


class _TransformedMaxPool(_MaxPool):
    """`_MaxPool` with a `jvp` that refuses tangents, for transforms only: torch.compile takes no function with a `jvp`."""

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> Any:
        raise RuntimeError(no_forward_mode("max_pool"))


__all__ = ["max_pool"]
