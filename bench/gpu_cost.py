"""Seconds of a kernel on a GPU, by a model, from what the PTX simulator counted: nothing here has run on a GPU.

seconds = the largest of these terms, each as if all multiprocessors had equal shares and nothing else to do:

- tensor: multiply-adds of `mma` over the tensor cores' rate for the instruction that the kernel has on that GPU (`mma.sync`
  reaches some 62 % of Hopper's peak, and has no part in Blackwell's), tf32 at half that of 16 bits;
- issue: warp instructions over four a cycle; alu, fma, mufu, lsu: those of a pipe over its own rate;
- shared: wavefronts, bank conflicts included, and 128 bytes each of what products of warp groups read there, over one
  a cycle;
- L2: 32-byte sectors that warps ask for, over the L2's bandwidth: the first-level cache is assumed to hold nothing;
- DRAM: every byte of source, weights and result once, over the memory's bandwidth.

They are rounded up to whole programs a multiprocessor, which is the tail, and `LAUNCH` is added. Not in it: barriers, latencies
that too few warps do not hide (the registers of each tile on each GPU are not among the counts) and the host's time, which
`dcnn_fast/runtime/fixed_rule.py` has. PTX is not the machine's code and clocks vary: a lower bound, to rank variants by and to
see what binds. Rates are those of dcnn_fast/ops/gpus.py.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dcnn_fast.ops.gpus import SECTOR, Gpu

COUNTS = Path(__file__).parent / "results" / "kernel-counts.json"  # written by devtools/choose_tiles.py
IMAGES = 50  # windows that the counts are of
STAGED = "staged"  # the tile of the CUDA C++ block, among the names of Triton's
WARPGROUP = "warpgroup"  # the same for warp groups, on sm_90
BY_HAND = (STAGED, WARPGROUP)
BY_MMA_SYNC = (STAGED, "strip")  # tiles whose products are `mma.sync` on every GPU: of the others Triton makes wgmma or tcgen05
LAUNCH = 2e-6  # seconds that a GPU takes from one kernel of a graph to the next: assumed

MODEL = (
    f"modelled: seconds of {IMAGES} windows = the largest of tensor, issue, pipe, shared-memory, L2 and DRAM time, and one of "
    f"{1e6 * LAUNCH:g} us between launches, from what the PTX simulator counted of the kernel for sm_80 (bench/gpu_cost.py "
    "says what is assumed). The floor is the useful multiply-adds at the data sheet's peak or every byte once, whichever takes "
    "longer; share is floor over modelled. Nothing ran on a GPU"
)


@dataclass(frozen=True)
class Counts:
    """What the simulator counted of `simulated` programs out of `programs`, and what must move and be multiplied at least."""

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
    """One problem in one tile. key: what a tile is chosen for (`problem_key`). source: what the counts follow
    from. capabilities: those it fits without spilling.
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
    """Seconds by term, of the kernel in the tile of that name."""
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
    """Multiply-adds a cycle of one multiprocessor, by the instruction that the kernel in that tile has for such a GPU."""
    return gpu.mma_sync if gpu.mma_sync is not None and tile in BY_MMA_SYNC else gpu.tensor


def predicted(gpu: Gpu, counts: Counts, tile: str) -> tuple[float, str]:
    """Seconds from one launch's beginning to the next one's, and the term that binds."""
    found = terms(gpu, counts, tile)
    name = max(found, key=lambda term: found[term])
    return found[name] + LAUNCH, name


def floor(gpu: Gpu, counts: Counts, precision: str) -> float:
    """Seconds that no kernel can go below: the useful multiply-adds at the data sheet's peak, or every byte once."""
    rate = {"ieee": gpu.exact, "tf32": gpu.tensor / 2}.get(precision, gpu.tensor)
    peak = rate * gpu.multiprocessors * gpu.ghz * 1e9
    return max(counts.useful / peak, counts.bytes / (gpu.dram * 1e9))
