"""The block in CUDA C++, hand-staged: the forward over regions, in 16 bits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dcnn_fast import engine
from dcnn_fast.ops.block.cuda import forward_launch as cuda_forward
from dcnn_fast.ops.block.cuda.config import MOST_FILTERS, MOST_NORM, config_of
from dcnn_fast.ops.block.gpu import choice as gpu_choice
from dcnn_fast.ops.block.gpu.tables import whole_images
from dcnn_fast.ops.block.params import BlockParams
from dcnn_fast.ops.launch import capability, cuda_refused
from dcnn_fast.ops.region import RegionList
from dcnn_fast.spec import CrossMapNorm, SameMapNorm

_LEAST_CAPABILITY = 80
_HALVES = {torch.float16: "fp16", torch.bfloat16: "bf16"}


def can_run(params: BlockParams, device: torch.device) -> str | None:
    """None, or the sentence that says why not."""
    if why := engine.reason() or cuda_refused(device):  # the engine lays out the tables
        return why
    if (found := capability(device)) < _LEAST_CAPABILITY:
        return f"the CUDA C++ block needs compute capability 8.0 or later, this is {found // 10}.{found % 10}"
    return _refused_types(params) or _refused_shapes(params)


def outpaced(params: BlockParams, device: torch.device) -> tuple[str, str] | None:
    """None, or "triton" and the sentence that says that the cost model has it faster."""
    times = gpu_choice.predicted(params, capability(device))
    if times is None or times[0] <= times[1]:
        return None
    return "triton", f"Triton's block is predicted to take {times[1]:.0f} us of fifty windows, this one {times[0]:.0f} us"


def _refused_types(params: BlockParams) -> str | None:
    half = _HALVES.get(params.weight_dtype)
    if half is None or params.dtype not in (torch.uint8, params.weight_dtype) or params.out_dtype != params.weight_dtype:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in (params.dtype, params.weight_dtype, params.out_dtype))
        return f"the CUDA C++ block takes uint8 or 16-bit sources and 16-bit weights and gives the weights' dtype, not {names}"
    if params.options.precision not in ("ieee", "tf32", half):
        return f"the CUDA C++ block multiplies {half} as it is, not in {params.options.precision}"
    return None


def _refused_shapes(params: BlockParams) -> str | None:
    options = params.options
    if params.backward:
        return "the CUDA C++ block has no backward"
    if options.groups > 1:
        return f"the CUDA C++ block has no groups, this has {options.groups}"
    if isinstance(options.norm, SameMapNorm):
        return "the CUDA C++ block has no same-map norm"
    if isinstance(options.norm, CrossMapNorm) and (params.filters > MOST_FILTERS or options.norm.size > MOST_NORM):
        return (
            f"the CUDA C++ block's norm sums over at most {MOST_NORM} of at most {MOST_FILTERS} maps, "
            f"not {options.norm.size} of {params.filters}"
        )
    if config_of(params) is None:
        return f"the patch of a filter of {params.size} with stride {options.stride} is too large for the CUDA C++ block"
    return None


def lay(weight: Tensor, bias: Tensor | None, params: BlockParams, mean: Sequence[float], scale: float) -> cuda_forward.Laid:
    """What does not depend on sources and regions, laid out on the weights' device once for all (`FixedBlock`)."""
    return cuda_forward.lay(weight, bias, params, mean, scale)


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, params: BlockParams) -> Tensor:
    """One region per image: [N, F, H, W] in channels_last memory."""
    result = torch.empty(params.out_shape, dtype=params.out_dtype, device=x.device, memory_format=torch.channels_last)
    regions([x], whole_images(params), weight, bias, params, (), 1.0, [result])
    return result


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
    cuda_forward.run(sources, regions, weight, bias, params, mean, scale, outputs)
