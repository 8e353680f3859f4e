"""The block on the C++ engine (csrc/cpu), over regions, and its gradients: the same bits in any batch, on any threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from dcnn_fast import engine
from dcnn_fast.networks import CrossMapNorm, Norm, Pool
from dcnn_fast.ops.block.backend import BlockBackend, Gradients, Needs, Operands, Prepared, Saved, Training, Work
from dcnn_fast.ops.block.norms import per_term
from dcnn_fast.ops.block.params import BlockParams, OutputTile
from dcnn_fast.ops.block.whole import whole_images
from dcnn_fast.ops.memory import channels_last, contiguous, empty, empty_channels_last
from dcnn_fast.ops.precision import Precision
from dcnn_fast.ops.region import RegionList, held

# csrc/core/tile.h
PRECISIONS: tuple[Precision, ...] = ("ieee", "bf16", "bf16x3")


@dataclass(frozen=True)
class CpuPrepared(Prepared):
    """A copy of the weights, in the layout of the instruction set in use when they were packed."""

    weights: engine.native.PackedWeights
    launches = None

    def run(self, work: Work) -> None:
        """Write every region's pieces to the work's outputs; the regions are spread over `engine.threads()` threads."""
        run_packed(self.weights, work.sources, work.regions, work.outputs, engine.threads())


class CpuBlock(BlockBackend):
    """The block on the C++ engine."""

    takes_bytes = True
    checks = True  # csrc/python

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
        """Winograd's tiles where the engine computes in them (csrc/core/tile.h); without the engine, sums over taps. A
        precision that the engine lacks counts as bf16, whose values are as short.
        """
        if engine.reason():
            return super().output_tile(size, stride, channels, filters, precision)
        known = precision if precision in PRECISIONS else "bf16"
        return OutputTile(
            *engine.native.output_tile(
                engine.isa(), size=size, stride=stride, channels=channels, filters=filters, precision=known
            )
        )

    def prepare(self, params: BlockParams, operands: Operands) -> CpuPrepared:
        """The operands packed; the engine's cache spares packing the same values again."""
        block = _block(params, tuple(operands.mean), operands.scale, _norm_first(params))
        laid = _operands(operands.weight, operands.bias)
        return CpuPrepared(engine.native.packed_weights(engine.isa(), block, **laid, taps_only=False))

    def forward(self, params: BlockParams, operands: Operands, x: Tensor) -> Tensor:
        """One region per image: [N, F, H, W] in channels_last memory."""
        result = empty_channels_last(params.out_shape)
        block, work = _whole_images(params, tuple(operands.mean), operands.scale, _norm_first(params))
        _execute(engine.isa(), block, work, [x], operands.weight, operands.bias, [result], engine.threads())
        return result

    def training(self, params: BlockParams, operands: Operands, x: Tensor) -> Training:
        """`forward`, and the norm's input and the pool's hits as `params.kept` says.

        With hits of all ties, every convolution output is a sum over its taps: in Winograd's tiles equal inputs need not give
        equal outputs.
        """
        kept = params.kept
        result = empty_channels_last(params.out_shape)
        values = empty_channels_last(params.out_shape) if kept.values else None
        hits = empty_channels_last(params.out_shape, torch.int16) if kept.hits else None
        block, work = _whole_images(
            params, tuple(operands.mean), operands.scale, _norm_first(params) and values is None
        )  # a norm's input is kept only where no pool follows it
        _execute(
            engine.isa(), block, work, [x], operands.weight, operands.bias, [result], engine.threads(), (hits, values),
            taps_only=_taps_only(params, hits),
        )  # fmt: skip
        return Training(result, values, hits)

    def backward(
        self, params: BlockParams, operands: Operands, x: Tensor, saved: Saved, grad: Tensor, needs: Needs
    ) -> Gradients:
        """The needed gradients, in channels_last memory. Their bits are the same for any number of threads; an image's part of
        x's gradient does not depend on the batch.

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

    recorded: for whole images, where to write the pool's hits and the norm's input.
    """
    block = _block(params, tuple(mean), scale, _norm_first(params) and recorded[1] is None)
    _execute(
        isa, block, _checked(block, sources, regions), sources, weight, bias, outputs, threads, recorded,
        taps_only=_taps_only(params, recorded[0]),
    )  # fmt: skip


def run_packed(
    weights: engine.native.PackedWeights,
    sources: Sequence[Tensor],
    regions: RegionList,
    outputs: Sequence[Tensor],
    threads: int,
) -> None:
    """`run` with packed weights."""
    work = _checked(weights.block, sources, regions)
    engine.native.block_regions(
        weights, work, sources=_arrays(sources), outputs=_arrays(outputs), hits=None, values=None, threads=threads
    )


def run_column(
    params: Sequence[BlockParams],
    operands: Sequence[Operands],
    plane: Tensor,
    regions: Sequence[RegionList],
    threads: int,
) -> Tensor:
    """A column's blocks one after another, in one call of the engine: [windows, filters, rows, cols] of the last's output 0.

    params, operands, regions: of each block; the regions need not have been checked. plane: [1, C, H, W], bytes or float32.
    """
    blocks = [_block(each, tuple(of.mean), of.scale, _norm_first(each)) for each, of in zip(params, operands, strict=True)]
    laid = [_operands(of.weight, of.bias) for of in operands]
    made = engine.native.column(
        engine.isa(), blocks, held(regions), weights=[of["weight"] for of in laid], biases=[of["bias"] for of in laid],
        plane=engine.array_of(plane), threads=threads,
    )  # fmt: skip
    return torch.from_numpy(made)


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
    laid_grad, laid_values, laid_hits = (_array(None if t is None else channels_last(t)) for t in (grad, values, hits))
    grad_x, grad_weight, grad_bias = (_array(tensor) for tensor in wanted)
    assert laid_grad is not None
    engine.native.block_gradients(
        isa,
        _block(params, tuple(mean), scale, _norm_first(params)),
        x=engine.array_of(x.resolve_neg()),
        **_operands(weight, bias),
        grad=laid_grad,
        values=laid_values,
        hits=laid_hits,
        ties=params.options.ties,
        grad_x=grad_x,
        grad_weight=grad_weight,
        grad_bias=grad_bias,
        threads=threads,
    )


def _execute(
    isa: str, block: engine.native.Block, work: engine.native.Regions, sources: Sequence[Tensor], weight: Tensor,
    bias: Tensor | None, outputs: Sequence[Tensor], threads: int, recorded: tuple[Tensor | None, Tensor | None] = (None, None),
    *, taps_only: bool = False,
) -> None:  # fmt: skip
    """`run` with a block record and checked regions. taps_only: every output is a sum over its taps."""
    hits, values = (_array(tensor) for tensor in recorded)
    engine.native.looked_up_block_regions(
        isa, block, work, **_operands(weight, bias), taps_only=taps_only, sources=_arrays(sources),
        outputs=_arrays(outputs), hits=hits, values=values, threads=threads,
    )  # fmt: skip


def _taps_only(params: BlockParams, hits: Tensor | None) -> bool:
    """Whether equal inputs must give equal outputs, lest ties be lost."""
    return hits is not None and params.options.ties == "all"


@lru_cache(maxsize=256)
def _block(params: BlockParams, mean: tuple[float, ...], scale: float, norm_first: bool) -> engine.native.Block:
    """The engine's record of a block, without images and extents."""
    options, pool = params.options, params.options.pool or Pool(1, 1)
    return engine.native.Block(
        channels=params.channels, filters=params.filters, size=params.size, stride=options.stride, padding=options.padding,
        groups=options.groups, rounding=options.rounding, pool=(pool.size, pool.stride), norm=_norm(options.norm),
        norm_first=norm_first, precision=options.precision, mean=mean, scale=scale, pool_average=options.averages,
        relu_last=options.relu_last and (options.pool is not None or options.norm is not None),
    )  # fmt: skip


def _whole_images(
    params: BlockParams, mean: tuple[float, ...], scale: float, norm_first: bool
) -> tuple[engine.native.Block, engine.native.Regions]:
    """The record of a block, and one region for each image; cached, as for small blocks they take longer than the products."""
    made = _kept_whole_images if params.images <= _KEPT_IMAGES else _made_whole_images
    return made(params, mean, scale, norm_first)


def _made_whole_images(
    params: BlockParams, mean: tuple[float, ...], scale: float, norm_first: bool
) -> tuple[engine.native.Block, engine.native.Regions]:
    block, table = _block(params, mean, scale, norm_first), whole_images(params)
    shape = (params.images, params.height, params.width)
    return block, engine.native.Regions(block, *table.arrays(), sources=[shape], outputs=table.outputs)


_KEPT_IMAGES = 1024  # whose tables take a quarter of a megabyte
_kept_whole_images = lru_cache(maxsize=128)(_made_whole_images)


def _checked(block: engine.native.Block, sources: Sequence[Tensor], regions: RegionList) -> engine.native.Regions:
    """The tables, which the engine copies. Raises ValueError where they do not fit the sources and outputs."""
    shapes = [(images, rows, cols) for images, _, rows, cols in (source.shape for source in sources)]
    return engine.native.Regions(block, *regions.arrays(), sources=shapes, outputs=regions.outputs)


def _norm_first(params: BlockParams) -> bool:
    return params.options.norm_first


class _Operands(TypedDict):
    weight: np.ndarray[Any, Any]
    bias: np.ndarray[Any, Any] | None


def _operands(weight: Tensor, bias: Tensor | None) -> _Operands:
    """Filters and biases in memory that the engine reads, their own where possible."""
    plain = not weight.is_neg() and (weight.is_contiguous() or weight.is_contiguous(memory_format=torch.channels_last))
    weight = weight if plain else contiguous(weight)
    return {"weight": engine.array_of(weight), "bias": None if bias is None else engine.array_of(contiguous(bias))}


def _array(tensor: Tensor | None) -> np.ndarray[Any, Any] | None:
    return None if tensor is None else engine.array_of(tensor)


def _arrays(tensors: Sequence[Tensor]) -> list[np.ndarray[Any, Any]]:
    return [engine.array_of(tensor.resolve_neg() if tensor.is_neg() else tensor) for tensor in tensors]


def _norm(norm: Norm | None) -> engine.native.Norm | None:
    if norm is None:
        return None
    kind, k = ("cross_map", norm.k) if isinstance(norm, CrossMapNorm) else ("same_map", 1.0)
    return engine.native.Norm(kind=kind, size=norm.size, scale=per_term(norm), power=norm.power, k=k)
