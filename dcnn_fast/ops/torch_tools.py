"""Helpers for operations under torch's tools: autocast, forward mode, and torch.func's transforms.

A table in docs/training.md shows how every operation behaves under them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

Rule = Callable[..., tuple[Any, Any]]  # the type that torch.library.register_vmap takes


def widened(x: Tensor, weight: Tensor) -> Tensor:
    """x converted to weight's dtype where autocast is on and x's dtype is narrower (nothing is lost); otherwise x unchanged.

    Under autocast torch's layers give 16-bit results beside 32-bit parameters, and the layer after them must accept that.
    """
    if x.dtype == weight.dtype or not x.is_floating_point() or not _autocast_is_on(x.device):
        return x
    return x.to(weight.dtype) if torch.promote_types(x.dtype, weight.dtype) == weight.dtype else x


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Inside, torch's operations on the device compute in their operands' dtype."""
    return torch.autocast(device.type, enabled=False) if _autocast_is_on(device) else nullcontext()


def _autocast_is_on(device: torch.device) -> bool:
    return torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)


def in_transform() -> bool:
    """Whether a transform of torch.func (vmap, grad, vjp, jvp ...) is active in this thread."""
    return bool(torch._C._are_functorch_transforms_active())


def has_tangent(operand: Tensor) -> bool:
    """Whether the operand carries a forward-mode tangent. Unreliable inside a transform, whose tensors may hide theirs."""
    return unpack_dual(operand).tangent is not None  # type: ignore[no-untyped-call]


def refuse_tangents(name: str, *operands: Tensor | None) -> None:
    """Raise RuntimeError where an operand has a tangent, which the operation `name` would silently lose.

    Inside a transform the autograd function's `jvp` refuses instead; it is called at every level.
    """
    if not in_transform() and any(operand is not None and has_tangent(operand) for operand in operands):
        raise RuntimeError(no_forward_mode(name))


def no_forward_mode(name: str) -> str:
    """The sentence that refuses forward-mode differentiation of the operation `name`."""
    return (
        f"{name} has no derivative in forward mode (torch.func.jvp, jacfwd, torch.autograd.forward_ad): "
        "use reverse mode (torch.func.vjp, jacrev, backward)"
    )


def written_to(tensors: Sequence[Tensor]) -> None:
    """Tell autograd about writes that it has not seen: a backward that saved one of these tensors then refuses to run."""
    for tensor in tensors:
        if not tensor.is_inference():  # autograd never saves inference tensors
            torch.autograd.graph.increment_version(tensor)


def without_derivatives(name: str, run: Callable[..., Tensor], no_backward: str) -> Callable[..., Tensor]:
    """`run` (operation `name`, which has no derivatives) for use in a transform: a gradient raises RuntimeError with
    `no_backward`, a tangent with `no_forward_mode`'s sentence. Transforms look through an operator without such rules.
    """

    class Plain(torch.autograd.Function):
        generate_vmap_rule = True  # the registered operator's rule

        @staticmethod
        def forward(*arguments: Any) -> Tensor:
            return run(*arguments)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            """Saves nothing."""

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            raise RuntimeError(no_backward)

        @staticmethod
        def jvp(ctx: Any, *_: Any) -> Any:
            raise RuntimeError(no_forward_mode(name))

    return Plain.apply


def one_by_one(operator: Callable[..., Any]) -> Rule:
    """A vmap rule: call the operator on each sample separately, and stack the results."""

    def rule(info: Any, in_dims: Any, *arguments: Any) -> tuple[Any, Any]:
        samples = [
            operator(*(a.select(dim, i) if isinstance(dim, int) else a for a, dim in zip(arguments, in_dims, strict=True)))
            for i in range(info.batch_size)
        ]
        if isinstance(samples[0], Tensor):
            return torch.stack(samples), 0
        return tuple(torch.stack(result) for result in zip(*samples, strict=True)), (0,) * len(samples[0])

    return rule


def in_one_batch(operator: Callable[..., Any]) -> Rule:
    """A vmap rule for an operator whose first argument is a batch: if only that argument varies, all samples become one batch,
    with the same bits as separate calls; if other arguments vary, the rule is `one_by_one`.
    """
    apart = one_by_one(operator)

    def rule(info: Any, in_dims: Any, x: Tensor, *rest: Any) -> tuple[Any, Any]:
        if in_dims[0] is None or any(isinstance(dim, int) for dim in in_dims[1:]):
            return apart(info, in_dims, x, *rest)
        together = x.movedim(in_dims[0], 0)
        found = operator(together.flatten(0, 1), *rest)
        if isinstance(found, Tensor):
            return _samples(found, together), 0
        # An omitted result is an empty vector, which has no samples.
        results = tuple(_samples(result, together) if result.ndim > 1 else result for result in found)
        return results, tuple(0 if result.ndim > 1 else None for result in found)

    return rule


def _samples(batch: Tensor, together: Tensor) -> Tensor:
    """[samples * images, ...] as [samples, images, ...], the leading extents of `together`."""
    return batch.view(*together.shape[:2], *batch.shape[1:])
