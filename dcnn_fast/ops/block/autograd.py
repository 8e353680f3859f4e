"""The block's derivative, as torch.autograd asks for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class DifferentiableBlock(torch.autograd.Function):
    """`torch.ops.dcnn_fast.block`, and its gradients from what the training forward keeps (`BlockParams.kept`)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *flat_and_pixels: Any) -> Tensor:
        result, values, hits = torch.ops.dcnn_fast.block_training(x, weight, bias, *flat_and_pixels)
        *flat, mean, scale = flat_and_pixels
        pool, norm = flat[4:6]
        plain = not pool and not norm  # `kept.result`, which torch.compile cannot trace
        ctx.save_for_backward(x, weight, bias, result if plain else values, hits)
        ctx.flat, ctx.pixels = flat, (mean, scale)
        return result  # type: ignore[no-any-return]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        needs = list(ctx.needs_input_grad[:3])
        grads = torch.ops.dcnn_fast.block_backward(grad, *ctx.saved_tensors, *ctx.flat, needs, *ctx.pixels)
        rest = (*ctx.flat, *ctx.pixels)
        return (*(g if need else None for g, need in zip(grads, needs, strict=True)), *(None for _ in rest))


__all__ = ["DifferentiableBlock"]
