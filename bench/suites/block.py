"""Single blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from bench import cases, peers
from bench.measure import Case, compare
from bench.row import OURS, OURS_BF16, Found
from bench.timing import Rival
from bench.work import IN_TILES, in_tiles
from dcnn_fast import ops
from dcnn_fast.nets import Block
from dcnn_fast.ops.block import BlockOptions, params_of
from dcnn_fast.ops.precision import Precision


def rows(limits: Mapping[str, float], threads: int, rounds: int, *, quick: bool) -> Iterator[Found]:
    """Block 1 and block 2 of Arch 1 alone, 50 images, no sharing, each library in its own layout."""
    torch.set_num_threads(threads)
    blocks = cases.blocks(cases.columns(cases.network())[0])
    generator = torch.Generator().manual_seed(0)
    inputs = (torch.randn(50, 3, 224, 224, generator=generator), torch.randn(50, 64, 54, 54, generator=generator).relu())
    for number, x in enumerate(inputs[: 1 if quick else 2], 1):
        block = blocks[number - 1]
        plain = peers.PlainBlocks([block.spec], [(block.weight, block.bias)], [], [x.shape[2]], "up")
        built = peers.build(plain, x, threads, compiled=not quick, bf16=not quick)
        others = [
            Rival(name, partial(peer, x.contiguous(memory_format=peer.memory)), peers.tolerance(name), peer.setting)
            for name, peer in built.items()
        ]
        last = x.contiguous(memory_format=torch.channels_last)
        ours = [_ours(OURS, block, last, "ieee"), *([] if quick else [_ours(OURS_BF16, block, last, "bf16")])]
        options = BlockOptions.of_spec(block.spec, "up")
        flops = 2.0 * params_of(x, block.weight, options).macs
        case = Case("block", f"block {number}", threads, flops=flops, limits=limits)
        yield from compare(case, ours, others, rounds)


def _ours(name: str, block: Block, x: Tensor, precision: Precision) -> Rival:
    setting = IN_TILES if in_tiles(block.spec, x.shape[1], precision) else ""
    return Rival(name, partial(run, block, x, precision), peers.tolerance(name), setting)


@torch.no_grad()
def run(block: Block, x: Tensor, precision: Precision) -> np.ndarray:
    """The block of whole images on our engine."""
    b = block.spec
    result: np.ndarray = ops.block(
        x, block.weight, block.bias, stride=b.stride, padding=b.padding, groups=b.groups, rounding=block.rounding, pool=b.pool,
        norm=b.norm, order=b.order, precision=precision,
    ).numpy()  # fmt: skip
    return result
