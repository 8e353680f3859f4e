"""Models a kernel's seconds on a GPU from the PTX simulator's counts: nothing here has run on a GPU.

seconds = the largest of these terms, each for equal shares on all multiprocessors and no other work:

- tensor: multiply-adds of `mma` over the tensor cores' rate for the instruction that the kernel has on that GPU (`mma.sync`
  reaches some 62 % of Hopper's peak, and does not use Blackwell's), tf32 at half the rate of 16 bits;
- issue: warp instructions over four per cycle; alu, fma, mufu, lsu: those of a pipe over its rate;
- shared: wavefronts, including bank conflicts, and 128 bytes each read by products of warp groups, over one per cycle;
- L2: 32-byte sectors requested by warps, over the L2's bandwidth, with an L1 cache that never hits;
- DRAM: every byte of source, weights and result once, over the memory's bandwidth.

They are rounded up to whole programs per multiprocessor (the tail), and `LAUNCH` is added. Not included: barriers, latencies
that too few warps do not hide (registers per tile and GPU are not counted) and the host's time
(`dcnn_fast/runtime/fixed_rule.py`). PTX is not machine code and clocks vary: this is a lower bound, for ranking variants and
finding bottlenecks. Rates are from dcnn_fast/ops/gpus.py.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dcnn_fast.ops.gpus import SECTOR, Gpu

COUNTS = Path(__file__).parent / "results" / "kernel-counts.json"  # written by devtools/choose_tiles.py
IMAGES = 50  # windows in the counted problems
STAGED = "staged"  # the name of the CUDA C++ block's tile, among Triton's
WARPGROUP = "warpgroup"  # the same for warp groups, on sm_90
BY_HAND = (STAGED, WARPGROUP)
BY_MMA_SYNC = (STAGED, "strip")  # tiles with `mma.sync` products on every GPU; for the others Triton emits wgmma or tcgen05
LAUNCH = 2e-6  # seconds between two kernels of a graph: assumed

MODEL = (
    f"modelled: seconds of {IMAGES} windows = the largest of tensor, issue, pipe, shared-memory, L2 and DRAM time, and one of "
    f"{1e6 * LAUNCH:g} us between launches, from what the PTX simulator counted of the kernel for sm_80, of that for warp "
    "groups for sm_90a (bench/gpu_cost.py says what is assumed). The floor is the useful multiply-adds at the data sheet's "
    "peak or every byte once, whichever takes longer; share is floor over modelled. Nothing ran on a GPU"
)


@dataclass(frozen=True)
class Counts:
    """The simulator's counts for `simulated` programs out of `programs`, and the least bytes and multiply-adds."""

    programs: int
    simulated: int
    pipes: Mapping[str, int]
    tensor_16: int
    tensor_tf32: int
    wavefronts: int
    sectors: int
    useful: int
    bytes: int


@dataclass(frozen=True)
class CountedTile:
    """One problem in one tile. key: the problem for which a tile is chosen (`problem_key`). source: the origin of the counts.
    capabilities: those on which it fits without spilling.
    """

    problem: str
    key: str
    tile: str
    source: str
    capabilities: tuple[int, ...]
    counts: Counts


def counted_tiles() -> dict[tuple[str, str], CountedTile]:
    """The committed counts by problem and tile."""
    found = json.loads(COUNTS.read_text()) if COUNTS.exists() else []
    rows = [
        CountedTile(**{**row, "capabilities": tuple(row["capabilities"]), "counts": Counts(**row["counts"])}) for row in found
    ]
    return {(row.problem, row.tile): row for row in rows}


def terms(gpu: Gpu, counts: Counts, tile: str) -> dict[str, float]:
    """Seconds by term, for the kernel with this tile."""
    share = math.ceil(counts.programs / gpu.multiprocessors) / counts.simulated  # of the simulated work, for the busiest
    cycle = share / (gpu.ghz * 1e9)
    pipes = dict(counts.pipes)
    issued = sum(pipes.values())
    alu = sum(pipes.get(name, 0) for name in ("alu", "imad", "convert", "move", "half"))
    lanes = {"issue": issued, "fma": pipes.get("fma", 0), "alu": alu, "mufu": pipes.get("mufu", 0), "lsu": pipes.get("lsu", 0)}
    found = {name: cycle * count / gpu.rates[name] for name, count in lanes.items()}
    found["tensor"] = cycle * (counts.tensor_16 + 2 * counts.tensor_tf32) / tensor_rate(gpu, tile)
    found["shared"] = cycle * counts.wavefronts
    found["L2"] = counts.sectors * SECTOR * counts.programs / counts.simulated / (gpu.l2 * 1e9)
    found["DRAM"] = counts.bytes / (gpu.dram * 1e9)
    return found


def tensor_rate(gpu: Gpu, tile: str) -> int:
    """Multiply-adds per cycle and multiprocessor, by the instruction of the kernel with that tile on such a GPU."""
    return gpu.mma_sync if gpu.mma_sync is not None and tile in BY_MMA_SYNC else gpu.tensor


def predicted(gpu: Gpu, counts: Counts, tile: str) -> tuple[float, str]:
    """Seconds from one launch's start to the next, and the binding term."""
    found = terms(gpu, counts, tile)
    name = max(found, key=lambda term: found[term])
    return found[name] + LAUNCH, name


def floor(gpu: Gpu, counts: Counts, precision: str) -> float:
    """A lower bound of seconds for any kernel: the useful multiply-adds at the data sheet's peak, or every byte once."""
    rate = {"ieee": gpu.exact, "tf32": gpu.tensor / 2}.get(precision, gpu.tensor)
    peak = rate * gpu.multiprocessors * gpu.ghz * 1e9
    return max(counts.useful / peak, counts.bytes / (gpu.dram * 1e9))
