"""Each layer of a plan beside what the machine can do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from bench import cases
from bench.features import sharing
from bench.machine import bandwidth, peak_rate
from bench.row import OURS, OURS_BF16, Row
from bench.timing import Rival, alternate, median_and_spread
from bench.work import IN_TILES, in_tiles, work_of
from dcnn_fast import ops
from dcnn_fast.nets import Column
from dcnn_fast.ops.precision import Precision
from dcnn_fast.ops.region import RegionList
from dcnn_fast.scoring.scorer import with_bf16_layers

WEIGHTS = {"fp32": 4, "bf16": 2}  # bytes; values between layers are float32 in either


def rows(limits: Mapping[str, float], threads: int, rounds: int) -> Iterator[Row]:
    """Every layer of the shared plan of 50 views of a 256-pixel plane, the default column, grid 1."""
    torch.set_num_threads(threads)
    net, plane = cases.network(), cases.photograph(256, 256)
    for by, precision, label, network in ((OURS, "ieee", "fp32", net), (OURS_BF16, "bf16", "bf16", with_bf16_layers(net))):
        column: Column = network.columns[0]  # type: ignore[assignment]
        plan = sharing(column.spec, cases.windows(plane), (256, 256), precision)  # type: ignore[arg-type]
        layers = work_of(column.spec, plan, (256, 256), values=4, weights=WEIGHTS[label])
        channels = [column.spec.channels, *(block.filters for block in column.spec.blocks)]
        tiled = {
            f"block {number}"
            for number, (block, inputs) in enumerate(zip(column.spec.blocks, channels, strict=False), 1)
            if in_tiles(block, inputs, precision)  # type: ignore[arg-type]
        }
        steps = _steps(column, plane, plan.blocks, precision)  # type: ignore[arg-type]
        times = alternate({layer: Rival(layer, run, 0.0) for layer, run in steps.items()}, rounds)
        peak, speed = peak_rate(limits, label, threads), bandwidth(limits, threads)
        for work in layers:
            middle, spread = median_and_spread(times[work.layer])
            gflops = work.flops / middle / 1e9
            note = f"{work.flops / 1e9:.2f} GFLOP, {work.bytes / 1e6:.0f} MB"
            if peak and speed:
                note += f": roofline {work.least_seconds(peak * 1e9, speed * 1e9) * 1e3:.1f} ms"
            setting = IN_TILES if work.layer in tiled else ""
            share = gflops / peak if peak else None
            case = f"SCNN, grid 1: {work.layer}"
            yield Row(
                "roofline", case, threads, by, label, middle, spread, gflops=gflops, share=share, setting=setting, note=note
            )  # fmt: skip


@torch.no_grad()
def _steps(
    column: Column, plane: np.ndarray, tables: tuple[RegionList, ...], precision: Precision
) -> dict[str, Callable[[], np.ndarray]]:
    """What runs each layer on the results of the one before."""
    steps: dict[str, Callable[[], np.ndarray]] = {}
    sources = [torch.from_numpy(plane).permute(2, 0, 1)[None]]
    mean, scale = column.spec.mean, column.spec.scale
    for number, (block, table) in enumerate(zip(column.blocks, tables, strict=True), 1):
        b = block.spec  # type: ignore[union-attr]
        run = partial(
            ops.block_regions, sources, table, block.weight, block.bias, stride=b.stride, padding=b.padding, groups=b.groups,  # type: ignore[arg-type, union-attr]
            rounding=block.rounding, pool=b.pool, norm=b.norm, order=b.order, mean=mean, scale=scale, precision=precision,  # type: ignore[union-attr, arg-type]
        )  # fmt: skip
        out = sources = run()
        steps[f"block {number}"] = _without_grad(partial(run, out=[torch.empty_like(tensor) for tensor in out]))
        mean, scale = (), 1.0
    x = sources[0].contiguous().flatten(1)
    for layer in column.fc:
        run_fc = partial(ops.linear, x, layer.weight, layer.bias, relu=True)  # type: ignore[union-attr, arg-type]
        x = run_fc()
        steps[f"fc{x.shape[1]}"] = _without_grad(run_fc)
    return steps


def _without_grad(run: Callable[[], list[Tensor] | Tensor]) -> Callable[[], np.ndarray]:
    def step() -> np.ndarray:
        with torch.no_grad():
            result = run()
        first: np.ndarray = (result if isinstance(result, Tensor) else result[0]).numpy()
        return first

    return step
