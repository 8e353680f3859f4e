"""The block in CUDA C++, hand-staged: the forward over regions, in 16 bits."""

from __future__ import annotations

import torch
from torch import Tensor

from dcnn_fast import engine
from dcnn_fast.networks import CrossMapNorm, SameMapNorm
from dcnn_fast.ops.backend import Outpaced
from dcnn_fast.ops.block.backend import BlockBackend, Gradients, Needs, Operands, Saved, Training
from dcnn_fast.ops.block.cuda import forward_launch as cuda_forward
from dcnn_fast.ops.block.cuda.config import MOST_FILTERS, MOST_NORM
from dcnn_fast.ops.block.cuda.warpgroup import WarpGroupConfig, tile_of
from dcnn_fast.ops.block.gpu import choice as gpu_choice
from dcnn_fast.ops.block.params import BlockParams
from dcnn_fast.ops.block.whole import result_of
from dcnn_fast.ops.gpus import LEAST_CAPABILITY, named
from dcnn_fast.ops.launch import capability, cuda_refused

_HALVES = {torch.float16: "fp16", torch.bfloat16: "bf16"}
_NO_BACKWARD = "the CUDA C++ block has no backward"


class CudaBlock(BlockBackend):
    """The block in CUDA C++."""

    takes_bytes = False

    def can_run(self, params: BlockParams, device: torch.device) -> str | None:
        """None, or the sentence that says why not."""
        if why := engine.reason() or cuda_refused(device):  # the engine lays out the tables
            return why
        if (found := capability(device)) < LEAST_CAPABILITY:
            return f"the CUDA C++ block needs compute capability {named(LEAST_CAPABILITY)} or later, this is {named(found)}"
        return _refused_types(params) or _refused_shapes(params, found)

    def outpaced(self, params: BlockParams, device: torch.device) -> Outpaced | None:
        """Triton's block, where the cost model predicts it faster."""
        times = gpu_choice.predicted(params, capability(device))
        if times is None or times[0] <= times[1]:
            return None
        why = f"Triton's block is predicted to take {times[1]:.0f} us of fifty windows, this one {times[0]:.0f} us"
        return Outpaced("triton", why)

    def kernel(self, params: BlockParams, device: torch.device) -> str | None:
        """Which products it uses: those of warp groups, on sm_90, or those of single warps."""
        by_groups = isinstance(tile_of(params, capability(device)), WarpGroupConfig)
        return "by products of warp groups (wgmma)" if by_groups else "by products of warps (mma.sync)"

    def prepare(self, params: BlockParams, operands: Operands) -> cuda_forward.CudaPrepared:
        """The weights packed into the kernel's matrices."""
        return cuda_forward.prepared(params, operands)

    def forward(self, params: BlockParams, operands: Operands, x: Tensor) -> Tensor:
        """One region per image: [N, F, H, W] in channels_last memory."""
        return result_of(self.prepare(params, operands), params, x)

    def training(self, params: BlockParams, operands: Operands, x: Tensor) -> Training:
        """Raises NotImplementedError: `can_run` refuses every problem with a backward."""
        raise NotImplementedError(_NO_BACKWARD)

    def backward(
        self, params: BlockParams, operands: Operands, x: Tensor, saved: Saved, grad: Tensor, needs: Needs
    ) -> Gradients:
        """Raises NotImplementedError: `can_run` refuses every problem with a backward."""
        raise NotImplementedError(_NO_BACKWARD)


def _refused_types(params: BlockParams) -> str | None:
    half = _HALVES.get(params.weight_dtype)
    if half is None or params.dtype not in (torch.uint8, params.weight_dtype) or params.out_dtype != params.weight_dtype:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in (params.dtype, params.weight_dtype, params.out_dtype))
        return f"the CUDA C++ block takes uint8 or 16-bit sources and 16-bit weights and gives the weights' dtype, not {names}"
    if params.options.precision not in ("ieee", "tf32", half):
        return f"the CUDA C++ block multiplies {half} as it is, not in {params.options.precision}"
    return None


def _refused_shapes(params: BlockParams, capability: int) -> str | None:
    options = params.options
    if params.backward:
        return _NO_BACKWARD
    if options.groups > 1:
        return f"the CUDA C++ block has no groups, this has {options.groups}"
    if isinstance(options.norm, SameMapNorm):
        return "the CUDA C++ block has no same-map norm"
    if isinstance(options.norm, CrossMapNorm) and (params.filters > MOST_FILTERS or options.norm.size > MOST_NORM):
        return (
            f"the CUDA C++ block's norm sums over at most {MOST_NORM} of at most {MOST_FILTERS} maps, "
            f"not {options.norm.size} of {params.filters}"
        )
    if tile_of(params, capability) is None:
        return f"the patch of a filter of {params.size} with stride {options.stride} is too large for the CUDA C++ block"
    return None


BACKEND = CudaBlock()
