"""The block's forward in CUDA C++, over regions: the host's side of csrc/cuda/block/forward.cu."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dcnn_fast import engine
from dcnn_fast.networks import CrossMapNorm, Pool
from dcnn_fast.ops.block.backend import Launches, Operands, Prepared, Work
from dcnn_fast.ops.block.cuda.config import Tile, strip_cutter, strips_of
from dcnn_fast.ops.block.cuda.warpgroup import WarpGroupConfig, tile_of
from dcnn_fast.ops.block.gpu.problem import norm_first, relu_last
from dcnn_fast.ops.block.gpu.tables import norm_numbers, out_alignment, tables_of
from dcnn_fast.ops.block.params import BlockParams
from dcnn_fast.ops.device_tables import placed
from dcnn_fast.ops.gpus import A100, MULTIPROCESSORS
from dcnn_fast.ops.launch import CudaKernel, Launch, capability, copied, launch
from dcnn_fast.ops.records import PIECE, RESULT
from dcnn_fast.ops.tables import matrix, records

_PARAMETERS = (
    "strips", "count", "regions", "pieces", "stores", "sources", "outputs", "weight", "bias", "mean", "scale", "norm_scale",
    "norm_power", "norm_k",
)  # fmt: skip
KERNEL = CudaKernel("block/forward.cu", "block_fwd_strip_kernel", _PARAMETERS)
WARPGROUP_KERNEL = CudaKernel("block/warpgroup.cu", "block_fwd_warpgroup_kernel", _PARAMETERS)
SIMPLE_KERNEL = CudaKernel(
    "block/simple.cu",
    "block_fwd_simple_kernel",
    (
        "results", "regions", "pieces", "stores", "sources", "outputs", "weight", "bias", "mean", "scale", "norm_scale",
        "norm_power", "norm_k",
    ),
)  # fmt: skip
_WHOLE, _WORD, _SINGLE = 0, 1, 2  # how the kernel reads pixels: ACCESS
_OUT_ALIGNMENT = 16  # bytes, for the maps of a column
_OFFSETS = 2**31  # the kernel's offsets inside a patch are 32 bits wide
_REACH = 1024  # more than any patch's columns


@dataclass(frozen=True)
class CudaPrepared(Prepared):
    """The operands common to all launches of a block, on the device in the kernel's layout."""

    params: BlockParams
    config: Tile
    weight: Tensor
    bias: Tensor
    means: Tensor
    subtract: bool
    scale: float

    @property
    def launches(self) -> Launches:
        """This object: every `Work` is one launch."""
        return self

    def run(self, work: Work) -> None:
        """Write every region's pieces to the work's outputs in one launch."""
        launch(self.launch_of_work(work))

    def launch_of_work(self, work: Work, blocks: int | None = None) -> Launch:
        """The launch of `run`. blocks: thread blocks that the device runs at a time, None to ask it."""
        readable = [_readable(source) for source in work.sources]
        access = max(_access(source, self) for source in readable)
        if access == _WORD:
            readable = [_with_fourth(source) for source in readable]
        at_a_time = _at_a_time(self, blocks)
        strips = strips_of(work.regions, self.config, at_a_time)
        tables = placed({"programs": strips, **tables_of(work.regions, readable, work.outputs)}, self.weight.device)
        return _launch_of(self, tables, len(strips), at_a_time, access, out_alignment(work.outputs), readable, work.outputs)

    def shape(self) -> engine.native.BlockShape:
        """As `Launches` says."""
        return engine.native.BlockShape.strips(
            strip_cutter(self.config), programs=_at_a_time(self), filters=self.params.filters,
            item=self.params.out_dtype.itemsize,
        )  # fmt: skip

    def readable(self, source: Tensor) -> Tensor:
        """As `Launches` says."""
        source = _readable(source)
        return _with_fourth(source) if _access(source, self) == _WORD else source

    def access(self, source: Tensor) -> int:
        """As `Launches` says: one of `ACCESS` in csrc/cuda/block/forward.cu."""
        return _access(source, self)

    def launch_of(
        self, tables: Mapping[str, Tensor], programs: int, access: int, reads: Sequence[Tensor], writes: Sequence[Tensor]
    ) -> Launch:
        """As `Launches` says."""
        return _launch_of(self, tables, programs, _at_a_time(self), access, _OUT_ALIGNMENT, reads, writes)


def prepared(params: BlockParams, operands: Operands, *, config: Tile | None = None) -> CudaPrepared:
    """The operands on the weights' device in the kernel's layout. config: the tile, None for the one chosen."""
    config = config or tile_of(params, capability(operands.weight.device))
    assert config is not None, "can_run refuses what has no tile"
    weight, bias, mean, scale = operands.weight, operands.bias, operands.mean, operands.scale
    means = torch.zeros(-(-params.channels // config.pixel) * config.pixel, dtype=torch.float32, device="cpu")
    means[: len(mean)] = _numbers(mean)
    added = torch.zeros(-(-params.filters // config.part) * config.part, dtype=torch.float32, device=weight.device)
    if bias is not None:
        added[: params.filters] = bias.float()
    subtract = bool(mean) or scale != 1.0
    return CudaPrepared(params, config, packed(weight, config), added, copied(means, weight.device), subtract, float(scale))


def _launch_of(
    laid: CudaPrepared,
    tables: Mapping[str, Tensor],
    strips: int,
    at_a_time: int,
    access: int,
    out_align: int,
    reads: Sequence[Tensor],
    writes: Sequence[Tensor],
) -> Launch:
    """The launch over tables on the device. out_align: alignment of the outputs, in bytes."""
    params, config = laid.params, laid.config
    args: dict[str, Any] = {
        "strips": tables["programs"], **{name: tables[name] for name in ("regions", "pieces", "stores", "sources", "outputs")},
        "count": strips, "weight": laid.weight, "bias": laid.bias, "mean": laid.means, "scale": laid.scale,
        **norm_numbers(params.options.norm),
    }  # fmt: skip
    constants = _of_problem(params) | dict(config.constants) | {
        "ACCESS": access, "SUBTRACT": int(laid.subtract), "WIDE_STORES": int(out_align == 16),
    }  # fmt: skip
    grid = min(strips, at_a_time), _parts(laid)
    kernel = WARPGROUP_KERNEL if isinstance(config, WarpGroupConfig) else KERNEL
    return Launch(kernel, grid, args, constants, config.warps, reads=reads, writes=writes, shared=config.shared)


def _numbers(values: Sequence[float]) -> Tensor:
    """The values in the kernels' dtype, whatever torch's defaults are."""
    return torch.tensor(list(values), dtype=torch.float32, device="cpu")


def _parts(laid: CudaPrepared) -> int:
    """Thread blocks that share out a strip's filters."""
    return -(-laid.params.filters // laid.config.part)


def _at_a_time(laid: CudaPrepared, blocks: int | None = None) -> int:
    """Strips that the device computes at a time. blocks: its resident thread blocks, None to ask the device."""
    return max(1, (blocks or _blocks(laid.weight.device, laid.config)) // _parts(laid))


def run_simple(params: BlockParams, operands: Operands, work: Work) -> None:
    """`CudaPrepared.run` by the simple kernel, which stages nothing; the staged kernel is compared with it."""
    weight, regions, sources, outputs = operands.weight, work.regions, work.sources, work.outputs
    device, pieces = weight.device, records(regions.pieces, PIECE)
    places = [
        (number, piece, row, col)
        for number, region in enumerate(regions.rows())
        for piece in range(region["first"], region["first"] + region["count"])
        for row in range(pieces[piece]["rows"])
        for col in range(pieces[piece]["cols"])
    ]
    none = torch.zeros(params.filters, dtype=torch.float32, device=device)
    added = none if operands.bias is None else operands.bias.float()
    tables = {"results": matrix(np.array(places, RESULT)), **tables_of(regions, sources, outputs)}
    args: dict[str, Any] = {
        **placed(tables, device), "weight": weight.contiguous(), "bias": added,
        "mean": copied(_numbers(operands.mean or [0.0] * params.channels), device),
        "scale": float(operands.scale),
        **norm_numbers(params.options.norm),
    }  # fmt: skip
    warps = -(-params.filters // 32)
    launch(Launch(SIMPLE_KERNEL, (len(places),), args, _of_problem(params), warps, reads=sources, writes=list(outputs)))


def packed(weight: Tensor, config: Tile) -> Tensor:
    """[parts, chunks of channels, S, steps, PART / 16, 2, 2, 8, 8]: the weights [F, C, S, S] as the kernel's matrices.

    A step's 16 products are a filter row's next (column, channel) pairs, zeros beyond its end; the last four axes are halves of
    16 filters, halves of 16 products, filters and products.
    """
    filters, channels, size, _ = weight.shape
    parts, chunks = -(-filters // config.part), -(-channels // config.pixel)
    columns = config.steps * 16 // config.pixel if config.pixel < 16 else size
    grown = weight.new_zeros(parts * config.part, chunks * config.pixel, size, columns)
    grown[:filters, :channels, :, :size] = weight
    rows = grown.view(parts, config.part, chunks, config.pixel, size, columns).permute(0, 2, 4, 1, 5, 3)
    matrices = rows.reshape(parts, chunks, size, config.part // 16, 2, 8, config.steps, 2, 8)
    return matrices.permute(0, 1, 2, 6, 3, 4, 7, 5, 8).contiguous()


def _of_problem(params: BlockParams) -> dict[str, int]:
    """The compile-time constants that follow from the problem."""
    options = params.options
    pool, norm = options.pool or Pool(1, 1), options.norm
    return {
        "CHANNELS": params.channels, "FILTERS": params.filters, "SIZE": params.size, "STRIDE": options.stride,
        "POOL": pool.size, "POOL_STRIDE": pool.stride, "AVERAGE": int(options.averages),
        "NORM_SIZE": norm.size if isinstance(norm, CrossMapNorm) else 0, "NORM_FIRST": int(norm_first(params)),
        "RELU_LAST": int(relu_last(params)), "BF16": int(params.weight_dtype == torch.bfloat16),
        "BYTES": int(params.dtype == torch.uint8),
    }  # fmt: skip


def _access(source: Tensor, laid: CudaPrepared) -> int:
    """How the kernel can read a source's pixels; larger values are slower."""
    params, config = laid.params, laid.config
    image, channel, row, col = source.stride()
    item = min(config.pixel, 8)
    apart = 4 if item == 4 else 8

    def aligned(elements: int) -> bool:
        return not any(stride % elements for stride in (image, row, col)) and not (
            source.data_ptr() % (elements * source.element_size())
        )

    if channel != 1:
        return _SINGLE
    if params.channels % item == 0 and source.dtype != torch.uint8 and not laid.subtract and aligned(apart):
        return _WHOLE
    if config.pixel == 4 and col == 4 and aligned(4) and _fourth_exists(source):
        return _WORD
    return _SINGLE


def _fourth_exists(source: Tensor) -> bool:
    """Whether the memory of a source with pixels four elements apart holds all four of the last pixel."""
    last = source.storage_offset() + sum((n - 1) * stride for n, stride in zip(source.shape, source.stride(), strict=True))
    end = last - (source.shape[1] - 1) + 4
    return end * source.element_size() <= source.untyped_storage().nbytes()


def _with_fourth(source: Tensor) -> Tensor:
    """The source with all four elements of its pixels, whose last the kernel reads and drops."""
    images, _, rows, cols = source.shape
    return source.as_strided((images, 4, rows, cols), source.stride())


def _readable(source: Tensor) -> Tensor:
    """The source itself where a patch's offsets fit the kernel's, else a copy in channels_last memory."""
    _, channel, row, col = source.stride()
    reach = max(row, col * _REACH, channel) * source.element_size()
    return source if reach < _OFFSETS else source.contiguous(memory_format=torch.channels_last)


def _blocks(device: torch.device, config: Tile) -> int:
    """Thread blocks that the device runs at a time."""
    of = MULTIPROCESSORS[A100.capability]  # where there is no device to ask
    multiprocessors, shared = A100.multiprocessors, of.shared
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        multiprocessors, shared = properties.multi_processor_count, properties.shared_memory_per_multiprocessor
    return multiprocessors * max(1, min(config.resident, shared // (config.shared + of.reserved)))
