"""The block stated plainly in PyTorch: short, slow, right. Every other backend is judged against it.

Formulas: docs/cuda-convnet.md#formulas. Any floating dtype; float64 is computed in float64, everything else in float32.
`precision` other than "ieee" rounds the operands of the convolution to that format first, or splits them (`_split`); sums stay
in float32 or float64.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dcnn_fast.networks import Pool
from dcnn_fast.ops.block.backend import BlockBackend, Gradients, Needs, Operands, Prepared, Saved, Training, Work
from dcnn_fast.ops.block.params import BlockOptions, BlockParams
from dcnn_fast.ops.norm import reference as norms
from dcnn_fast.ops.plain_torch import plainly
from dcnn_fast.ops.pool import reference as pools
from dcnn_fast.ops.precision import Precision
from dcnn_fast.ops.region import Piece, Region, Store


@dataclass(frozen=True)
class ReferencePrepared(Prepared):
    """The operands as they are."""

    params: BlockParams
    operands: Operands
    launches = None

    def run(self, work: Work) -> None:
        """Write every region's pieces to the work's outputs, region by region."""
        run(self.params, self.operands, work)


class ReferenceBlock(BlockBackend):
    """The block stated plainly."""

    takes_bytes = False

    def can_run(self, params: BlockParams, device: torch.device) -> str | None:
        """The reference runs everything, everywhere."""
        return None

    def prepare(self, params: BlockParams, operands: Operands) -> ReferencePrepared:
        """The operands as they are."""
        return ReferencePrepared(params, operands)

    def forward(self, params: BlockParams, operands: Operands, x: Tensor) -> Tensor:
        """The block's result, [N, F, H, W] in params.out_dtype."""
        return forward(params, operands, x)

    def training(self, params: BlockParams, operands: Operands, x: Tensor) -> Training:
        """`forward`, and what `params.kept` says."""
        return training(params, operands, x)

    def backward(
        self, params: BlockParams, operands: Operands, x: Tensor, saved: Saved, grad: Tensor, needs: Needs
    ) -> Gradients:
        """The gradients that are needed."""
        return backward(params, operands, x, saved, grad, needs)


BACKEND = ReferenceBlock()


@plainly
def forward(params: BlockParams, operands: Operands, x: Tensor) -> Tensor:
    """The block's result, [N, F, H, W] in params.out_dtype."""
    relu = _conv_relu(x, operands, params)
    return _tail(relu, params.options)[-1].to(params.out_dtype)


@plainly
def training(params: BlockParams, operands: Operands, x: Tensor) -> Training:
    """The result, and the norm's input (in the result's dtype) and the pool's hits as `params.kept` says."""
    options, kept = params.options, params.kept
    relu = _conv_relu(x, operands, params)
    stages = _tail(relu, options)
    hits = pools.hits(relu, options.pool, options.rounding) if kept.hits and options.pool is not None else None
    return Training(stages[-1].to(params.out_dtype), stages[-2].to(params.out_dtype) if kept.values else None, hits)


@plainly
def backward(params: BlockParams, operands: Operands, x: Tensor, saved: Saved, grad: Tensor, needs: Needs) -> Gradients:
    """Gradients of x, weight and bias from `grad` of the result; None where not needed.

    At a ReLU input of 0 the gradient is 0; `ties` decides how the pool shares its gradient.
    """
    weight, bias = operands.weight, operands.bias
    options, kept = params.options, params.kept
    grad = grad.to(_compute_dtype(x.dtype))
    if kept.again:
        relu = _conv_relu(x, operands, params)
        grad = _tail_backward(grad, relu, options)
        grad = grad if options.relu_last else grad * (relu > 0)
    else:
        if options.norm is not None:
            assert saved.values is not None
            grad = norms.backward(grad, saved.values.to(grad.dtype), options.norm)
        if options.pool is not None:
            assert saved.hits is not None
            grad = pools.backward_of_hits(grad, saved.hits, params.conv_shape, options.pool, options.rounding, options.ties)
        else:
            assert saved.values is not None
            grad = grad * (saved.values > 0)
    padded = _pad(x.to(grad.dtype), params)
    operand, kernel = (_rounded(tensor, options.precision) for tensor in (padded, weight.to(grad.dtype)))
    grad_padded, grad_weight, grad_bias = torch.ops.aten.convolution_backward(
        grad, operand, kernel, [params.filters], [options.stride] * 2, [0, 0], [1, 1], False, [0, 0], options.groups,
        [needs.x, needs.weight, needs.bias and bias is not None],
    )  # fmt: skip
    grad_x = None
    if needs.x:
        crop = grad_padded[:, :, options.padding :, options.padding :][:, :, : params.height, : params.width]
        missing = (0, params.width - crop.shape[3], 0, params.height - crop.shape[2])
        grad_x = F.pad(crop, missing).to(x.dtype)
    return Gradients(
        grad_x,
        grad_weight.to(weight.dtype) if needs.weight else None,
        grad_bias.to(bias.dtype) if needs.bias and bias is not None else None,
    )


@plainly
def run(params: BlockParams, operands: Operands, work: Work) -> None:
    """Write every region's pieces to the work's outputs, region by region.

    A pixel inside a region's window enters as (pixel - mean) * scale; outside it, as zero.
    """
    dtype = _compute_dtype(operands.weight.dtype)
    for region in work.regions:
        patch = _patch(work.sources[region.source][region.image], region, params, operands, dtype)
        relu = _conv_relu_padded(patch, operands, params.options)
        for piece in region.pieces:
            values = _piece(relu, piece, params.options)
            for store in piece.stores:
                _store(work.outputs[store.output], store, values)


def _compute_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _rounded(tensor: Tensor, precision: Precision) -> Tensor:
    """`tensor` rounded to nearest even in `precision`, in its own dtype."""
    if precision == "ieee":
        return tensor
    if precision == "bf16x3":  # a gradient's operands: the sum of both parts
        high, low = _split(tensor)
        return high + low
    if precision == "tf32":
        bits = tensor.float().view(torch.int32)
        odd = (bits >> 13) & 1
        return ((bits + 0xFFF + odd) & ~0x1FFF).view(torch.float32).to(tensor.dtype)
    return tensor.to(torch.bfloat16 if precision == "bf16" else torch.float16).to(tensor.dtype)


def _split(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Two tensors of values of bfloat16 whose sum is the float32 value but for 2**-17 of it; nothing lies below an infinity."""
    value = tensor.float()
    high = value.bfloat16().float()
    low = torch.where(high.isfinite(), (value - high).bfloat16().float(), 0.0)
    return high.to(tensor.dtype), low.to(tensor.dtype)


def _pad(x: Tensor, params: BlockParams) -> Tensor:
    """x with its padding and the zeros that an overhanging last window reads; pixels that no window reads are cut off."""
    _, _, rows, cols = params.conv_shape
    options = params.options
    height, width = ((n - 1) * options.stride + params.size for n in (rows, cols))
    pad = options.padding
    return F.pad(x, (pad, width - pad - x.shape[3], pad, height - pad - x.shape[2]))


def _conv_relu(x: Tensor, operands: Operands, params: BlockParams) -> Tensor:
    return _conv_relu_padded(_pad(x.to(_compute_dtype(x.dtype)), params), operands, params.options)


def _conv_relu_padded(x: Tensor, operands: Operands, options: BlockOptions) -> Tensor:
    weight, bias = operands.weight.to(x.dtype), operands.bias
    with torch.backends.cudnn.flags(allow_tf32=False) if x.is_cuda else nullcontext():
        if options.precision == "bf16x3":
            (high, low), (weight_high, weight_low) = _split(x), _split(weight)
            result = _convolution(low, weight_high, options)
            result += _convolution(high, weight_low, options)
            result += _convolution(high, weight_high, options)
        else:
            operand, kernel = (_rounded(tensor, options.precision) for tensor in (x, weight))
            result = _convolution(operand, kernel, options)
    if bias is not None:
        result = result + bias.to(x.dtype)[:, None, None]
    return result if options.relu_last else result.relu()


def _convolution(x: Tensor, weight: Tensor, options: BlockOptions) -> Tensor:
    """The convolution, without padding. On the cpu one library computes every shape: F.conv2d chooses among several, whose
    sums differ in their last bits, by the number of threads.
    """
    if x.is_cuda or x.dtype != torch.float32 or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return F.conv2d(x, weight, None, options.stride, groups=options.groups)
    sides = [options.stride] * 2
    result: Tensor = torch.mkldnn_convolution(x, weight, None, [0, 0], sides, [1, 1], options.groups)
    return result


def _tail(relu: Tensor, options: BlockOptions) -> list[Tensor]:
    """ReLU's output and each later stage's, in the block's order; the last is the result."""
    stages = [relu]
    for stage in _stages(options):
        if stage == "pool" and options.pool is not None:
            stages.append(pools.forward(stages[-1], options.pool, options.rounding))
        elif stage == "relu":
            stages.append(stages[-1].relu())
        elif stage == "norm" and options.norm is not None:
            stages.append(norms.forward(stages[-1], options.norm))
    return stages


def _tail_backward(grad: Tensor, relu: Tensor, options: BlockOptions) -> Tensor:
    stages = _tail(relu, options)
    done = [stage for stage in _stages(options) if stage == "relu" or getattr(options, stage) is not None]
    for stage, source in zip(reversed(done), reversed(stages[:-1]), strict=True):
        if stage == "relu":
            grad = grad * (source > 0)
        elif stage == "pool":
            assert options.pool is not None
            grad = pools.backward(grad, source, options.pool, options.rounding, options.ties)
        else:
            assert options.norm is not None
            grad = norms.backward(grad, source, options.norm)
    return grad


def _stages(options: BlockOptions) -> tuple[str, ...]:
    """The stages after the convolution and, unless it comes last, its ReLU."""
    both = ("norm", "pool") if options.norm_first else ("pool", "norm")
    return (*both, "relu") if options.relu_last else both


def _patch(image: Tensor, region: Region, params: BlockParams, operands: Operands, dtype: torch.dtype) -> Tensor:
    """The pixels [1, C, H, W] that a region's convolutions read, zero outside its window."""
    stride, size = params.options.stride, params.size
    height, width = (region.rows - 1) * stride + size, (region.cols - 1) * stride + size
    patch = torch.zeros(1, params.channels, height, width, dtype=dtype, device=image.device)
    top, left = max(region.top, region.window_top), max(region.left, region.window_left)
    bottom = min(region.top + height, region.window_top + region.window_height)
    right = min(region.left + width, region.window_left + region.window_width)
    if bottom <= top or right <= left:
        return patch
    pixels = image[:, top:bottom, left:right].to(dtype)
    if operands.mean:
        pixels = pixels - torch.tensor(operands.mean, dtype=dtype, device=image.device)[:, None, None]
    patch[0, :, top - region.top : bottom - region.top, left - region.left : right - region.left] = pixels * operands.scale
    return patch


def _piece(relu: Tensor, piece: Piece, options: BlockOptions) -> Tensor:
    """One piece's block outputs, halo included: [1, F, rows, cols]."""
    if options.norm_first and options.norm is not None:
        relu = norms.forward(relu, options.norm)
    pool = options.pool or Pool(1, 1)
    height, width = ((n - 1) * pool.stride + pool.size for n in (piece.rows, piece.cols))
    rect = relu[:, :, piece.top : piece.top + height, piece.left : piece.left + width]
    pooled = pools.clipped(rect, pool, (height, width))
    if not options.norm_first and options.norm is not None:
        pooled = norms.forward(pooled, options.norm)
    return pooled.relu() if options.relu_last else pooled


def _store(output: Tensor, store: Store, values: Tensor) -> None:
    kept = values[0, :, store.skip_top : store.skip_top + store.height, store.skip_left : store.skip_left + store.width]
    rows = slice(store.out_top, store.out_top + store.height)
    cols = slice(store.out_left, store.out_left + store.width)
    output[store.image, :, rows, cols] = kept.to(output.dtype)
