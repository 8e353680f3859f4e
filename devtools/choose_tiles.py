"""Choose the forward's tiles by the cost model: `python -m devtools.choose_tiles` writes the table that the package reads.

Every scoring problem of the presets in every tile worth a comparison (`forward_candidates`) runs in the PTX simulator, with a
few of its programs at full size; `bench/gpu_cost.py` turns the simulator's counts into seconds on each GPU. The fastest tile
without spills that fits the GPU's shared memory is chosen, for a batch of IMAGES windows; "doubled" and "halved" are used only
where nothing else fits. A forward that keeps data for its backward gets the first tile that fits; count_backward.py, which this
runs too, counts the backward's two ways of finding its convolution's gradient. The counts are for sm_80's PTX (the CUDA C++
block's for warp groups, for sm_90a's) and stand in for GPUs with other machine code and tensor cores. Nothing is timed. Also
written:
bench/results/kernel-counts.json, from which `python -m bench` predicts; a row there is recounted when its kernel's text, its
constants or the compiler have changed. Last, dcnn_fast/ops/block/gpu/choice.json: the modelled times of the CUDA C++ block and
of Triton's, where both run, and dcnn_fast/ops/block/cuda/by_warps.json: problems that single warps compute faster on sm_90.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import torch
from rich.progress import track

import ptxsim
from bench.gpu_cost import BY_HAND, COUNTS, IMAGES, STAGED, WARPGROUP, CountedTile, Counts, counted_tiles, predicted
from dcnn_fast.ops.block import BACKENDS
from dcnn_fast.ops.block.backend import Saved, Work
from dcnn_fast.ops.block.cuda import forward_launch as cuda_forward
from dcnn_fast.ops.block.cuda.config import config_of
from dcnn_fast.ops.block.cuda.warpgroup import BY_WARPS, warpgroup_of
from dcnn_fast.ops.block.gpu import choice as gpu_choice
from dcnn_fast.ops.block.gpu.problem import problem_key
from dcnn_fast.ops.block.params import BlockParams
from dcnn_fast.ops.block.triton import config as triton_config
from dcnn_fast.ops.block.triton import forward_launch as triton_forward
from dcnn_fast.ops.block.whole import whole_images
from dcnn_fast.ops.gpus import GPUS, HOPPER
from dcnn_fast.ops.launch import DEFAULT_CAPABILITY, Launch
from devtools import aot, kernel_report, sass
from devtools.launches import collected, scoring_operands, scoring_problems, training_problems

PROGRAMS = 6
TILES = Path(triton_config.__file__).with_name("tiles.json")

_WAVEFRONT = 128  # bytes of shared memory
_SHAPE = re.compile(r"\.m(\d+)n(\d+)k(\d+)\.")
_T = TypeVar("_T")
LAST_RESORTS = ("doubled", "halved")
_queue: list[tuple[BlockParams, str]] = []


def launch_of(params: BlockParams, name: str, keeps: bool = False) -> Launch:
    """A problem's launch in the tile with this name."""
    config = triton_config.forward_candidates(params, keeps)[name]
    x, operands = scoring_operands(params)
    values = _empty(params, params.out_dtype) if keeps and params.kept.values else None
    hits = _empty(params, torch.int16) if keeps and params.kept.hits else None
    work = Work([x], whole_images(params), [_empty(params, params.out_dtype)])
    prepared = triton_forward.prepared(params, operands, tile=config)
    return prepared.launch_of_work(work, Saved(values, hits))


def staged_launch_of(params: BlockParams, name: str) -> Launch:
    """The CUDA C++ block's launch in the named tile for one of the problem's images, with a thread block for each half; block 1
    reads bytes with four channels per pixel, as the views write them.
    """
    params = replace(params, images=1)
    x, operands = scoring_operands(params)
    if params.channels == 3:
        x = torch.zeros(1, params.height, params.width, 4, dtype=params.dtype).permute(0, 3, 1, 2)[:, :3]
    work = Work([x], whole_images(params), [_empty(params, params.out_dtype)])
    prepared = cuda_forward.prepared(params, operands, config=warpgroup_of(params) if name == WARPGROUP else config_of(params))
    return prepared.launch_of_work(work, 2 * -(-params.filters // prepared.config.part))


def counted(what: Launch, params: BlockParams, capability: int = DEFAULT_CAPABILITY, programs: int = PROGRAMS) -> Counts:
    """The simulator's counts for the first programs of the launch, compiled for a compute capability."""
    code = aot.compiled(what, capability)
    grid = (min(what.grid[0], programs), *what.grid[1:])
    args = [what.args[name] for name in code.names]
    buffers = [*what.reads, *what.writes]
    report = ptxsim.launch(code.ptx, code.kernel, grid, 32 * code.warps, args, shared=code.shared, buffers=buffers)
    products, operands = {True: 0, False: 0}, 0
    for opcode, times in report.opcodes.items():
        if (shape := _SHAPE.search(opcode)) and opcode.startswith(("mma", "wgmma")):
            rows, columns, depth = map(int, shape.groups())
            products["tf32" in opcode] += times * rows * columns * depth // _warps_of(opcode)
            operands += times * columns * depth * 2 // _WAVEFRONT // _warps_of(opcode) if opcode.startswith("wgmma") else 0
    parts = what.grid[1] if len(what.grid) > 1 else 1
    return Counts(
        what.grid[0] * parts, grid[0] * parts, dict(report.instructions), products[False], products[True],
        report.shared_wavefronts + operands, report.global_load_sectors + report.global_store_sectors, params.macs,
        params.bytes,
    )  # fmt: skip


def counted_for(name: str) -> int:
    """The compute capability whose code is counted of a tile."""
    return HOPPER if name == WARPGROUP else DEFAULT_CAPABILITY


def _warps_of(opcode: str) -> int:
    """That execute the instruction together."""
    return 4 if opcode.startswith("wgmma") else 1


def fits(what: Launch, capability: int) -> bool:
    """Whether the kernel spills nothing and fits a multiprocessor."""
    code = aot.compiled(what, capability)
    found = sass.read(code.cubin)
    return found.stack == 0 and kernel_report.occupancy(capability, found.registers, code.shared, code.warps) > 0


def _empty(params: BlockParams, dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(params.out_shape, dtype=dtype, memory_format=torch.channels_last)


def pairs() -> Iterator[tuple[BlockParams, str]]:
    """Every scoring problem with the name of every candidate except last resorts."""
    for params in _different(scoring_problems(IMAGES)):
        for name in triton_config.forward_candidates(params):
            if name not in LAST_RESORTS:
                yield params, name


def chosen(rows: Iterable[CountedTile]) -> dict[str, dict[str, str]]:
    """By compute capability and problem, the name of the fastest fitting tile, where that is not the first."""
    tiles: dict[str, dict[str, str]] = {}
    for gpu in GPUS:
        best: dict[str, tuple[float, str]] = {}
        for row in rows:
            if gpu.capability in row.capabilities:
                best[row.key] = min(best.get(row.key, (float("inf"), "")), (predicted(gpu, row.counts, row.tile)[0], row.tile))
        tiles[str(gpu.capability)] = {key: name for key, (_, name) in best.items() if name != "small"}
    return tiles


def _stuck(rows: Iterable[CountedTile]) -> Iterator[tuple[BlockParams, str]]:
    """The last resorts for problems for which nothing else fits on some GPU."""
    fitting: dict[str, set[int]] = {}
    for row in rows:
        fitting.setdefault(row.key, set()).update(row.capabilities)
    for params in _different(scoring_problems(IMAGES)):
        if fitting[problem_key(params)] != set(kernel_report.JUDGED):
            for name in LAST_RESORTS:
                if name in triton_config.forward_candidates(params):
                    yield params, name


def _row(index: int) -> CountedTile:
    params, name = _queue[index]
    what = launch_of(params, name)
    fitting = tuple(capability for capability in kernel_report.JUDGED if fits(what, capability))
    return CountedTile(
        str(params), problem_key(params), name, _source(what, name), fitting, counted(what, params, counted_for(name))
    )


def _any_row(index: int) -> CountedTile:
    return _staged_row(index) if _queue[index][1] in BY_HAND else _row(index)


def _staged_row(index: int) -> CountedTile:
    params, name = _queue[index]
    what = staged_launch_of(params, name)
    counts = counted(what, params, counted_for(name), what.grid[0])
    strips = what.args["count"] * what.grid[1]  # which as many thread blocks as a GPU has share evenly
    all_images = replace(counts, programs=strips * params.images, simulated=strips)
    fitting = (HOPPER,) if name == WARPGROUP else kernel_report.JUDGED
    return CountedTile(str(params), problem_key(params), name, _source(what, name), fitting, all_images)


def _staged() -> list[tuple[BlockParams, str]]:
    """The scoring problems that the CUDA C++ block runs, in its tiles."""
    with collected(DEFAULT_CAPABILITY):
        problems = [
            params
            for params in _different(scoring_problems(IMAGES))
            if BACKENDS["cuda"].can_run(params, torch.device("cpu")) is None
        ]
    by_groups = [(params, WARPGROUP) for params in problems if warpgroup_of(params) is not None]
    return [*((params, STAGED) for params in problems), *by_groups]


def choices(rows: Iterable[CountedTile]) -> dict[str, dict[str, list[float]]]:
    """By compute capability and problem, the microseconds of the CUDA C++ block and of Triton's fastest tile."""
    rows = list(rows)
    found: dict[str, dict[str, list[float]]] = {}
    for gpu in GPUS:
        times: dict[str, dict[str, float]] = {}
        for row in rows:
            if gpu.capability in row.capabilities:
                times.setdefault(row.key, {})[row.tile] = predicted(gpu, row.counts, row.tile)[0]
        found[str(gpu.capability)] = {key: _pair(of) for key, of in times.items() if STAGED in of}
    return found


def _pair(times: Mapping[str, float]) -> list[float]:
    """Microseconds of the CUDA C++ block, by warp groups where they are faster, and of Triton's fastest tile."""
    by_hand, of_triton = (min(times[tile] for tile in times if (tile in BY_HAND) is hand) for hand in (True, False))
    return [round(1e6 * by_hand, 1), round(1e6 * of_triton, 1)]


def by_warps(rows: Iterable[CountedTile]) -> list[str]:
    """The problems of which the CUDA C++ block is slower on sm_90 by warp groups than by single warps."""
    hopper = next(gpu for gpu in GPUS if gpu.capability == HOPPER)
    times = {(row.key, row.tile): predicted(hopper, row.counts, row.tile)[0] for row in rows if row.tile in BY_HAND}
    return sorted(key for key, tile in times if tile == WARPGROUP and times[key, tile] > times[key, STAGED])


def _first_fitting(index: int) -> dict[int, str]:
    """By compute capability, the first tile of a training forward that fits."""
    params, _ = _queue[index]
    keeps = _keeps(params)
    found: dict[int, str] = {}
    for name in triton_config.forward_candidates(params, keeps):
        what = launch_of(params, name, keeps)
        for capability in kernel_report.JUDGED:
            if capability not in found and fits(what, capability):
                found[capability] = name
    return found


def _rows(wanted: list[tuple[BlockParams, str]], known: Mapping[tuple[str, str], CountedTile]) -> list[CountedTile]:
    """The rows of `wanted`; unknown and stale ones are recomputed."""
    stale = []
    for params, name in wanted:
        row = known.get((str(params), name))
        what = staged_launch_of(params, name) if name in BY_HAND else launch_of(params, name)
        if row is None or row.source != _source(what, name):
            stale.append((params, name))
    new = {(row.problem, row.tile): row for row in _each(_any_row, stale, "simulating")}
    return [new.get((str(params), name)) or known[str(params), name] for params, name in wanted]


def _each(function: Callable[[int], _T], queue: list[tuple[BlockParams, str]], title: str) -> list[_T]:
    # Kernels cannot be pickled; a forked process has them already.
    _queue[:] = queue
    with ProcessPoolExecutor(2, get_context("fork")) as pool:
        return list(track(pool.map(function, range(len(queue))), title, total=len(queue)))


def _source(what: Launch, name: str) -> str:
    return kernel_report.source_of(what, counted_for(name))


def _different(problems: Iterable[BlockParams]) -> Iterator[BlockParams]:
    """One problem of each key."""
    seen = set()
    for params in problems:
        key = problem_key(params)
        if key not in seen:
            seen.add(key)
            yield params


def _keeps(params: BlockParams) -> bool:
    return params.kept.hits or params.kept.values


def _only_trained() -> list[BlockParams]:
    """The training problems whose forward does not occur in scoring."""
    scored = {problem_key(params) for params in scoring_problems(IMAGES)}
    return [params for params in _different(training_problems()) if _keeps(params) or problem_key(params) not in scored]


def main() -> int:
    """The command."""
    from devtools import count_backward  # noqa: PLC0415 - which counts as this does

    torch.set_num_threads(1)  # torch's threads would be missing in the forked processes
    known = counted_tiles()
    rows = _rows(list(pairs()), known)
    rows += _rows(list(_stuck(rows)), known)
    tiles = chosen(rows)
    rows += _rows(_staged(), known)
    COUNTS.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    gpu_choice.TABLE.write_text(json.dumps(choices(rows), indent=1, sort_keys=True) + "\n")
    BY_WARPS.write_text(json.dumps(by_warps(rows), indent=1) + "\n")
    trained = _only_trained()
    for params, names in zip(trained, _each(_first_fitting, [(params, "") for params in trained], "compiling"), strict=True):
        for capability, name in names.items():
            if name != "small":
                tiles[str(capability)][problem_key(params, _keeps(params))] = name
    TILES.write_text(json.dumps(tiles, indent=1, sort_keys=True) + "\n")
    count_backward.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
