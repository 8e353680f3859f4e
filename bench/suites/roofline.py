"""Each layer of a plan beside the machine's peaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from bench import cases
from bench.effort import Effort
from bench.features import sharing
from bench.machine import bandwidth, peak_rate
from bench.row import OURS, OURS_BF16, Row
from bench.timing import Rival, alternate, median_and_spread
from bench.work import IN_TILES, Work, in_tiles, work_of
from dcnn_fast import ops
from dcnn_fast.nets import Column
from dcnn_fast.ops.precision import Precision
from dcnn_fast.plan import ColumnPlan
from dcnn_fast.runtime import averaged, with_bf16_layers

WEIGHTS = {"fp32": 4, "bf16": 2}  # bytes; values between layers are float32 in both


def rows(limits: Mapping[str, float], threads: int, effort: Effort) -> Iterator[Row]:
    """Every layer of the sharing plan for 50 samples of a 256-pixel plane, the default column, grid 1."""
    net = cases.scnn()
    yield from _of_precision(cases.columns(net)[0], OURS, "fp32", "ieee", limits, threads, effort)
    yield from _of_precision(cases.columns(with_bf16_layers(net))[0], OURS_BF16, "bf16", "bf16", limits, threads, effort)


def _of_precision(
    column: Column, by: str, label: str, precision: Precision, limits: Mapping[str, float], threads: int, effort: Effort
) -> Iterator[Row]:
    torch.set_num_threads(threads)
    shape = (column.spec.plane, column.spec.plane)
    plane = cases.plane_of(column.spec, shape)
    plan = sharing(column.spec, cases.windows(column.spec, shape, effort.windows), shape, precision)
    rivals = {layer: Rival(layer, run, 0.0) for layer, run in _steps(column, plane, plan, precision).items()}
    times, settings = alternate(rivals, effort.rounds), _settings(column, precision)
    peak, speed = peak_rate(limits, label, threads), bandwidth(limits, threads)
    for work in work_of(column.spec, plan, shape, values=4, weights=WEIGHTS[label]):
        middle, spread = median_and_spread(times[work.layer])
        gflops = work.flops / middle / 1e9
        yield Row(
            "roofline", f"SCNN, grid 1: {work.layer}", threads, by, label, middle, spread, gflops=gflops,
            share=gflops / peak if peak else None, setting=settings.get(work.layer, ""), note=_note(work, peak, speed),
        )  # fmt: skip


def _note(work: Work, peak: float | None, speed: float | None) -> str:
    counts = f"{work.flops / 1e9:.2f} GFLOP, {work.bytes / 1e6:.0f} MB"
    return f"{counts}: roofline {work.least_seconds(peak * 1e9, speed * 1e9) * 1e3:.1f} ms" if peak and speed else counts


def _settings(column: Column, precision: Precision) -> dict[str, str]:
    """The blocks that are computed in tiles."""
    channels = (column.spec.channels, *(block.filters for block in column.spec.blocks))
    pairs = zip(column.spec.blocks, channels, strict=False)
    return {f"block {number}": IN_TILES for number, (b, c) in enumerate(pairs, 1) if in_tiles(b, c, precision)}


@torch.no_grad()
def _steps(column: Column, plane: np.ndarray, plan: ColumnPlan, precision: Precision) -> dict[str, Callable[[], np.ndarray]]:
    """A function that runs each layer on the previous one's results, by the layers' names in `work_of`."""
    steps: dict[str, Callable[[], np.ndarray]] = {}
    sources = [torch.from_numpy(plane).permute(2, 0, 1)[None]]
    mean, scale = column.spec.mean, column.spec.scale
    for number, (block, regions) in enumerate(zip(cases.blocks(column), plan.blocks, strict=True), 1):
        b = block.spec
        run = partial(
            ops.block_regions, sources, regions, block.weight, block.bias, stride=b.stride, padding=b.padding, groups=b.groups,
            rounding=block.rounding, pool=b.pool, norm=b.norm, order=b.order, mean=mean, scale=scale, precision=precision,
        )  # fmt: skip
        sources, mean, scale = run(), (), 1.0
        steps[f"block {number}"] = partial(_first, partial(run, out=[torch.empty_like(result) for result in sources]))
    x = sources[0].contiguous()
    x = x.flatten(1) if column.spec.reduce == "flatten" else averaged(x)
    for layer in cases.layers(column):
        run_layer = partial(ops.linear, x, layer.weight, layer.bias, relu=True)
        x = run_layer()
        steps[f"fc{x.shape[1]}"] = partial(_first, run_layer)
    return steps


@torch.no_grad()
def _first(run: Callable[[], list[Tensor] | Tensor]) -> np.ndarray:
    result = run()
    first: np.ndarray = (result if isinstance(result, Tensor) else result[0]).numpy()
    return first
