"""Tile sizes of the block's Triton kernels: data, chosen from the problem alone."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from dcnn_fast.networks import CrossMapNorm, SameMapNorm
from dcnn_fast.ops.block.gpu.problem import norm_first, operand_bytes, power_of_two, problem_key
from dcnn_fast.ops.block.params import BlockParams
from dcnn_fast.ops.launch import DEFAULT_CAPABILITY

JOINED_GROUPS = 2  # that a program computes side by side for a norm across them


@dataclass(frozen=True)
class ForwardConfig:
    """A forward program's tile: rows x cols convolution outputs (flat: their product in a row), `filters` of each of `joined`
    groups, `depth` products a step.

    before, after: rows and columns by which the tile overlaps its neighbours for pool and norm. gather: whether a step's
    products are those of any taps and channels rather than of one tap.
    streamed: whether the program goes down `rows` rows of a strip of `cols` columns, one at a time (stream_kernels.py).
    """

    rows: int
    cols: int
    filters: int
    joined: int
    depth: int
    before: int
    after: int
    flat: bool
    gather: bool
    warps: int
    stages: int
    streamed: bool = False


def forward_config(params: BlockParams, capability: int = DEFAULT_CAPABILITY, keeps: bool = False) -> ForwardConfig:
    """The tile that a problem's forward is computed in: the one that `python -m devtools.choose_tiles` chose for the compute
    capability, or the first.

    keeps: whether the forward keeps the norm's input or the pool's hits, which takes registers.
    """
    candidates = forward_candidates(params, keeps)
    chosen = _choices().get(str(capability), {}).get(problem_key(params, keeps))
    return candidates[chosen] if chosen in candidates else next(iter(candidates.values()))


def forward_candidates(params: BlockParams, keeps: bool = False) -> dict[str, ForwardConfig]:
    """The tiles worth a comparison, by name: the first fits every GPU of the size it is made for, "doubled" (on twice the
    warps) and "halved" (half the outputs) are for compilers that find no registers for it.
    """
    options = params.options
    if isinstance(options.norm, CrossMapNorm) and options.groups > JOINED_GROUPS:
        return forward_candidates(replace(params, options=replace(options, groups=1)), keeps)
    smallest = _smallest(params)
    found = {"small": smallest}
    if not keeps and not smallest.flat and operand_bytes(params) == 2 and smallest.joined * smallest.filters <= 64:
        # Two or three stages differ where shared memory is scarce.
        found |= {
            f"{rows}x{cols}": replace(smallest, rows=max(smallest.rows, rows), cols=max(smallest.cols, cols), warps=8, stages=2)
            for rows, cols in ((16, 16), (8, 32))
        }
    if not keeps and (strip := _strip(params, smallest)) is not None:
        found["strip"] = strip  # which forgets what hits are made of
    found["doubled"] = replace(smallest, warps=2 * smallest.warps)
    if (half := _halved(smallest)) is not None:
        found["halved"] = half
    return found


@cache
def _choices() -> dict[str, dict[str, str]]:
    """The chosen tile's name by compute capability and problem."""
    return json.loads(Path(__file__).with_name("tiles.json").read_text())  # type: ignore[no-any-return]


def _smallest(params: BlockParams) -> ForwardConfig:
    options = params.options
    channels, filters = params.channels // options.groups, params.filters // options.groups
    exact = operand_bytes(params) == 4
    crossing = isinstance(options.norm, CrossMapNorm)
    joined = options.groups if crossing else 1
    width = max(16, power_of_two(filters)) if crossing else min(max(16, power_of_two(filters)), 64 if exact else 128)
    depth = next((depth for depth in ((32, 16) if exact else (64, 32, 16)) if channels % depth == 0), 0)
    before, after = halo(params)
    flat = before + after == 0 and (options.pool is None or options.pool.size == 1)
    # What follows the products needs registers of its own; fp32 products on plain multiply-adds need more.
    values = 16384 if flat and not exact else 8192 if not exact else 8192 if joined * width > 64 else 4096
    outputs = max(16, min(64 if exact else 128, values // (joined * width)))
    least = 2 * (before + after)
    rows = max(4, power_of_two(least)) if flat else max(power_of_two(least), _square(outputs)[0])
    cols = outputs // rows if flat else max(power_of_two(least), _square(outputs)[1])
    many = rows * cols * joined * width > (8192 if flat else 4096)
    return ForwardConfig(
        rows, cols, width, joined, depth or 32, before, after, flat, depth == 0, warps=8 if many else 4, stages=3
    )


def _strip(params: BlockParams, smallest: ForwardConfig) -> ForwardConfig | None:
    """The strip that a problem's forward is streamed in; None where it cannot be."""
    pool, norm = params.options.pool, params.options.norm
    if pool is None or pool.size not in (2, 3) or isinstance(norm, SameMapNorm):
        return None
    if smallest.joined * smallest.filters > 64:
        return None  # the rows above do not fit a program's registers
    return replace(smallest, rows=16, cols=32, before=0, after=pool.size - 1, warps=4, streamed=True)


def _halved(config: ForwardConfig) -> ForwardConfig | None:
    """Half the outputs, where that leaves 16 and windows to own."""
    rows, cols = (config.rows, config.cols // 2) if config.cols >= config.rows else (config.rows // 2, config.cols)
    overlap = config.before + config.after
    if rows * cols < 16 or min(rows, cols) <= overlap:
        return None
    return replace(config, rows=rows, cols=cols)


def halo(params: BlockParams) -> tuple[int, int]:
    """Rows (and columns) of convolution outputs that a tile computes before and after those whose windows it owns."""
    pool, norm = params.options.pool, params.options.norm
    before, after = 0, pool.size - 1 if pool is not None else 0
    if isinstance(norm, SameMapNorm):
        apart = 1 if norm_first(params) or pool is None else pool.stride
        before += norm.size // 2 * apart
        after += (norm.size - 1 - norm.size // 2) * apart
    return before, after


def _square(outputs: int) -> tuple[int, int]:
    """(rows, cols) of a tile as square as powers of two allow."""
    rows = 1 << ((outputs.bit_length() - 1) // 2)
    return rows, outputs // rows
