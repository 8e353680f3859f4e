"""The fully-connected layer for scoring: a row's bits do not depend on its neighbours or on threads."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dcnn_fast.ops.backend import choose
from dcnn_fast.ops.linear import cpu, reference, triton
from dcnn_fast.ops.linear.backend import LinearBackend
from dcnn_fast.ops.linear.params import LinearParams
from dcnn_fast.ops.precision import Precision
from dcnn_fast.ops.registry import register, require_tensors
from dcnn_fast.ops.torch_tools import in_one_batch, in_transform, refuse_tangents, widened, without_derivatives

BACKENDS: Mapping[str, LinearBackend] = {"triton": triton.BACKEND, "cpu": cpu.BACKEND, "reference": reference.BACKEND}
_NO_BACKWARD = "linear has no backward: call it under torch.no_grad(), or use torch.nn.functional.linear"


def linear(x: Tensor, weight: Tensor, bias: Tensor, *, relu: bool = False) -> Tensor:
    """x @ weight.T + bias, with ReLU if asked for.

    A row gives the same bits alone, in any batch, at any place in it, and on any number of threads (docs/design.md#scores).
    Under torch.autocast it computes as without, and an x in a narrower format than weight's is widened to it; vmap works.
    Not differentiable: train with torch's linear.

    Args:
        x: [rows, inputs], floating point.
        weight: [outputs, inputs] in x's dtype. In bfloat16, with x and bias in float32, it names the precision "bf16": x is
            rounded to it, sums are in float32.
        bias: [outputs] in x's dtype.
        relu: Whether negative results become 0.

    Returns:
        [rows, outputs] in x's dtype.

    Raises:
        RuntimeError: A gradient is asked for, or it is called in forward mode.
        ValueError: An argument has the wrong shape or device; the message names it.
        TypeError: An argument has the wrong type or dtype; the message names it.
        BackendError: No backend can run it.

    Example:
        >>> linear(torch.ones(1, 2), torch.tensor([[1.0, 2.0], [-3.0, 0.0]]), torch.zeros(2), relu=True)
        tensor([[3., 0.]])
    """
    require_tensors(x=x, weight=weight, bias=bias)
    x = widened(x, weight)
    _require(x, weight, bias)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, weight, bias)):
        raise RuntimeError(_NO_BACKWARD)
    refuse_tangents("linear", x, weight, bias)
    return (_in_transform if in_transform() else _operator)(x, weight, bias, relu)


def _operator(x: Tensor, weight: Tensor, bias: Tensor, relu: bool) -> Tensor:
    made: Tensor = torch.ops.dcnn_fast.linear(x, weight, bias, relu)
    return made


_in_transform = without_derivatives("linear", _operator, _NO_BACKWARD)


def _params_of(x: Tensor, weight: Tensor, relu: bool) -> LinearParams:
    precision: Precision = "bf16" if weight.dtype == torch.bfloat16 != x.dtype else "ieee"
    return LinearParams(x.shape[0], x.shape[1], weight.shape[0], relu, x.dtype, precision)


def _run(x: Tensor, weight: Tensor, bias: Tensor, relu: bool) -> Tensor:
    if x.ndim != 2 or weight.ndim != 2:
        _require(x, weight, bias)
    params = _params_of(x, weight, relu)
    backend = BACKENDS[choose(BACKENDS, params, x.device)]
    if backend is not cpu.BACKEND:  # the engine checks its operands itself
        _require(x, weight, bias)
    return backend.forward(params, x, weight, bias)


def _fake(x: Tensor, weight: Tensor, bias: Tensor, relu: bool) -> Tensor:
    _require(x, weight, bias)
    return x.new_empty(x.shape[0], weight.shape[0])


def _require(x: Tensor, weight: Tensor, bias: Tensor) -> None:
    if x.ndim != 2:
        raise ValueError(f"x must have shape [rows, inputs], got {list(x.shape)}")
    if weight.ndim != 2 or weight.shape[1] != x.shape[1]:
        raise ValueError(f"weight must have shape [outputs, {x.shape[1]}], got {list(weight.shape)}")
    if bias.shape != weight.shape[:1]:
        raise ValueError(f"bias must have shape [{weight.shape[0]}], got {list(bias.shape)}")
    mixed = x.dtype == bias.dtype == torch.float32 and weight.dtype == torch.bfloat16
    if not mixed and (not x.dtype == weight.dtype == bias.dtype or not x.dtype.is_floating_point):
        raise TypeError(
            "x, weight and bias must have one floating dtype, or float32 with a weight in bfloat16; "
            f"got {x.dtype}, {weight.dtype} and {bias.dtype}"
        )
    if not x.device == weight.device == bias.device:
        raise ValueError(f"x, weight and bias must be on one device, got {x.device}, {weight.device} and {bias.device}")


register("linear(Tensor x, Tensor weight, Tensor bias, bool relu) -> Tensor", _run, _fake, in_one_batch)

__all__ = ["BACKENDS", "LinearParams", "linear"]
