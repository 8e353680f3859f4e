"""Count the block's backward with its convolution's gradient from hits and from memory: `python -m devtools.count_backward`.

Every training problem of the presets that keeps hits, IMAGES windows: the kernels of the input's and the weights' gradients,
and the one that writes the gradient, run in the PTX simulator, the first few programs of each at full size (some of whose taps
lie in the padding); a program of the weights' gradient, whose loop goes over thousands of positions, for some steps and for
some more, from which the rest follows. Counts are of PTX for sm_80 and give seconds by the model of bench/gpu_cost.py, as the
forward's do (choose_tiles.py). Written: devtools/backward_counts.json, in which a row is counted anew when its kernel's text,
its constants or the compiler have changed, and dcnn_fast/ops/block/triton/conv_gradient.json, by which the package chooses.
Printed: the paper's DCNN. Nothing is timed.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from bench.gpu_cost import Counts, predicted
from dcnn_fast import networks
from dcnn_fast.ops.block.backend import Gradients
from dcnn_fast.ops.block.gpu.problem import problem_key
from dcnn_fast.ops.block.params import BlockParams, problems_of
from dcnn_fast.ops.block.triton import backward_launch, conv_gradient
from dcnn_fast.ops.gpus import GPUS, SECTOR
from dcnn_fast.ops.launch import Launch
from devtools import aot, choose_tiles, kernel_report
from devtools.launches import collected, training_problems

IMAGES = 128  # windows of a training step, as the paper has them
PIXELS = 256  # of the input's gradient, or positions of the convolution's, that are simulated
STEPS = 8, 16  # of the weights' gradient: the second eight lie below the padding
COUNTS = Path(__file__).with_name("backward_counts.json")
WRITES = "block_bwd_conv_gradient_kernel"
WEIGHT = "block_bwd_weight_kernel"


@dataclass(frozen=True)
class CountedWay:
    """One kernel of one problem's backward. key: `problem_key`. way: where it finds the convolution's gradient. source: what
    the counts follow from.
    """

    problem: str
    key: str
    way: conv_gradient.Way
    kernel: str
    source: str
    counts: Counts

    @property
    def name(self) -> tuple[str, str, str]:
        """What names the row."""
        return self.problem, self.way, self.kernel


def problems() -> Iterator[BlockParams]:
    """Every training problem of which the gradient can be in memory, of IMAGES windows, one of each key."""
    seen = set()
    for params in training_problems():
        if conv_gradient.refused(params) is None and problem_key(params) not in seen:
            seen.add(problem_key(params))
            yield replace(params, images=IMAGES)


def launches(params: BlockParams, way: conv_gradient.Way) -> list[Launch]:
    """Those that differ between the ways, the gradient's own first; of the first block none for its pixels."""
    hits = _zeros(params.out_shape, torch.int16)
    u = _zeros(params.out_shape, params.weight_dtype)
    x = _zeros((params.images, params.channels, params.height, params.width), params.dtype)
    weight = _zeros((params.filters, params.depth // params.size**2, params.size, params.size), params.weight_dtype)
    wanted = Gradients(None if params.channels == 3 else x, weight, None)
    with collected(80) as found:
        gradient = backward_launch.Gradient(u, hits, "hits")
        if way == "memory":
            gradient = backward_launch.in_memory(gradient, params)
        backward_launch.of_operands(gradient, x, weight, wanted, params)
    return [what for what in found if aot.kernel_name(what) != "block_bwd_add_slices_kernel"]


def counted(what: Launch, params: BlockParams) -> Counts:
    """What the simulator counts of the launch's first programs."""
    if aot.kernel_name(what) != WEIGHT:
        programs = max(1, PIXELS // what.constants["BM"])
        return _counted(what, (min(what.grid[0], programs), *(1 for _ in what.grid[1:])), params)
    depth, share = what.constants["BK"], what.args["share"]
    few, more = (_counted(replace(what, args={**what.args, "share": steps * depth}), (1, 1, 1), params) for steps in STEPS)
    return _extended(few, more, (math.ceil(share / depth) - STEPS[0]) / (STEPS[1] - STEPS[0]))


def seconds(rows: Iterable[CountedWay], gpu_index: int) -> float:
    """Of kernels that run one after another, by the model."""
    return sum(predicted(GPUS[gpu_index], row.counts, row.way)[0] for row in rows)


def choices(rows: Iterable[CountedWay]) -> dict[str, dict[str, list[float]]]:
    """By compute capability and problem, the microseconds from hits and from memory."""
    found: dict[str, dict[str, list[float]]] = {}
    known = list(rows)
    for index, gpu in enumerate(GPUS):
        found[str(gpu.capability)] = {
            key: [
                round(1e6 * seconds((row for row in known if (row.key, row.way) == (key, way)), index), 1)
                for way in conv_gradient.WAYS
            ]
            for key in dict.fromkeys(row.key for row in known)
        }
    return found


def committed() -> dict[tuple[str, str, str], CountedWay]:
    """The committed rows."""
    found = json.loads(COUNTS.read_text()) if COUNTS.exists() else []
    rows = [CountedWay(**{**row, "counts": Counts(**row["counts"])}) for row in found]
    return {row.name: row for row in rows}


def write() -> list[CountedWay]:
    """Count what is stale, write both files, and return all rows."""
    known, rows = committed(), []
    for params in problems():
        for way in conv_gradient.WAYS:
            rows += [_row(what, params, way, known) for what in launches(params, way)]
        COUNTS.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    conv_gradient.TABLE.write_text(json.dumps(choices(rows), indent=1, sort_keys=True) + "\n")
    return rows


def table(rows: Iterable[CountedWay]) -> Table:
    """Counts and milliseconds of the paper's DCNN in fp16."""
    made = Table(title=f"DCNN's blocks in fp16, {IMAGES} windows: counted for sm_80, modelled; nothing ran on a GPU")
    for title in ("block", "gradient", "kernel", "warp instructions, M", "L2, MB", *(f"{gpu.name}, ms" for gpu in GPUS)):
        made.add_column(title, justify="left" if title in ("gradient", "kernel") else "right")
    for number, row in of_dcnn(rows):
        times = (f"{1e3 * predicted(gpu, row.counts, row.way)[0]:.3f}" for gpu in GPUS)
        made.add_row(str(number), row.way, row.kernel, f"{instructions(row):.0f}", f"{moved(row):.0f}", *times)
    return made


def of_dcnn(rows: Iterable[CountedWay]) -> list[tuple[int, CountedWay]]:
    """The rows of the paper's DCNN in fp16, each with the number of its block."""
    half = torch.float16
    blocks = {
        str(replace(each, dtype=half, weight_dtype=half, out_dtype=half)): number
        for number, each in enumerate(problems_of(networks.preset("dcnn").columns[0], IMAGES), 1)
    }
    return [(blocks[row.problem], row) for row in rows if row.problem in blocks]


def instructions(row: CountedWay) -> float:
    """Millions of warp instructions of all programs."""
    return 1e-6 * sum(row.counts.pipes.values()) * row.counts.programs / row.counts.simulated


def moved(row: CountedWay) -> float:
    """Megabytes that all programs' warps ask the L2 for."""
    return 1e-6 * row.counts.sectors * SECTOR * row.counts.programs / row.counts.simulated


def _row(
    what: Launch, params: BlockParams, way: conv_gradient.Way, known: Mapping[tuple[str, str, str], CountedWay]
) -> CountedWay:
    source = kernel_report.source_of(what, 80)
    name = str(params), way, aot.kernel_name(what)
    if name in known and known[name].source == source:
        return known[name]
    return CountedWay(str(params), problem_key(params), way, name[2], source, counted(what, params))


def _counted(what: Launch, grid: tuple[int, ...], params: BlockParams) -> Counts:
    found = choose_tiles.counted(replace(what, grid=grid), params, programs=grid[0])
    tensors = {value.data_ptr(): value.nbytes for value in what.args.values() if isinstance(value, Tensor)}
    return replace(found, programs=math.prod(what.grid), simulated=math.prod(grid), bytes=sum(tensors.values()))


def _extended(few: Counts, more: Counts, times: float) -> Counts:
    """`few`, and so many times what `more` has beyond it."""

    def of(a: int, b: int) -> int:
        return round(a + times * (b - a))

    pipes = {name: of(few.pipes.get(name, 0), count) for name, count in more.pipes.items()}
    names = ("tensor_16", "tensor_tf32", "wavefronts", "sectors")
    return replace(few, pipes=pipes, **{name: of(getattr(few, name), getattr(more, name)) for name in names})


def _zeros(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    # In this order the memory is the system's, which gives pages that are touched alone.
    images, maps, rows, cols = shape
    return torch.zeros(images, rows, cols, maps, dtype=dtype).permute(0, 3, 1, 2)


def main() -> int:
    """The command."""
    torch.set_num_threads(1)
    Console(width=180).print(table(write()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
