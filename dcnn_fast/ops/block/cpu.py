"""The block on the C++ engine (csrc/cpu): fp32, over regions, the same bits for any region, batch and number of threads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dcnn_fast import engine
from dcnn_fast.ops.block.params import BlockParams, OutputTile
from dcnn_fast.ops.precision import Precision
from dcnn_fast.ops.region import RegionList, whole
from dcnn_fast.spec import CrossMapNorm, Norm, Pool

# csrc/cpu/kernel.h
_NORM_NONE, _NORM_CROSS_MAP, _NORM_SAME_MAP = 0, 1, 2
PRECISIONS: tuple[Precision, ...] = ("ieee", "bf16", "bf16x3")


def can_run(params: BlockParams, device: torch.device) -> str | None:
    """None, or the sentence that says why not."""
    if why := engine.reason():
        return why
    if device.type != "cpu":
        return f"the C++ engine runs on the cpu, not on {device.type}"
    if params.backward:
        return "the C++ engine has no backward of the block yet"
    dtypes = (params.dtype, params.weight_dtype, params.out_dtype)
    if dtypes not in ((torch.float32,) * 3, (torch.uint8, torch.float32, torch.float32)):
        source, weight, out = (str(dtype).removeprefix("torch.") for dtype in dtypes)
        return f"the C++ engine takes float32 or uint8 with weights in float32 and gives float32, not {source}, {weight}, {out}"
    return _precision_refused(params.options.precision)


def _precision_refused(precision: Precision) -> str | None:
    if precision not in PRECISIONS:
        return f"the C++ engine computes in ieee fp32, bf16 or bf16x3, not in {precision}"
    if precision == "bf16x3" and not engine.has_tile_unit():
        return f"{engine.isa()} has no tile unit for bf16x3, which costs more than ieee without one and errs more"
    return None


def output_tile(size: int, stride: int, channels: int, filters: int, precision: Precision) -> OutputTile:
    """Winograd's tiles (csrc/cpu/winograd_impl.h). channels, filters: of one group.

    The rule is `winograd_taps` of csrc/cpu/kernel.h; the costs of a tile's transforms are fitted to measured blocks.
    """
    taps = -(-size // stride)  # of each of the stride x stride images of every stride-th pixel
    points = {3: 6, 5: 8, 6: 8}.get(taps)
    one_by_one = precision != "ieee" and (taps == 6 or precision == "bf16x3" or engine.has_tile_unit())
    if points is None or one_by_one or channels * stride**2 < 12:
        return OutputTile(1, size, size**2)
    side = points + 1 - taps
    transforms = 13 / filters + 10 / (channels * stride**2)
    return OutputTile(side, taps * stride, (points * stride / side) ** 2 * (1 + transforms))


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, params: BlockParams) -> Tensor:
    """One region per image: [N, F, H, W] in channels_last memory."""
    options = params.options
    table = whole(
        params.images, params.height, params.width, size=params.size, stride=options.stride, padding=options.padding,
        rounding=options.rounding, pool=options.pool,
    )  # fmt: skip
    result = torch.empty(params.out_shape, dtype=torch.float32, device="cpu", memory_format=torch.channels_last)
    regions([x], table, weight, bias, params, (), 1.0, [result])
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
    """Write every region's pieces to `outputs`; the regions are spread over `engine.threads()` threads."""
    run(engine.isa(), sources, regions, weight, bias, params, mean, scale, outputs, engine.threads())


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
) -> None:
    """Write every region's pieces to `outputs` (float32, channels_last), with one instruction set.

    The regions must have been checked (`require_regions`): from here on there are only addresses.
    """
    options = params.options
    pool = options.pool or Pool(1, 1)
    weight = weight.contiguous()
    bias = None if bias is None else bias.contiguous()
    table, pieces, stores = (t.contiguous() for t in (regions.regions, regions.pieces, regions.stores))
    sizes = (params.channels, params.filters, params.size, options.stride, options.groups, pool.size, pool.stride)
    engine.load().block_regions(
        isa,
        [_source(source) for source in sources],
        table.data_ptr(),
        len(regions),
        pieces.data_ptr(),
        stores.data_ptr(),
        [(output.data_ptr(), output.shape[0], output.shape[2], output.shape[3]) for output in outputs],
        weight.data_ptr(),
        0 if bias is None else bias.data_ptr(),
        sizes,
        *_norm(options.norm),
        options.order == "conv-norm-pool",
        PRECISIONS.index(options.precision),
        list(mean) or [0.0] * params.channels,
        scale,
        threads,
    )


def _source(source: Tensor) -> tuple[int, int, int, int, int, int]:
    image, channel, row, col = source.stride()
    return source.data_ptr(), int(source.dtype == torch.uint8), image, channel, row, col


def _norm(norm: Norm | None) -> tuple[int, int, float, float, float]:
    """(kind, size, scale per term, power, k)."""
    if norm is None:
        return _NORM_NONE, 1, 0.0, 0.0, 1.0
    if isinstance(norm, CrossMapNorm):
        return _NORM_CROSS_MAP, norm.size, norm.scale / norm.size, norm.power, norm.k
    return _NORM_SAME_MAP, norm.size, norm.scale / norm.size**2, norm.power, 1.0
