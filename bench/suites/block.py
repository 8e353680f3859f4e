"""Single blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from bench import cases, peers
from bench.effort import Effort
from bench.measure import Case, compare
from bench.row import OURS, OURS_BF16, Found
from bench.timing import Rival
from bench.work import IN_TILES, in_tiles
from dcnn_fast import ops
from dcnn_fast.nets import Block
from dcnn_fast.ops.block import BlockOptions, params_of
from dcnn_fast.ops.precision import Precision

BLOCK_1, BLOCK_2 = "block 1", "block 2"


def rows(limits: Mapping[str, float], threads: int, effort: Effort) -> Iterator[Found]:
    """Block 1 and block 2 of Arch 1 alone, 50 images, no sharing, each library in its own layout."""
    torch.set_num_threads(threads)
    column = cases.columns(cases.scnn())[0]
    generator = torch.Generator().manual_seed(0)
    channels, extents = (column.spec.channels, column.spec.blocks[0].filters), column.spec.extents()
    for number in (1,) if effort.quick else (1, 2):
        x = torch.randn(effort.windows, channels[number - 1], extents[number - 1], extents[number - 1], generator=generator)
        x = x if number == 1 else x.relu()  # like a block's output
        block = cases.blocks(column)[number - 1]
        families = peers.settings_of(
            cases.plain_block(column, number), (x.shape[1], x.shape[2], x.shape[3]), threads,
            compiled=effort.compiled and not effort.quick, bf16=not effort.quick,
        )  # fmt: skip
        built = peers.build(families, x, search=effort.search)
        others = [
            Rival(name, partial(peer, x.contiguous(memory_format=peer.memory)), peers.tolerance(name), peer.setting)
            for name, peer in built.items()
        ]
        last = x.contiguous(memory_format=torch.channels_last)
        ours = [_ours(OURS, block, last, "ieee"), *([] if effort.quick else [_ours(OURS_BF16, block, last, "bf16")])]
        flops = 2.0 * params_of(x, block.weight, BlockOptions.of_spec(block.spec, block.rounding)).macs
        case = Case("block", (BLOCK_1, BLOCK_2)[number - 1], threads, flops=flops, limits=limits)
        yield from compare(case, ours, others, effort.rounds)


def _ours(name: str, block: Block, x: Tensor, precision: Precision) -> Rival:
    setting = IN_TILES if in_tiles(block.spec, x.shape[1], precision) else ""
    return Rival(name, partial(run, block, x, precision), peers.tolerance(name), setting)


@torch.no_grad()
def run(block: Block, x: Tensor, precision: Precision) -> np.ndarray:
    """The block on whole images by our engine."""
    b = block.spec
    result: np.ndarray = ops.block(
        x, block.weight, block.bias, stride=b.stride, padding=b.padding, groups=b.groups, rounding=block.rounding, pool=b.pool,
        norm=b.norm, order=b.order, precision=precision,
    ).numpy()  # fmt: skip
    return result
