"""The block's forward in Triton, over regions: the host's side of forward_kernels.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dcnn_fast import engine
from dcnn_fast.networks import CrossMapNorm, Pool
from dcnn_fast.ops.block.backend import Launches, Operands, Prepared, Saved, Work
from dcnn_fast.ops.block.gpu.problem import norm_first, relu_last
from dcnn_fast.ops.block.gpu.tables import norm_numbers, out_alignment, tables_of
from dcnn_fast.ops.block.norms import kind_of
from dcnn_fast.ops.block.params import BlockParams
from dcnn_fast.ops.block.triton import tune as triton_tune
from dcnn_fast.ops.block.triton.config import JOINED_GROUPS, ForwardConfig, forward_config
from dcnn_fast.ops.block.whole import empty_result, whole_images
from dcnn_fast.ops.device_tables import placed
from dcnn_fast.ops.launch import Launch, capability, copied, launch
from dcnn_fast.ops.recording import beside_no_capture
from dcnn_fast.ops.region import RegionList

_BANDED = 64  # filters of a tile up to which the norm's sums are products with a matrix, which has to fit shared memory
_OUT_ALIGNMENT = 16  # bytes, of the maps of a column
_OFFSETS = 2**31  # inside a tile they are 32 bits wide
_TIMED_IMAGES = 50  # an image's samples
_NOTHING = Saved()


@dataclass(frozen=True)
class TritonPrepared(Prepared):
    """Constants that a block's launches read whatever their sources and regions are, on the device as the kernels take it.

    params: the problem that they pose. config: the tile, `named` by the caller or chosen for the problem. keeps: whether
    something is kept for the backward.
    """

    config: ForwardConfig
    named: bool
    params: BlockParams
    weight: Tensor
    bias: Tensor | None
    means: Tensor
    band: Tensor | None
    subtract: bool
    scale: float
    keeps: bool

    @property
    def launches(self) -> Launches:
        """Itself, every work being one launch; where tiles are timed, in the one that is fastest for fifty whole images."""
        if self.named or not triton_tune.asked_for(self.weight.device):
            return self
        params, device = replace(self.params, images=_TIMED_IMAGES), self.weight.device
        shape = params.images, params.channels, params.height, params.width
        x = torch.zeros(shape, dtype=params.dtype, device=device).contiguous(memory_format=torch.channels_last)
        work = Work([x], whole_images(params), [empty_result(params, device)])
        return replace(self, config=self._fastest(work, _NOTHING), named=True)

    def run(self, work: Work, saved: Saved = _NOTHING) -> None:
        """Write every region's pieces to the work's outputs in one launch; for whole images, also what is to be saved: the
        norm's input [N, F, H, W] in the result's dtype and the pool's hits int16, as `BlockParams.kept` says.

        A NaN or an infinity in the norm's input across maps makes all filters of its position NaN, where the formula would only
        those whose windows hold it: its sums are products with a matrix of zeros and ones. In the same way one in the source
        enters every group's filters where more than two groups meet in a norm.
        """
        launch(self.launch_of_work(work, saved))

    def launch_of_work(self, work: Work, saved: Saved = _NOTHING) -> Launch:
        """The launch of `run`."""
        if self.named or not triton_tune.asked_for(self.weight.device):
            return _launch_of_work(self, work, saved)
        return _launch_of_work(replace(self, config=self._fastest(work, saved)), work, saved)

    def _fastest(self, work: Work, saved: Saved) -> ForwardConfig:
        """The tile that is fastest by the clock."""
        return triton_tune.tuned(
            self.params, capability(self.weight.device), self.keeps,
            lambda tile: _seconds(_launch_of_work(replace(self, config=tile), work, saved)),
        )  # fmt: skip

    def shape(self) -> engine.native.BlockShape:
        """As `Launches` says."""
        return engine.native.BlockShape.tiles(
            tile_shape(self.config), filters=self.params.filters, item=self.params.out_dtype.itemsize
        )

    def readable(self, source: Tensor) -> Tensor:
        """As `Launches` says."""
        return _readable(source, self.config, self.params)

    def access(self, source: Tensor) -> int:
        """As `Launches` says: elements of 16 bytes, or 1."""
        return _alignment(source, self.config)

    def launch_of(
        self, tables: Mapping[str, Tensor], programs: int, access: int, reads: Sequence[Tensor], writes: Sequence[Tensor]
    ) -> Launch:
        """As `Launches` says."""
        return _launch_of(self, tables, programs, access, _OUT_ALIGNMENT, reads, writes)


def prepared(
    params: BlockParams, operands: Operands, *, keeps: bool = False, tile: ForwardConfig | None = None
) -> TritonPrepared:
    """The operands on the weights' device as the kernels take them. tile: None for the one that is chosen for the problem.
    keeps: whether something is kept for the backward.
    """
    weight, device = operands.weight, operands.weight.device
    if isinstance(params.options.norm, CrossMapNorm) and params.options.groups > JOINED_GROUPS:
        weight, params = _dense(weight, params)
    config = tile or forward_config(params, capability(device), keeps)
    band = _band_of(config, params)
    return TritonPrepared(
        config, tile is not None, params, weight.contiguous(memory_format=torch.channels_last),
        None if operands.bias is None else operands.bias.contiguous(),
        copied(torch.tensor(list(operands.mean) or [0.0] * params.channels, dtype=torch.float32, device="cpu"), device),
        None if band is None else copied(band, device), bool(operands.mean) or operands.scale != 1.0, float(operands.scale),
        keeps,
    )  # fmt: skip


def _seconds(what: Launch) -> float:
    """A launch's time on the GPU, by Triton's own stopwatch, which waits for all of a GPU's streams: beside no capture."""
    from triton.testing import do_bench  # noqa: PLC0415

    with beside_no_capture():
        milliseconds: float = do_bench(lambda: launch(what))
    return milliseconds / 1e3


def _launch_of_work(laid: TritonPrepared, work: Work, saved: Saved) -> Launch:
    """The launch of `TritonPrepared.run` in the tile that is `laid`'s."""
    readable = [laid.readable(source) for source in work.sources]
    tiles = tiles_of(work.regions, laid.config)
    tables = placed({"programs": tiles, **tables_of(work.regions, readable, work.outputs)}, laid.weight.device)
    align = min(laid.access(source) for source in readable)
    return _launch_of(laid, tables, len(tiles), align, out_alignment(work.outputs), readable, work.outputs, saved)


def _launch_of(
    laid: TritonPrepared,
    tables: Mapping[str, Tensor],
    programs: int,
    align: int,
    out_align: int,
    reads: Sequence[Tensor],
    writes: Sequence[Tensor],
    saved: Saved = _NOTHING,
) -> Launch:
    """The launch of so many programs over tables that are on the device. align: of sources, as `_alignment` says; out_align:
    of outputs, in bytes.
    """
    # Triton is imported on first use.
    from dcnn_fast.ops.block.triton.forward_kernels import block_fwd_tile_kernel  # noqa: PLC0415
    from dcnn_fast.ops.block.triton.stream_kernels import block_fwd_stream_kernel  # noqa: PLC0415

    params, config, values, hits = laid.params, laid.config, saved.values, saved.hits
    args: dict[str, Any] = {
        "tiles": tables["programs"], **{name: tables[name] for name in ("regions", "pieces", "stores", "sources", "outputs")},
        "weight": laid.weight, "bias": laid.weight if laid.bias is None else laid.bias, "mean": laid.means,
        "scale": laid.scale, "band": laid.means if laid.band is None else laid.band, **norm_numbers(params.options.norm),
    }  # fmt: skip
    constants = _constants(config, params) | {
        "SUBTRACT": laid.subtract, "BIASED": laid.bias is not None, "BANDED": laid.band is not None, "ALIGN": align,
        "OUT_ALIGN": out_align, "SOURCE_TYPE": kernel_type(params.dtype), "OUT_TYPE": kernel_type(params.out_dtype),
        "EXACT": params.out_dtype == torch.float32,
    }  # fmt: skip
    kernel = block_fwd_stream_kernel
    if not config.streamed:
        kernel = block_fwd_tile_kernel
        constants |= {"BEFORE": config.before, "AFTER": config.after, "FLAT": config.flat}
        constants |= {"KEEP_VALUES": values is not None, "KEEP_HITS": hits is not None}
        args |= {"values": laid.means if values is None else values, "hits": tables["stores"] if hits is None else hits}
    groups = params.options.groups
    parts = -(-(params.filters // groups) // config.filters) * (groups // config.joined)
    written = [tensor for tensor in (*writes, values, hits) if tensor is not None]
    return Launch(kernel, (programs, parts), args, constants, config.warps, config.stages, reads, written)


def _constants(config: ForwardConfig, params: BlockParams) -> dict[str, Any]:
    """The constants that the kernels are compiled for, as far as the tile and the problem say."""
    options = params.options
    pool, norm, groups = options.pool or Pool(1, 1), options.norm, options.groups
    return {
        "ROWS": config.rows, "COLS": config.cols, "BK": config.depth, "BN": config.filters, "JOINED": config.joined,
        "GROUPS": groups, "GROUP_CHANNELS": params.channels // groups, "GROUP_FILTERS": params.filters // groups,
        "SIZE": params.size, "STRIDE": options.stride, "POOL": pool.size, "POOL_STRIDE": pool.stride,
        "AVERAGE": options.averages, "RELU_LAST": relu_last(params), "NORM": kind_of(norm),
        "NORM_SIZE": norm.size if norm is not None else 1, "NORM_FIRST": norm_first(params), "GATHER": config.gather,
        "OPERAND": operand_type(params), "PRECISION": _products(params),
    }  # fmt: skip


def _dense(weight: Tensor, params: BlockParams) -> tuple[Tensor, BlockParams]:
    """The same block in one group, its other channels' weights zeros: rare enough to need no kernel of its own."""
    filters = params.filters // params.options.groups
    dense = weight.new_zeros(params.filters, params.channels, params.size, params.size)
    for group, part in enumerate(torch.split(weight, filters)):
        channels = slice(group * weight.shape[1], (group + 1) * weight.shape[1])
        dense[group * filters : (group + 1) * filters, channels] = part
    return dense, replace(params, options=replace(params.options, groups=1))


def tiles_of(regions: RegionList, config: ForwardConfig) -> Tensor:
    """The tiles that cover all regions: records `TileRow` of csrc/core/tables.h."""
    return torch.from_numpy(engine.native.tiles(regions.regions.numpy(), tile_shape(config)))


def tile_shape(config: ForwardConfig) -> Any:
    """The engine's record of what a program owns (csrc/core/launch/tiles.h)."""
    if config.flat:
        return engine.native.TileShape(height=config.rows * config.cols, width=1, flat=True)
    overlap = config.before + config.after
    height = config.rows if config.streamed else config.rows - overlap
    return engine.native.TileShape(height=height, width=config.cols - overlap, flat=False)


def _band_of(config: ForwardConfig, params: BlockParams) -> Tensor | None:
    """[n, n] float32: 1 where the filter at place i is in the norm window of the filter at place j, n places of a tile.

    None without a norm across maps, and for a tile whose matrix would not fit shared memory.
    """
    norm = params.options.norm
    if not isinstance(norm, CrossMapNorm) or config.filters * config.joined > _BANDED:
        return None
    filters = params.filters // params.options.groups
    place = torch.arange(config.filters * config.joined, dtype=torch.int64, device="cpu")
    filter = place // config.filters * filters + place % config.filters
    ahead = filter[:, None] - filter[None, :] + norm.size // 2
    exists = (place % config.filters < filters)[:, None]
    return ((ahead >= 0) & (ahead < norm.size) & exists).float()


def kernel_type(dtype: torch.dtype) -> Any:
    """Triton's name of a dtype."""
    import triton.language as tl  # noqa: PLC0415

    return {
        torch.uint8: tl.uint8, torch.float16: tl.float16, torch.bfloat16: tl.bfloat16, torch.float32: tl.float32,
    }[dtype]  # fmt: skip


def operand_type(params: BlockParams) -> Any:
    """The format that the products' operands are rounded to: the named precision's format, otherwise the weights' own."""
    named = {"bf16": torch.bfloat16, "fp16": torch.float16}
    return kernel_type(named.get(params.options.precision, params.weight_dtype))


def _products(params: BlockParams) -> str:
    """How `tl.dot` takes its operands; tf32 rounds no 16-bit value."""
    return "tf32" if params.options.precision == "tf32" and params.weight_dtype == torch.float32 else "ieee"


def _readable(source: Tensor, config: ForwardConfig, params: BlockParams) -> Tensor:
    """The source itself where the kernel can read it in place, else a copy in channels_last memory.

    One tap at a time, channels must lie beside each other; in a tile, offsets must fit 32 bits.
    """
    _, channel, row, col = (abs(stride) for stride in source.stride())
    rows = config.rows * config.cols if config.flat else config.rows  # as of a flat tile of a region one column wide
    span = ((rows + 1) * params.options.stride + params.size) * row + source.shape[3] * col + source.shape[1] * channel
    if (config.gather or channel == 1 or source.shape[1] == 1) and span < _OFFSETS:
        return source
    return source.contiguous(memory_format=torch.channels_last)


def _alignment(source: Tensor, config: ForwardConfig) -> int:
    """Elements of 16 bytes where every pixel of the source starts at a multiple of them, else 1, as for a gather."""
    size = source.element_size()
    image, _, row, col = source.stride()
    if config.gather or source.data_ptr() % 16 or any(stride * size % 16 for stride in (image, row, col)):
        return 1
    return 16 // size
