"""The inverted residual block: pointwise expansion, depthwise filters, pointwise projection, and x added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dcnn_fast.ops import backend as backends
from dcnn_fast.ops.backend import choose
from dcnn_fast.ops.mbconv import cpu, reference, triton
from dcnn_fast.ops.mbconv.backend import MbConvBackend, MbConvWeights, PreparedMbConv
from dcnn_fast.ops.mbconv.params import MbConvParams, same_padding
from dcnn_fast.ops.precision import Precision
from dcnn_fast.ops.registry import register, require_tensors
from dcnn_fast.ops.torch_tools import in_one_batch, in_transform, refuse_tangents, widened, without_derivatives

BACKENDS: Mapping[str, MbConvBackend] = {"triton": triton.BACKEND, "cpu": cpu.BACKEND, "reference": reference.BACKEND}
_NO_BACKWARD = "mbconv has no backward: call it under torch.no_grad()"
_FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def mbconv(
    x: Tensor, weights: MbConvWeights, *, stride: int = 1, residual: bool = False, precision: Precision = "ieee"
) -> Tensor:
    """One inverted residual block: ReLU6 after the expansion and after the filters, no activation after the projection.

    A result's bits depend on the values it sees and the weights alone: not on the batch, its place or the threads
    (docs/design.md#scores). Weights are packed anew in every call; `prepare` packs them once. Not differentiable.

    Args:
        x: [N, channels, height, width], floating point, any strides (channels_last is fastest).
        weights: The layers' weights, in x's dtype and on its device; the filters' input is padded as `same_padding` says.
        stride: The filters' step, in pixels, 1 to their size.
        residual: Whether x is added to the result, whose shape must be x's.
        precision: "ieee", or "bf16": the operands of the products at each pixel are rounded to bfloat16 and summed in float32.

    Returns:
        [N, filters, ceil(height / stride), ceil(width / stride)] in x's dtype and in channels_last memory.

    Raises:
        RuntimeError: A gradient is asked for, or it is called in forward mode.
        ValueError: An argument breaks a rule; the message names the argument, the rule and the value.
        TypeError: An argument has the wrong type or dtype; the message names it, the rule and the type given.
        BackendError: No backend can run it.

    Source:
        Sandler et al. 2018, section 3; Tan and Le 2019
    """
    named = _named(weights)
    require_tensors(x=x, **named)
    x = widened(x, weights.project[0])
    params = _checked(x, weights, stride, residual, precision)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, *named.values())):
        raise RuntimeError(_NO_BACKWARD)
    refuse_tangents("mbconv", x, *named.values())
    expand = (None, None) if weights.expand is None else weights.expand
    layers = (*expand, *weights.depthwise, *weights.project)
    return (_in_transform if in_transform() else _operator)(x, *layers, params.stride, params.residual, params.precision)


def _operator(x: Tensor, *arguments: Any) -> Tensor:
    made: Tensor = torch.ops.dcnn_fast.mbconv(x, *arguments)
    return made


_in_transform = without_derivatives("mbconv", _operator, _NO_BACKWARD)


def prepare(params: MbConvParams, weights: MbConvWeights, device: torch.device | str = "cpu") -> PreparedMbConv:
    """The block with its weights in the chosen backend's layout, ready for any number of inputs of any extents.

    params: the problem; its extents do not matter. weights: on `device`; they must not change afterwards. Raises BackendError
    when no backend can run it.
    """
    return BACKENDS[choose(BACKENDS, params, torch.device(device))].prepare(params, weights)


def explain(params: MbConvParams, device: torch.device | str = "cpu") -> list[backends.Answer]:
    """Every backend's answer for one problem, in order of preference."""
    return backends.explain(BACKENDS, params, torch.device(device))


def _named(weights: MbConvWeights) -> dict[str, Tensor]:
    """The tensors, keyed by their names in messages."""
    layers = {"expand": weights.expand, "depthwise": weights.depthwise, "project": weights.project}
    return {
        f"weights.{name}{part}": tensor
        for name, layer in layers.items()
        if layer is not None
        for part, tensor in zip(("", "'s bias"), layer, strict=True)
    }


def _params_of(x: Tensor, weights: MbConvWeights, stride: int, residual: bool, precision: Precision) -> MbConvParams:
    expanded, size, _ = weights.depthwise[0].shape
    images, channels, height, width = x.shape
    return MbConvParams(
        images, channels, height, width, expanded, weights.project[0].shape[0], size, stride, weights.expand is not None,
        residual, x.dtype, precision,
    )  # fmt: skip


def _checked(x: Tensor, weights: MbConvWeights, stride: int, residual: bool, precision: Precision) -> MbConvParams:
    """The problem of one call. Raises as `mbconv` says."""
    depthwise, project = weights.depthwise[0], weights.project[0]
    if x.ndim != 4 or min(x.shape[1:]) < 1:
        raise ValueError(f"x must have shape [N, channels, height, width], got {list(x.shape)}")
    if depthwise.ndim != 3 or depthwise.shape[1] != depthwise.shape[2] or min(depthwise.shape) < 1:
        raise ValueError(f"weights.depthwise must have shape [expanded, size, size], got {list(depthwise.shape)}")
    if project.ndim != 2 or min(project.shape) < 1:
        raise ValueError(f"weights.project must have shape [filters, expanded], got {list(project.shape)}")
    params = _params_of(x, weights, stride, residual, precision)
    _require_weights(x, weights, params)
    _require_options(params)
    return params


def _require_weights(x: Tensor, weights: MbConvWeights, params: MbConvParams) -> None:
    expanded, filters, channels = params.expanded, params.filters, params.channels
    shapes = {
        "weights.expand": [expanded, channels], "weights.expand's bias": [expanded],
        "weights.depthwise": [expanded, params.size, params.size], "weights.depthwise's bias": [expanded],
        "weights.project": [filters, expanded], "weights.project's bias": [filters],
    }  # fmt: skip
    if x.dtype not in _FLOATS:
        raise TypeError(f"x must be float64, float32, bfloat16 or float16, got {x.dtype}")
    if not params.expands and expanded != channels:
        raise ValueError(f"weights.depthwise must have x's {channels} channels where nothing is expanded, got {expanded}")
    for name, tensor in _named(weights).items():
        if list(tensor.shape) != shapes[name]:
            raise ValueError(f"{name} must have shape {shapes[name]}, got {list(tensor.shape)}")
        if tensor.dtype != x.dtype:
            raise TypeError(f"{name} must have x's dtype {x.dtype}, got {tensor.dtype}")
        if tensor.device != x.device:
            raise ValueError(f"{name} must be on x's device {x.device}, got {tensor.device}")


def _require_options(params: MbConvParams) -> None:
    stride, filters = params.stride, params.filters
    if isinstance(stride, bool) or not isinstance(stride, int) or not 1 <= stride <= params.size:
        raise ValueError(f"stride must be 1 to the filters' size {params.size}, got {stride!r}")
    if params.residual and (stride != 1 or filters != params.channels):
        raise ValueError(
            f"residual needs stride 1 and as many filters as x's {params.channels} channels, got {stride} and {filters}"
        )
    if params.precision not in ("ieee", "bf16"):
        raise ValueError(f"precision must be ieee or bf16, got {params.precision!r}")


def _weights_of(
    expand: Tensor | None, expand_bias: Tensor | None, depthwise: Tensor, depthwise_bias: Tensor, project: Tensor,
    project_bias: Tensor,
) -> MbConvWeights:  # fmt: skip
    if (expand is None) != (expand_bias is None):
        raise ValueError("expand and expand_bias must both be given or both be None")
    first = None if expand is None or expand_bias is None else (expand, expand_bias)
    return MbConvWeights(first, (depthwise, depthwise_bias), (project, project_bias))


def _run(
    x: Tensor, expand: Tensor | None, expand_bias: Tensor | None, depthwise: Tensor, depthwise_bias: Tensor, project: Tensor,
    project_bias: Tensor, *rest: Any,
) -> Tensor:  # fmt: skip
    weights = _weights_of(expand, expand_bias, depthwise, depthwise_bias, project, project_bias)
    return prepare(_checked(x, weights, *rest), weights, x.device).run(x)


def _fake(
    x: Tensor, expand: Tensor | None, expand_bias: Tensor | None, depthwise: Tensor, depthwise_bias: Tensor, project: Tensor,
    project_bias: Tensor, *rest: Any,
) -> Tensor:  # fmt: skip
    params = _checked(x, _weights_of(expand, expand_bias, depthwise, depthwise_bias, project, project_bias), *rest)
    shape = (params.images, params.filters, params.out_height, params.out_width)
    return x.new_empty(shape).contiguous(memory_format=torch.channels_last)


register(
    "mbconv(Tensor x, Tensor? expand, Tensor? expand_bias, Tensor depthwise, Tensor depthwise_bias, Tensor project, "
    "Tensor project_bias, int stride, bool residual, str precision) -> Tensor",
    _run,
    _fake,
    in_one_batch,
)

__all__ = ["BACKENDS", "MbConvParams", "MbConvWeights", "PreparedMbConv", "explain", "mbconv", "prepare", "same_padding"]
