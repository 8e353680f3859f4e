"""The block on the C++ engine (csrc/cpu), over regions, and its gradients: the same bits in any batch, on any threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dcnn_fast import engine
from dcnn_fast.ops.block.backend import BlockBackend, Gradients, Needs, Operands, Prepared, Saved, Training, Work
from dcnn_fast.ops.block.norms import kind_of, per_term
from dcnn_fast.ops.block.params import BlockParams, OutputTile
from dcnn_fast.ops.block.whole import kept_whole_images, result_of
from dcnn_fast.ops.memory import channels_last, contiguous, empty, empty_channels_last
from dcnn_fast.ops.precision import Precision
from dcnn_fast.ops.region import RegionList
from dcnn_fast.spec import CrossMapNorm, Norm, Pool

# csrc/core/tile.h
PRECISIONS: tuple[Precision, ...] = ("ieee", "bf16", "bf16x3")


@dataclass(frozen=True)
class CpuPrepared(Prepared):
    """The operands as they are: the engine packs the weights at each call (csrc/cpu/pack.h), into memory of its own."""

    params: BlockParams
    operands: Operands
    launches = None

    def run(self, work: Work) -> None:
        """Write every region's pieces to the work's outputs; the regions are spread over `engine.threads()` threads."""
        of = self.operands
        run(
            engine.isa(), work.sources, work.regions, of.weight, of.bias, self.params, of.mean, of.scale, work.outputs,
            engine.threads(),
        )  # fmt: skip


class CpuBlock(BlockBackend):
    """The block on the C++ engine."""

    takes_bytes = True

    def can_run(self, params: BlockParams, device: torch.device) -> str | None:
        """None, or the sentence that says why not."""
        if why := engine.reason():
            return why
        if device.type != "cpu":
            return f"the C++ engine runs on the cpu, not on {device.type}"
        dtypes = (params.dtype, params.weight_dtype, params.out_dtype)
        if dtypes not in ((torch.float32,) * 3, (torch.uint8, torch.float32, torch.float32)):
            source, weight, out = (str(dtype).removeprefix("torch.") for dtype in dtypes)
            taken = "float32 or uint8 with weights in float32 and gives float32"
            return f"the C++ engine takes {taken}, not {source}, {weight}, {out}"
        if params.backward and params.options.precision == "bf16x3":
            return "the C++ engine has no backward in bf16x3"
        return _precision_refused(params.options.precision)

    def output_tile(self, size: int, stride: int, channels: int, filters: int, precision: Precision) -> OutputTile:
        """Winograd's tiles where the engine computes in them (csrc/core/tile.h), without it sums over taps. A precision that
        the engine does not have counts as bf16, whose values are as short.
        """
        if engine.reason():
            return super().output_tile(size, stride, channels, filters, precision)
        known = precision if precision in PRECISIONS else "bf16"
        return OutputTile(*engine.load().output_tile(engine.isa(), size, stride, channels, filters, PRECISIONS.index(known)))

    def prepare(self, params: BlockParams, operands: Operands) -> CpuPrepared:
        """The operands as `CpuPrepared` has them."""
        return CpuPrepared(params, operands)

    def forward(self, params: BlockParams, operands: Operands, x: Tensor) -> Tensor:
        """One region per image: [N, F, H, W] in channels_last memory."""
        return result_of(self.prepare(params, operands), params, x)

    def training(self, params: BlockParams, operands: Operands, x: Tensor) -> Training:
        """`forward`, and what `params.kept` says of the norm's input and the pool's hits.

        With hits, every convolution output is a sum over its taps: in Winograd's tiles equal inputs need not give equal
        outputs.
        """
        kept = params.kept
        result = empty_channels_last(params.out_shape)
        values = empty_channels_last(params.out_shape) if kept.values else None
        hits = empty_channels_last(params.out_shape, torch.int16) if kept.hits else None
        run(
            engine.isa(), [x], kept_whole_images(params), operands.weight, operands.bias, params, operands.mean, operands.scale,
            [result], engine.threads(), (hits, values),
        )  # fmt: skip
        return Training(result, values, hits)

    def backward(
        self, params: BlockParams, operands: Operands, x: Tensor, saved: Saved, grad: Tensor, needs: Needs
    ) -> Gradients:
        """The gradients that are needed, in channels_last memory. The same bits for any number of threads; an image's share of
        that of x does not depend on the batch.

        Images are done one after another on each thread, so that the gradient of the convolution's outputs never exists for
        the batch.
        """
        weight, bias = operands.weight, operands.bias
        wanted = (
            empty_channels_last(x.shape) if needs.x else None,
            empty_channels_last(weight.shape) if needs.weight else None,
            empty((params.filters,)) if needs.bias and bias is not None else None,
        )
        run_backward(
            engine.isa(), grad, x, weight, bias, saved.values, saved.hits, params, wanted, engine.threads(), operands.mean,
            operands.scale,
        )  # fmt: skip
        return Gradients(*wanted)


BACKEND = CpuBlock()


def _precision_refused(precision: Precision) -> str | None:
    if precision not in PRECISIONS:
        return f"the C++ engine computes in ieee fp32, bf16 or bf16x3, not in {precision}"
    if precision == "bf16x3" and not engine.has_tile_unit():
        return f"{engine.isa()} has no tile unit for bf16x3, which costs more than ieee without one and errs more"
    return None


def run(
    isa: str,
    sources: Sequence[Tensor],
    regions: RegionList,
    weight: Tensor,
    bias: Tensor | None,
    params: BlockParams,
    mean: Sequence[float],
    scale: float,
    outputs: Sequence[Tensor],
    threads: int,
    recorded: tuple[Tensor | None, Tensor | None] = (None, None),
) -> None:
    """Write every region's pieces to `outputs` (float32, channels_last), with one instruction set.

    recorded: for whole images, where to write the pool's hits and the norm's input. The regions must have been checked
    (`require_regions`): from here on there are only addresses.
    """
    options = params.options
    sources = [source.resolve_neg() for source in sources]
    weight, in_channels_last = _laid(weight)
    bias = None if bias is None else contiguous(bias)
    table, pieces, stores = (t.contiguous() for t in (regions.regions, regions.pieces, regions.stores))
    engine.load().block_regions(
        isa,
        [_source(source) for source in sources],
        table.data_ptr(),
        len(regions),
        pieces.data_ptr(),
        stores.data_ptr(),
        [(output.data_ptr(), output.shape[0], output.shape[2], output.shape[3]) for output in outputs],
        weight.data_ptr(),
        _address(bias),
        in_channels_last,
        _sizes(params),
        *_norm(options.norm),
        options.order == "conv-norm-pool" and recorded[1] is None,  # its input is kept only where no pool follows it
        PRECISIONS.index(options.precision),
        list(mean) or [0.0] * params.channels,
        scale,
        *map(_address, recorded),
        threads,
    )


def run_backward(
    isa: str,
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    values: Tensor | None,
    hits: Tensor | None,
    params: BlockParams,
    wanted: tuple[Tensor | None, Tensor | None, Tensor | None],
    threads: int,
    mean: Sequence[float] = (),
    scale: float = 1.0,
) -> None:
    """Write the gradients of x, weight and bias to those of `wanted` that are not None, with one instruction set."""
    options = params.options
    x = x.resolve_neg()
    kept = [None if tensor is None else channels_last(tensor) for tensor in (grad, values, hits)]
    weight = contiguous(weight)
    bias = None if bias is None else contiguous(bias)
    for_input = _for_input(weight, params) if wanted[0] is not None else None
    _, _, rows, cols = params.conv_shape
    _, _, out_rows, out_cols = params.out_shape
    engine.load().block_gradients(
        isa,
        _source(x),
        (params.images, params.height, params.width, options.padding, rows, cols, out_rows, out_cols),
        _sizes(params),
        *_norm(options.norm),
        options.order == "conv-norm-pool",
        PRECISIONS.index(options.precision),
        options.ties == "first",
        params.kept.again,
        list(mean) or [0.0] * params.channels,
        scale,
        weight.data_ptr(),
        _address(bias),
        _address(for_input),
        [_address(tensor) for tensor in kept],
        [_address(tensor) for tensor in wanted],
        threads,
    )


def _for_input(weight: Tensor, params: BlockParams) -> Tensor:
    """The filters that give the gradient of x from that of the convolution's outputs, at stride 1.

    Pixel s * i + phase (padding counted) meets taps phase, phase + s, ... of the outputs i, i - 1, ...: [groups * s * s *
    channels of a group, filters of a group, taps, taps], zeros for the taps that a phase lacks.
    """
    options = params.options
    groups, stride = options.groups, options.stride
    filters, channels, size, _ = weight.shape
    if options.precision == "bf16":
        weight = weight.bfloat16().float()
    taps = -(-size // stride)
    more = taps * stride - size
    split = F.pad(weight, (0, more, 0, more)).view(groups, filters // groups, channels, taps, stride, taps, stride)
    return split.flip(3, 5).permute(0, 4, 6, 2, 1, 3, 5).reshape(-1, filters // groups, taps, taps).contiguous()


def _laid(weight: Tensor) -> tuple[Tensor, bool]:
    """The filters in memory that the engine reads, their own where possible, and whether that is channels_last."""
    if not weight.is_contiguous() and weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_neg():
        return weight, True
    return contiguous(weight), False


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _sizes(params: BlockParams) -> tuple[int, ...]:
    options = params.options
    pool = options.pool or Pool(1, 1)
    return params.channels, params.filters, params.size, options.stride, options.groups, pool.size, pool.stride


def _source(source: Tensor) -> tuple[int, int, int, int, int, int]:
    image, channel, row, col = source.stride()
    return source.data_ptr(), int(source.dtype == torch.uint8), image, channel, row, col


def _norm(norm: Norm | None) -> tuple[int, int, float, float, float]:
    """(kind, size, scale per term, power, k)."""
    if norm is None:
        return kind_of(norm), 1, 0.0, 0.0, 1.0
    return kind_of(norm), norm.size, per_term(norm), norm.power, norm.k if isinstance(norm, CrossMapNorm) else 1.0
