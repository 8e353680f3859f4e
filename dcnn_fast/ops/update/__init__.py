"""cuda-convnet's update of parameters, all of them at once and in place (docs/cuda-convnet.md#formulas)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dcnn_fast.ops.backend import choose
from dcnn_fast.ops.memory import require_apart
from dcnn_fast.ops.registry import register, require_tensors
from dcnn_fast.ops.torch_tools import written_to
from dcnn_fast.ops.update import cpu, reference, triton
from dcnn_fast.ops.update.backend import Step, UpdateBackend
from dcnn_fast.ops.update.params import UpdateParams, dense, same_order

BACKENDS: Mapping[str, UpdateBackend] = {"triton": triton.BACKEND, "cpu": cpu.BACKEND, "reference": reference.BACKEND}

_FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def update(
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    increments: Sequence[Tensor],
    *,
    rates: Sequence[float],
    momenta: Sequence[float],
    decays: Sequence[float],
) -> None:
    """increment <- momentum * increment - rate * gradient - decay * rate * parameter; parameter <- parameter + increment.

    In place, for each parameter W with its gradient dE/dW of a loss that is a mini-batch's mean (cuda-convnet's own gradient
    is of -E, hence its plus sign), its increment, rate, momentum and decay. A parameter whose rate is 0 is left alone, and so
    is its increment, as in cuda-convnet. The increment is the step that was taken, rate included: torch.optim.SGD, which
    keeps a mean of gradients, takes the same steps only while the rate is constant.

    Arithmetic is in the increments' dtype. Everything is on one device. Not differentiable.

    Args:
        parameters: Different tensors, floating point of one dtype, any strides; written to.
        gradients: One for each parameter, of its shape and dtype; strides not necessarily its parameter's (others cost a copy).
        increments: One for each parameter, of its shape; float32 for parameters in float32, float16 or bfloat16, float64 for
            float64. Written to.
        rates: One learning rate for each parameter, finite and not negative.
        momenta: One momentum for each parameter, finite and not negative.
        decays: One weight decay for each parameter, finite and not negative.

    Raises:
        ValueError: An argument breaks a rule; the message names the argument, the rule and the value.
        TypeError: An argument has the wrong type or dtype; the message names it, the rule and the type given.
        BackendError: No backend can run it.

    Example:
        >>> w, step = torch.ones(2), torch.zeros(2)
        >>> update([w], [torch.ones(2)], [step], rates=[0.5], momenta=[0.0], decays=[0.0])
        >>> w, step
        (tensor([0.5000, 0.5000]), tensor([-0.5000, -0.5000]))

    Source:
        docs/cuda-convnet.md#formulas, docs/design.md#update-rule
    """
    options = {"rates": rates, "momenta": momenta, "decays": decays}
    _require(parameters, gradients, increments, options)
    with torch.no_grad():
        torch.ops.dcnn_fast.update(
            list(parameters), list(gradients), list(increments), *([float(x) for x in values] for values in options.values())
        )


def _run(
    parameters: list[Tensor],
    gradients: list[Tensor],
    increments: list[Tensor],
    rates: list[float],
    momenta: list[float],
    decays: list[float],
) -> None:
    options = {"rates": rates, "momenta": momenta, "decays": decays}
    _require_counts(parameters, {"gradients": gradients, "increments": increments, **options})
    moving = [row for row in zip(parameters, gradients, increments, rates, momenta, decays, strict=True) if row[3] != 0]
    if not moving:
        return
    step = Step(*(list(column) for column in zip(*moving, strict=True)))
    weights, steps = step.parameters, step.increments
    params = UpdateParams(
        tuple(w.numel() for w in weights), weights[0].dtype, steps[0].dtype,
        all(dense(w) and same_order(w, own) for w, own in zip(weights, steps, strict=True)),
    )  # fmt: skip
    backend = BACKENDS[choose(BACKENDS, params, weights[0].device)]
    if backend is not cpu.BACKEND:  # the engine checks its operands itself
        _require(parameters, gradients, increments, options)
        _require_apart(step)
    backend.update(params, step)
    written_to((*weights, *steps))


def _fake(
    parameters: list[Tensor],
    gradients: list[Tensor],
    increments: list[Tensor],
    rates: list[float],
    momenta: list[float],
    decays: list[float],
) -> None:
    _require(parameters, gradients, increments, {"rates": rates, "momenta": momenta, "decays": decays})


def _require(
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    increments: Sequence[Tensor],
    options: Mapping[str, Sequence[float]],
) -> None:
    _require_counts(parameters, {"gradients": gradients, "increments": increments, **options})
    for name, numbers in options.items():
        for i, number in enumerate(numbers):
            if not (math.isfinite(number) and number >= 0):
                raise ValueError(f"{name}[{i}] must be finite and not negative, got {number}")
    if len(set(map(id, parameters))) != len(parameters):
        raise ValueError("parameters must be different tensors")
    for i, (w, g, step) in enumerate(zip(parameters, gradients, increments, strict=True)):
        require_tensors(**{f"parameters[{i}]": w, f"gradients[{i}]": g, f"increments[{i}]": step})
        if w.dtype not in _FLOATS or w.dtype != parameters[0].dtype:
            raise TypeError(f"parameters must have one floating dtype, got {w.dtype} beside {parameters[0].dtype}")
        _require_like(f"gradients[{i}]", g, w, w.dtype)
        _require_like(f"increments[{i}]", step, w, increment_dtype(w.dtype))
        if w.device != parameters[0].device:
            raise ValueError(f"parameters must be on one device, got {w.device} and {parameters[0].device}")


def _require_counts(parameters: Sequence[Tensor], others: Mapping[str, Sequence[Any]]) -> None:
    for name, values in others.items():
        if len(values) != len(parameters):
            raise ValueError(f"{name} must be one for each of {len(parameters)} parameters, got {len(values)}")


def _require_like(name: str, tensor: Tensor, parameter: Tensor, dtype: torch.dtype) -> None:
    if tensor.shape != parameter.shape:
        raise ValueError(f"{name} must have shape {list(parameter.shape)}, got {list(tensor.shape)}")
    if tensor.dtype != dtype:
        raise TypeError(f"{name} must have dtype {dtype} for a parameter in {parameter.dtype}, got {tensor.dtype}")
    if tensor.layout != torch.strided:
        raise TypeError(f"{name} must be dense, got layout {tensor.layout}")
    if tensor.device != parameter.device:
        raise ValueError(f"{name} must be on {parameter.device}, as its parameter is, got {tensor.device}")


def _require_apart(step: Step) -> None:
    """Raise ValueError where a written tensor shares memory with another tensor."""
    named = {
        f"{name}[{i}]": tensor
        for name, tensors in (("parameters", step.parameters), ("increments", step.increments), ("gradients", step.gradients))
        for i, tensor in enumerate(tensors)
    }
    count = len(step.gradients)
    names = list(named)
    require_apart({name: named[name] for name in names[:-count]}, {name: named[name] for name in names[-count:]})


def increment_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of a parameter's increment.

    Args:
        dtype: The parameter's dtype, floating point.

    Returns:
        float32 for float32 and narrower parameters, float64 for float64.

    Example:
        >>> increment_dtype(torch.bfloat16)
        torch.float32
    """
    return torch.promote_types(dtype, torch.float32)


register(
    "update(Tensor(a!)[] parameters, Tensor[] gradients, Tensor(b!)[] increments, float[] rates, float[] momenta, "
    "float[] decays) -> ()",
    _run,
    _fake,
)

__all__ = ["BACKENDS", "UpdateParams", "increment_dtype", "same_order", "update"]
