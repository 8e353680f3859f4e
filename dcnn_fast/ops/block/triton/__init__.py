"""The block in Triton: over regions, and its gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dcnn_fast import engine
from dcnn_fast.ops.block.gpu.tables import whole_images
from dcnn_fast.ops.block.params import BlockParams
from dcnn_fast.ops.block.triton import backward_launch as triton_backward
from dcnn_fast.ops.block.triton import forward_launch as triton_forward
from dcnn_fast.ops.block.triton.config import forward_config
from dcnn_fast.ops.launch import refused
from dcnn_fast.ops.region import RegionList

_FLOATS = (torch.float32, torch.float16, torch.bfloat16)
_LARGEST_TILE = 2**15  # values; more do not fit a program's registers


def can_run(params: BlockParams, device: torch.device) -> str | None:
    """None, or the sentence that says why not."""
    if why := engine.reason() or refused(device):  # the engine lays out the tables
        return why
    options = params.options
    dtypes = (params.dtype, params.weight_dtype, params.out_dtype)
    if not (
        params.dtype in (torch.uint8, params.weight_dtype) and params.weight_dtype in _FLOATS and params.out_dtype in _FLOATS
    ):
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
        return f"Triton's block takes uint8, float32, float16 or bfloat16 with weights in one of the last three, not {names}"
    if options.precision == "bf16x3":
        return "Triton's block does not compute in bf16x3"
    if params.backward and (why := triton_backward.refused(params)):
        return why
    config = forward_config(params)
    if config.rows * config.cols * config.filters * config.joined > _LARGEST_TILE:
        return f"a tile of {config.rows} x {config.cols} outputs of {params.filters} filters is too large for Triton's block"
    return None


def lay(weight: Tensor, bias: Tensor | None, params: BlockParams, mean: Sequence[float], scale: float) -> triton_forward.Laid:
    """What does not depend on sources and regions, laid out on the weights' device once for all (`FixedBlock`)."""
    return triton_forward.lay(weight, bias, params, mean, scale)


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, params: BlockParams) -> Tensor:
    """One region per image: [N, F, H, W] in channels_last memory."""
    result = _empty(params, params.out_dtype, x.device)
    regions([x], whole_images(params), weight, bias, params, (), 1.0, [result])
    return result


def training(
    x: Tensor, weight: Tensor, bias: Tensor | None, params: BlockParams
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """`forward`, and what `params.kept` says of the norm's input and the pool's hits."""
    kept = params.kept
    result = _empty(params, params.out_dtype, x.device)
    values = _empty(params, params.out_dtype, x.device) if kept.values else None
    hits = _empty(params, torch.int16, x.device) if kept.hits else None
    triton_forward.run([x], whole_images(params), weight, bias, params, (), 1.0, [result], values, hits)
    return result, values, hits


def backward(
    grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, values: Tensor | None, hits: Tensor | None,
    params: BlockParams, needs: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:  # fmt: skip
    """Gradients of x, weight and bias from `grad` of the result; None where `needs` is False (backward_launch.py)."""
    return triton_backward.backward(grad, x, weight, bias, values, hits, params, needs)


def regions(
    sources: Sequence[Tensor],
    regions: RegionList,
    weight: Tensor,
    bias: Tensor | None,
    params: BlockParams,
    mean: Sequence[float],
    scale: float,
    outputs: Sequence[Tensor],
) -> None:
    """Write every region's pieces to `outputs`, in one launch."""
    triton_forward.run(sources, regions, weight, bias, params, mean, scale, outputs)


def _empty(params: BlockParams, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.empty(params.out_shape, dtype=dtype, device=device, memory_format=torch.channels_last)
