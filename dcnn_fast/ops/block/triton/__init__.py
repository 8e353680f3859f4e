"""The block in Triton: over regions, and its gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from dcnn_fast import engine
from dcnn_fast.ops.block.backend import BlockBackend, Gradients, Needs, Operands, Saved, Training, Work
from dcnn_fast.ops.block.params import BlockParams
from dcnn_fast.ops.block.triton import backward_launch as triton_backward
from dcnn_fast.ops.block.triton import forward_launch as triton_forward
from dcnn_fast.ops.block.triton.config import forward_config
from dcnn_fast.ops.block.whole import empty_result, result_of, whole_images
from dcnn_fast.ops.launch import refused

_FLOATS = (torch.float32, torch.float16, torch.bfloat16)
_LARGEST_TILE = 2**15  # values; more do not fit a program's registers


class TritonBlock(BlockBackend):
    """The block in Triton."""

    takes_bytes = False

    def can_run(self, params: BlockParams, device: torch.device) -> str | None:
        """None, or the sentence that says why not."""
        # The engine lays out the tables.
        return engine.reason() or refused(device) or _refused_types(params) or _refused_sizes(params)

    def prepare(self, params: BlockParams, operands: Operands) -> triton_forward.TritonPrepared:
        """The operands on the weights' device as the forward's kernels take them."""
        return triton_forward.prepared(params, operands)

    def forward(self, params: BlockParams, operands: Operands, x: Tensor) -> Tensor:
        """One region per image: [N, F, H, W] in channels_last memory."""
        return result_of(self.prepare(params, operands), params, x)

    def training(self, params: BlockParams, operands: Operands, x: Tensor) -> Training:
        """`forward`, and what `params.kept` says of the norm's input and the pool's hits."""
        kept = params.kept
        result = empty_result(params, x.device)
        values = empty_result(params, x.device) if kept.values else None
        hits = empty_result(params, x.device, torch.int16) if kept.hits else None
        prepared = triton_forward.prepared(params, operands, keeps=kept.values or kept.hits)
        prepared.run(Work([x], whole_images(params), [result]), Saved(values, hits))
        return Training(result, values, hits)

    def backward(
        self, params: BlockParams, operands: Operands, x: Tensor, saved: Saved, grad: Tensor, needs: Needs
    ) -> Gradients:
        """The gradients that are needed (backward_launch.py)."""
        return triton_backward.gradients(params, operands, x, saved, grad, needs)


def _refused_types(params: BlockParams) -> str | None:
    dtypes = (params.dtype, params.weight_dtype, params.out_dtype)
    if not (
        params.dtype in (torch.uint8, params.weight_dtype) and params.weight_dtype in _FLOATS and params.out_dtype in _FLOATS
    ):
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
        return f"Triton's block takes uint8, float32, float16 or bfloat16 with weights in one of the last three, not {names}"
    return "Triton's block does not compute in bf16x3" if params.options.precision == "bf16x3" else None


def _refused_sizes(params: BlockParams) -> str | None:
    if params.backward and (why := triton_backward.refused(params)):
        return why
    config = forward_config(params)
    if config.rows * config.cols * config.filters * config.joined > _LARGEST_TILE:
        return f"a tile of {config.rows} x {config.cols} outputs of {params.filters} filters is too large for Triton's block"
    return None


BACKEND = TritonBlock()
