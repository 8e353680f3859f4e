"""Choose the forward's tiles by the cost model: `python -m tools.choose_tiles` writes the table that the package reads.

Every scoring problem of the presets in every tile worth a comparison (`forward_candidates`) runs in the PTX simulator, a few
programs of it at full size; what the simulator counts gives seconds on each GPU by `bench/gpu_cost.py`. The fastest that spills
nothing and fits the GPU's shared memory is chosen, for a batch of IMAGES windows. The counts are of PTX for sm_80; for GPUs of
another machine code, tensor cores included, they stand in. Nothing is timed. Also written: bench/results/kernel-counts.json,
which `python -m bench` predicts from.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import torch
from rich.progress import track

from bench.gpu_cost import COUNTS, GPUS, IMAGES, Counts, predicted
from dcnn_fast.ops.block import triton_config, triton_forward
from dcnn_fast.ops.block.params import BlockParams
from dcnn_fast.ops.block.tables import whole_images
from dcnn_fast.ops.launch import Launch
from tools import aot, kernel_report, ptxsim, sass
from tools.launches import scoring_operands, scoring_problems

PROGRAMS = 6
TILES = Path(triton_config.__file__).with_name("triton_tiles.json")

_SHAPE = re.compile(r"\.m(\d+)n(\d+)k(\d+)\.")
_queue: list[tuple[BlockParams, str]] = []


def launch_of(params: BlockParams, name: str) -> Launch:
    """A problem's launch in the tile of that name."""
    config = triton_config.forward_candidates(params)[name]
    x, weight, bias, mean = scoring_operands(params)
    out = torch.empty(params.out_shape, dtype=params.out_dtype, memory_format=torch.channels_last)
    return triton_forward.plan_launch(config, [x], whole_images(params), weight, bias, params, mean, 1.0, [out])


def counted(what: Launch, params: BlockParams) -> Counts:
    """What the simulator counts of the launch's first programs."""
    code = aot.compiled(what, 80)
    grid = (min(what.grid[0], PROGRAMS), *what.grid[1:])
    args = [what.args[name] for name in code.names]
    buffers = [*what.reads, *what.writes]
    report = ptxsim.launch(code.ptx, code.kernel, grid, 32 * code.warps, args, shared=code.shared, buffers=buffers)
    products = {True: 0, False: 0}
    for opcode, times in report.opcodes.items():
        if opcode.startswith("mma") and (shape := _SHAPE.search(opcode)):
            products["tf32" in opcode] += times * int(shape[1]) * int(shape[2]) * int(shape[3])
    parts = what.grid[1] if len(what.grid) > 1 else 1
    return Counts(
        what.grid[0] * parts, grid[0] * parts, dict(report.instructions), products[False], products[True],
        report.shared_wavefronts, report.global_load_sectors + report.global_store_sectors, params.macs, params.bytes,
    )  # fmt: skip


def fits(what: Launch, capability: int) -> bool:
    """Whether the kernel spills nothing and fits a multiprocessor."""
    code = aot.compiled(what, capability)
    found = sass.read(code.cubin)
    return found.stack == 0 and kernel_report.occupancy(capability, found.registers, code.shared, code.warps) > 0


def _judged(index: int) -> tuple[Counts, list[int]]:
    params, name = _queue[index]
    what = launch_of(params, name)
    return counted(what, params), [capability for capability in kernel_report.JUDGED if fits(what, capability)]


def main() -> int:
    """The command."""
    _queue[:] = list(_pairs())
    with ProcessPoolExecutor(2, get_context("fork")) as pool:
        found = list(track(pool.map(_judged, range(len(_queue))), "simulating", total=len(_queue)))
    tiles: dict[str, dict[str, str]] = {str(capability): {} for capability in kernel_report.JUDGED}
    counts = []
    for gpu in GPUS:
        best: dict[str, tuple[float, str]] = {}
        for (params, name), (count, fitting) in zip(_queue, found, strict=True):
            if gpu.capability in fitting:
                key = triton_config.problem_key(params)
                best[key] = min(best.get(key, (float("inf"), "")), (predicted(gpu, count)[0], name))
        tiles[str(gpu.capability)] |= {key: name for key, (_, name) in best.items() if name != "small"}
    for (params, name), (count, fitting) in zip(_queue, found, strict=True):
        counts.append({"problem": str(params), "tile": name, "capabilities": fitting, **asdict(count)})
    TILES.write_text(json.dumps(tiles, indent=1, sort_keys=True) + "\n")
    COUNTS.write_text(json.dumps(counts, indent=1) + "\n")
    return 0


def _pairs() -> Iterator[tuple[BlockParams, str]]:
    seen = set()
    for params in scoring_problems(IMAGES):
        key = triton_config.problem_key(params)
        if key not in seen:
            seen.add(key)
            for name in triton_config.forward_candidates(params):
                yield params, name


if __name__ == "__main__":
    sys.exit(main())
