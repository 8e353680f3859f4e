"""The block's derivative: how torch.autograd and the transforms of torch.func obtain it, and which ones are refused.

The registered operators compute: `block` the result, `block_training` the result and the tensors for its backward,
`block_backward` the gradients. This layer only keeps operands and refuses unsupported derivatives by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dcnn_fast.ops.block.params import keeps_result
from dcnn_fast.ops.registry import call
from dcnn_fast.ops.torch_tools import in_transform, no_forward_mode

_NO_SECOND = (
    "block has no second derivative: its gradients cannot be differentiated again (create_graph=True, torch.func.hessian); "
    "the same of torch.nn.functional.conv2d and relu, ops.max_pool and ops.response_norm can"
)


def run(x: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> Tensor:
    """The block of checked operands, differentiable in those that require a gradient. rest: flat options, mean and scale."""
    result: Tensor
    if in_transform():  # its tensors do not always report requires_grad
        result, _, _ = TransformedBlock.apply(x, weight, bias, _Plain(rest))  # type: ignore[no-untyped-call]
    elif torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, weight, bias)):
        result = DifferentiableBlock.apply(x, weight, bias, *rest)  # type: ignore[no-untyped-call]
    else:
        result = call("block", x, weight, bias, *rest)
    return result


class DifferentiableBlock(torch.autograd.Function):
    """The block where no transform is at work. torch is faster with a `forward` that saves its own tensors."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> Tensor:
        outputs: tuple[Tensor, Tensor, Tensor] = call("block_training", x, weight, bias, *rest)
        _keep(ctx, (x, weight, bias, *rest), outputs)
        return outputs[0]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        return _gradients(ctx, grad)


@dataclass(frozen=True)
class _Plain:
    """The non-tensor arguments, opaque to transforms, which would flatten lists and then miscount."""

    values: tuple[Any, ...]


class TransformedBlock(torch.autograd.Function):
    """The block under transforms: its result and, for the transforms alone, the kept tensors."""

    generate_vmap_rule = True  # from the registered operators' rules

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, rest: _Plain) -> tuple[Tensor, Tensor, Tensor]:
        outputs: tuple[Tensor, Tensor, Tensor] = call("block_training", x, weight, bias, *rest.values)
        return outputs

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        *operands, rest = inputs
        kept = _keep(ctx, (*operands, *rest.values), output)
        ctx.save_for_forward(*kept)  # vmap's own `jvp` expects as many, before it calls the one below

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Any, ...]:
        return *_gradients(ctx, grad)[:3], None

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> Any:
        raise RuntimeError(no_forward_mode("block"))


class _Gradients(torch.autograd.Function):
    """`block_backward` where its gradients may be differentiated again, which is refused."""

    generate_vmap_rule = True

    @staticmethod
    def forward(rest: _Plain, *tensors: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        gradients: tuple[Tensor, Tensor, Tensor] = call("block_backward", *tensors, *rest.values)
        return gradients

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        raise RuntimeError(_NO_SECOND)

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> Any:
        raise RuntimeError(_NO_SECOND)


def _keep(ctx: Any, inputs: tuple[Any, ...], outputs: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor | None, ...]:
    """Keep the backward's operands; returns its tensors."""
    x, weight, bias, *flat, mean, scale = inputs
    result, values, hits = outputs
    tensors = (x, weight, bias, result if keeps_result(flat) else values, hits)
    ctx.save_for_backward(*tensors)
    ctx.flat, ctx.pixels = flat, (mean, scale)
    return tensors


def _gradients(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    needs = list(ctx.needs_input_grad[:3])
    tensors, rest = (grad, *ctx.saved_tensors), (*ctx.flat, needs, *ctx.pixels)
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # a compiled graph refuses second derivatives itself
        found = _Gradients.apply(_Plain(rest), *tensors)  # type: ignore[no-untyped-call]
    else:
        found = call("block_backward", *tensors, *rest)
    others = len(ctx.flat) + len(ctx.pixels)
    return *(g if need else None for g, need in zip(found, needs, strict=True)), *[None] * others


__all__ = ["DifferentiableBlock", "TransformedBlock", "run"]
