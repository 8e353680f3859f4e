"""What operations ask of torch's own tools around them: autocast, forward mode, and torch.func's transforms.

docs/training.md says in a table how every operation behaves under them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

Rule = Callable[..., tuple[Any, Any]]  # as torch.library.register_vmap takes one


def widened(x: Tensor, weight: Tensor) -> Tensor:
    """x in weight's dtype where autocast is on and x is in a narrower one, so that nothing is lost; otherwise x as it came.

    Under autocast torch's own layers give 16 bits beside parameters of 32, and what follows them must take that.
    """
    if x.dtype == weight.dtype or not x.is_floating_point() or not _autocast_is_on(x.device):
        return x
    return x.to(weight.dtype) if torch.promote_types(x.dtype, weight.dtype) == weight.dtype else x


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Inside, torch's operations on the device compute in the dtype of what they are given."""
    return torch.autocast(device.type, enabled=False) if _autocast_is_on(device) else nullcontext()


def _autocast_is_on(device: torch.device) -> bool:
    return torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)


def in_transform() -> bool:
    """Whether a transform of torch.func (vmap, grad, vjp, jvp ...) is at work in this thread."""
    return bool(torch._C._are_functorch_transforms_active())


def has_tangent(operand: Tensor) -> bool:
    """Whether the operand carries a tangent of forward mode. Not for inside a transform, whose tensors do not always say."""
    return unpack_dual(operand).tangent is not None  # type: ignore[no-untyped-call]


def refuse_tangents(name: str, *operands: Tensor | None) -> None:
    """Raise RuntimeError where an operand has a tangent, which the operation `name` would lose without a word.

    In a transform that is for the `jvp` of an autograd function to say, which is asked at every level.
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
    """Tell autograd that these were written to past it: a backward that kept one of them then refuses to go on with it."""
    for tensor in tensors:
        if not tensor.is_inference():  # those are never kept
            torch.autograd.graph.increment_version(tensor)


def without_derivatives(name: str, run: Callable[..., Tensor], no_backward: str) -> Callable[..., Tensor]:
    """`run`, the operation `name` that has no derivatives, for inside a transform: asked for a gradient it raises RuntimeError
    with `no_backward`, for a tangent with what `no_forward_mode` says. Operators that nothing says of transforms see through.
    """

    class Plain(torch.autograd.Function):
        generate_vmap_rule = True  # that of the registered operator

        @staticmethod
        def forward(*arguments: Any) -> Tensor:
            return run(*arguments)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            """Nothing is kept."""

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            raise RuntimeError(no_backward)

        @staticmethod
        def jvp(ctx: Any, *_: Any) -> Any:
            raise RuntimeError(no_forward_mode(name))

    return Plain.apply


def one_by_one(operator: Callable[..., Any]) -> Rule:
    """A rule for vmap: the operator on each sample by itself, and its results stacked."""

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
    """A rule for vmap of an operator whose first argument is a batch: samples of that argument alone become one batch, which
    gives each its own result, bit for bit; where other arguments differ from sample to sample, `one_by_one`.
    """
    apart = one_by_one(operator)

    def rule(info: Any, in_dims: Any, x: Tensor, *rest: Any) -> tuple[Any, Any]:
        if in_dims[0] is None or any(isinstance(dim, int) for dim in in_dims[1:]):
            return apart(info, in_dims, x, *rest)
        together = x.movedim(in_dims[0], 0)
        found = operator(together.flatten(0, 1), *rest)
        if isinstance(found, Tensor):
            return _samples(found, together), 0
        # What is left out is an empty vector, which has no samples.
        results = tuple(_samples(result, together) if result.ndim > 1 else result for result in found)
        return results, tuple(0 if result.ndim > 1 else None for result in found)

    return rule


def _samples(batch: Tensor, together: Tensor) -> Tensor:
    """[samples * images, ...] as [samples, images, ...], as many as there are in `together`."""
    return batch.view(*together.shape[:2], *batch.shape[1:])
