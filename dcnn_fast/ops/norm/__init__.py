"""The response norms alone, differentiable: across maps (cmrnorm) and within a map (rnorm)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dcnn_fast.networks import CrossMapNorm, Norm, SameMapNorm
from dcnn_fast.ops.norm import reference
from dcnn_fast.ops.torch_tools import has_tangent, in_transform, without_autocast


def response_norm(x: Tensor, norm: Norm) -> Tensor:
    """x * d**-power with d = k + s * (sum of squares over the norm's window).

    In a network, `block` does this fused. Under torch.autocast it computes in x's dtype. Second derivatives, forward mode and
    torch.func's transforms work.

    Args:
        x: [N, C, H, W].
        norm: CrossMapNorm (a window of maps) or SameMapNorm (a spatial window in each map); both are clipped at the border
            without renormalising.

    Returns:
        [N, C, H, W] in x's dtype.

    Raises:
        ValueError: An argument breaks a rule; the message names it.

    Example:
        >>> response_norm(torch.ones(1, 1, 1, 1), CrossMapNorm(size=1, scale=1.0, power=1.0)).item()
        0.5

    Source:
        docs/cuda-convnet.md#formulas
    """
    if x.ndim != 4:
        raise ValueError(f"x must have shape [N, C, H, W], got {list(x.shape)}")
    if not isinstance(norm, (CrossMapNorm, SameMapNorm)):
        raise ValueError(f"norm must be CrossMapNorm or SameMapNorm, got {norm!r}")
    if in_transform() or has_tangent(x):  # torch's operations support all of them
        with without_autocast(x.device):
            return reference.forward(x, norm)
    result: Tensor = _ResponseNorm.apply(x, norm)  # type: ignore[no-untyped-call]
    return result


class _ResponseNorm(torch.autograd.Function):
    """Saves only x; its backward consists of torch's operations, which can be differentiated again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, norm: Norm) -> Tensor:
        ctx.save_for_backward(x)
        ctx.norm = norm
        with without_autocast(x.device):
            return reference.forward(x, norm)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        (x,) = ctx.saved_tensors
        with without_autocast(x.device):
            return reference.backward(grad, x, ctx.norm), None


__all__ = ["response_norm"]
