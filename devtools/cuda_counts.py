"""Counts the hand-staged CUDA block's work in the PTX simulator: `python -m devtools.cuda_counts` writes cuda_counts.csv.

Each row is a preset's block on one whole image, compiled for sm_80, by two thread blocks, half an image each. With more of
them, each reads the weights for less work.

The main loop is the loop over the filter's rows, with the functions it calls; its instructions that compute with integers,
convert or move count as address arithmetic.
"""

from __future__ import annotations

import csv
import hashlib
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dcnn_fast import networks
from dcnn_fast.ops import cuda_compile
from dcnn_fast.ops.block.backend import Operands, Work
from dcnn_fast.ops.block.cuda import forward_launch as cuda_forward
from dcnn_fast.ops.block.cuda.config import config_of
from dcnn_fast.ops.block.params import BlockParams, problems_of
from dcnn_fast.ops.block.whole import whole_images
from dcnn_fast.ops.gpus import SECTOR
from dcnn_fast.ops.launch import Launch, launch
from devtools.simulated import simulated

TABLE = Path(__file__).with_name("cuda_counts.csv")
THREAD_BLOCKS = 2
_SOURCE = "block/forward.cu"
_USEFUL = ("mma", "ldmatrix", "cp.", "ld.", "st.", "bar.", "bra", "barrier", "fma.", "mul.f", "add.f", "sub.f")
_PLACE = re.compile(r"(\w+\.cuh?):(\d+)")
_MAIN_LOOP = (  # files with the first and the last line of its code
    ("block/patch.cuh", "struct Fetched", "}  // namespace"),
    (_SOURCE, "// From a unit to the next", "}  // namespace"),
    (_SOURCE, "for (int tap_row", "stage_side ^= 1"),
)


@dataclass(frozen=True)
class Counts:
    """One problem's counts.

    mma: multiply-adds of `mma` over the useful ones. bytes: those of each thread block's distinct 32-byte sectors, summed, over
    those of source, weights and result, each once. conflicts: the main loop's shared-memory wavefronts beyond the minimum.
    sectors: the used share of the bytes in sectors loaded in the main loop. useful: the share of the main loop's instructions
    that are not address arithmetic; tensor: the share that are mma. loop: the main loop's share of all instructions. code: a
    hash of the machine code's sources.
    """

    problem: str
    source: str
    code: str
    tile: str
    shared: int
    mma: float
    bytes: float
    conflicts: int
    sectors: float
    useful: float
    tensor: float
    loop: float


def problems() -> Iterator[tuple[BlockParams, str]]:
    """The first two blocks of the presets, which hold nearly all the work, where the kernel runs them, with each source's
    layout.
    """
    for name in ("scnn-arch1", "style-scnn-arch1", "alexnet-torchvision", "alexnet"):
        for params in problems_of(networks.preset(name).columns[0])[:2]:
            half = replace(params, dtype=torch.float16, weight_dtype=torch.float16, out_dtype=torch.float16)
            if params.options.groups > 1:
                continue
            if params.channels == 3:
                yield replace(half, dtype=torch.uint8), "pixels of 4 bytes"
                yield half, "pixels of 4"
            else:
                yield half, "channels_last"


def launch_of(params: BlockParams, layout: str) -> tuple[Launch, int]:
    """A problem's launch, and the bytes of its source, weights and result."""
    generator = torch.Generator().manual_seed(0)
    channels = params.channels if layout == "channels_last" else 4
    x = torch.randint(0, 256, (params.images, params.height, params.width, channels), generator=generator).to(params.dtype)
    source = x.permute(0, 3, 1, 2)[:, : params.channels]
    weight = torch.randn(params.filters, params.channels, params.size, params.size, generator=generator).half()
    mean = (1.0,) * params.channels if params.dtype == torch.uint8 else ()
    out = torch.empty(params.out_shape, dtype=params.out_dtype, memory_format=torch.channels_last)
    prepared = cuda_forward.prepared(params, Operands(weight, torch.zeros(params.filters).half(), mean))
    work = Work([source], whole_images(params), [out])
    return prepared.launch_of_work(work, THREAD_BLOCKS), _bytes(x) + _bytes(weight) + _bytes(out)


def code_of(what: Launch) -> str:
    """A hash of the sources of the launch's machine code, without the compiler's version."""
    text = "".join(cuda_compile.texts_of(_SOURCE).values())
    return hashlib.sha256(repr((text, sorted(what.constants.items()), what.grid)).encode()).hexdigest()[:12]


def counted(params: BlockParams, layout: str) -> Counts:
    """The counts of one problem."""
    what, compulsory = launch_of(params, layout)
    with simulated(80) as launches:
        launch(what)
    report = launches[0][1]
    loop = list(_of_main_loop(report))
    issued = sum(line["instructions"] for line in loop)
    loaded, used = (sum(line.get(name, 0) for line in loop) for name in ("global_load_sectors", "global_load_bytes"))
    moved = SECTOR * (report.unique_load_sectors + report.unique_store_sectors)
    config = config_of(params)
    assert config is not None
    return Counts(
        str(params), layout, code_of(what), f"{config.outputs} x {config.part}", what.shared,
        round(report.mma_multiply_adds / params.macs, 3),
        round(moved / compulsory, 3),
        sum(line.get("shared_wavefronts", 0) - line.get("shared_ideal_wavefronts", 0) for line in loop),
        round(used / (SECTOR * loaded), 3),
        round(sum(line["instructions"] for line in loop if _opcode(line).startswith(_USEFUL)) / issued, 3),
        round(sum(line["instructions"] for line in loop if _opcode(line).startswith("mma")) / issued, 3),
        round(issued / report.issued, 3),
    )  # fmt: skip


def row_of(counts: Counts) -> dict[str, str]:
    """A row of the table, as in the CSV file."""
    return {field.name: str(getattr(counts, field.name)) for field in fields(Counts)}


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _opcode(line: dict[str, Any]) -> str:
    """A PTX line's opcode, without its predicate."""
    words = line["text"].split()
    return words[1] if words[0].startswith("@") else words[0]


def _of_main_loop(report: Any) -> Iterator[dict[str, Any]]:
    """The PTX lines whose code stands in the main loop or in a function that it calls."""
    inside = {
        (Path(name).name, number)
        for name, first, last in _MAIN_LOOP
        for number in _between((cuda_compile.sources() / name).read_text().splitlines(), first, last)
    }
    for line in report.lines.values():
        if any((file, int(number)) in inside for file, number in _PLACE.findall(line["source"])):
            yield line


def _between(text: Sequence[str], first: str, last: str) -> range:
    """The numbers of the lines from the one that holds `first` to the one that holds `last`."""
    start = next(i for i, line in enumerate(text) if first in line)
    return range(start + 1, next(i for i, line in enumerate(text) if i > start and last in line) + 2)


def main() -> None:
    """Write the table."""
    found = [row_of(counted(*problem)) for problem in problems()]
    with TABLE.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Counts)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
    for row in found:
        sys.stdout.write(", ".join(f"{name} {value}" for name, value in row.items()) + "\n")


if __name__ == "__main__":
    main()
