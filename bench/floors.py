"""The project's promises against its peers, checked in the run that measures them: `python -m bench --check`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.effort import Effort
from bench.measure import EXPECTED
from bench.row import OURS, OURS_BF16, OURS_FP16, Row, counted
from bench.suites import PER_THREADS, backbone, block, host, jpeg, read, score, training
from bench.suites.host_step import BY as STEP_PRECISIONS
from bench.suites.host_step import STEPS
from bench.training_step import EAGER

Rows = Mapping[str, Row]  # of one case and number of threads, by the rival's name
Measure = Callable[[Row, Rows], float | None]  # of our row and the others; None where not measured

EAGER_SCORE = 4.5  # SCNN, grid 1: torch eager in its best format over ours
TRAINING_TIME = 2.5  # a training step's time: torch eager in its best format over ours
TRAINING_MEMORY = 0.5  # its peak memory: ours over torch eager's
PEAK_SHARE = 0.75  # share of the multiply-add rate, block 1 and block 2 in fp32 on one thread


def _ratio(ours: Row, others: Rows) -> float | None:
    return ours.ratio


def _share(ours: Row, others: Rows) -> float | None:
    return ours.share


def _over_eager(ours: Row, others: Rows) -> float | None:
    theirs = others.get(EXPECTED)
    return theirs.seconds / ours.seconds if theirs else None


def _memory(ours: Row, others: Rows) -> float | None:
    theirs = others.get(EAGER)
    return ours.peak_bytes / theirs.peak_bytes if theirs and theirs.peak_bytes and ours.peak_bytes else None


def _milliseconds(ours: Row, others: Rows) -> float | None:
    return ours.seconds * 1e3


@dataclass(frozen=True)
class Floor:
    """The least value of a measure of our row, by suite, case and precision.

    said: the format of a value. most: the bound is an upper one. threads: the only number of threads to which it applies. isas:
    the instruction sets of our engine to which it applies, all if None. quick: measured by `--quick`, too.
    """

    suite: str
    case: str
    precision: str
    bound: float
    measure: Measure = _ratio
    said: str = "{:.2f} x the best peer"
    most: bool = False
    threads: int | None = None
    isas: tuple[str, ...] | None = None
    quick: bool = False

    @property
    def limit(self) -> str:
        """The bound as text."""
        bound = f"{self.bound:.0%}" if "%" in self.said else f"{self.bound:g}"
        return f"the most allowed is {bound}" if self.most else f"the floor is {bound}"


_EAGER = "{:.2f} x torch eager"
_PEAK = "{:.0%} of the multiply-add rate"
MINE = (OURS, OURS_BF16, OURS_FP16)
_NUMBER = re.compile(r"\{:[^}]*\}")
_MEMORY = "{:.0%} of torch eager's memory"
_TIME = "{:.3f} ms"
_OF_PILLOW = "{:.2f} x the time of Pillow's decoding alone"

# Instruction sets of one kind. Peers gain from a tile unit, too, so our lead differs. Without bf16 instructions there is no
# promise for bf16.
AVX512, AVX512_BF16, AMX = ("avx512", "avx512_bf16"), ("avx512_bf16",), ("amx",)

FLOORS = (
    Floor("block", block.BLOCK_1, "fp32", 1.3, quick=True),
    Floor("block", block.BLOCK_2, "fp32", 1.0),
    Floor("block", block.BLOCK_1, "bf16", 3.0, isas=AMX),
    Floor("block", block.BLOCK_1, "bf16", 1.3, isas=AVX512_BF16),
    Floor("block", block.BLOCK_2, "bf16", 2.0, isas=AVX512_BF16 + AMX),
    Floor("score", score.GRID_1, "fp32", 2.8, quick=True),
    Floor("score", score.GRID_1, "fp32", 3.5, threads=1, isas=AVX512, quick=True),
    Floor("score", score.GRID_1, "bf16", 7.0, isas=AMX),
    Floor("score", score.GRID_1, "bf16", 2.5, threads=1, isas=AVX512_BF16),
    Floor("score", score.GRID_8, "fp32", 4.0),
    Floor("score", score.GRID_8, "bf16", 4.0, isas=AVX512_BF16 + AMX),
    Floor("score", score.DCNN, "fp32", 1.8),
    Floor("score", score.DCNN, "fp32", 3.0, threads=1, isas=AVX512),
    Floor("score", score.DCNN, "bf16", 5.0, isas=AMX),
    Floor("score", score.DCNN, "bf16", 2.1, threads=1, isas=AVX512_BF16),
    Floor("backbone", backbone.LITE0, "fp32", 1.0, threads=1, isas=AVX512),
    Floor("backbone", backbone.LITE0, "bf16", 1.0, threads=1, isas=AVX512_BF16),
    Floor("jpeg", jpeg.NETWORK, "bf16", 1.0, said="decoding takes {:.2f} x the network's time", isas=AMX),
    Floor("block", block.BLOCK_1, "fp32", PEAK_SHARE, _share, _PEAK, threads=1, quick=True),
    Floor("block", block.BLOCK_2, "fp32", PEAK_SHARE, _share, _PEAK, threads=1),
    Floor("score", score.GRID_1, "fp32", EAGER_SCORE, _over_eager, _EAGER, quick=True),
    Floor("training", training.SCNN, "fp32", TRAINING_TIME, _over_eager, _EAGER, quick=True),
    Floor("training", training.DCNN, "fp32", TRAINING_TIME, _over_eager, _EAGER),
    Floor("training", training.SCNN, "fp32", TRAINING_MEMORY, _memory, _MEMORY, most=True, quick=True),
    Floor("training", training.DCNN, "fp32", TRAINING_MEMORY, _memory, _MEMORY, most=True),
    Floor("host", host.WHOLE, "fp32", 0.08, _milliseconds, _TIME, most=True),
    Floor("host", host.LOCAL, "fp32", 0.15, _milliseconds, _TIME, most=True),
    *(
        Floor("read", read.case(kind, size), read.PRECISION, bound, said=_OF_PILLOW, most=True)
        for size in read.MEGAPIXELS
        for kind, bound in ((read.SRGB, 1.4), (read.TURNED, 1.4), (read.P3, 3.0), (read.ADOBE, 3.0))
    ),
    *(
        Floor("host", case, precision, bound, measure, said, most=True)
        for case, precisions in host.FIXED.items()
        for precision in precisions
        for bound, measure, said in ((0.1, _milliseconds, _TIME), (3.0, _ratio, "{:.0f} launches a batch"))
    ),
    *(Floor("host", case, precision, 1.0, _milliseconds, _TIME, most=True) for case in STEPS for precision in STEP_PRECISIONS),
    *(
        Floor("host", case, precision, bound, measure, said, most=most)
        for precision in host.PRECISIONS
        for case, bound, measure, said, most in (
            (host.FIRST, 0.5, _milliseconds, _TIME, True),
            (host.AGAIN, 0.15, _milliseconds, _TIME, True),
            (host.TWO, 1.8, _ratio, "{:.2f} x one thread", False),
        )
    ),
)


@dataclass(frozen=True)
class Judgement:
    """A sentence for every missed floor, and for every floor without a row in the run."""

    missed: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()


def judge(
    rows: Sequence[Row], suites: Sequence[str], threads: Sequence[int], effort: Effort, isa: str,
    floors: Sequence[Floor] | None = None,
) -> Judgement:  # fmt: skip
    """Judge the floors of these suites for an instruction set, at every number of threads. With tiny sizes, only rows are
    required.
    """
    missed, unjudged = [], []
    for floor in FLOORS if floors is None else floors:
        if floor.suite not in suites or (effort.quick and not floor.quick) or isa not in (floor.isas or (isa,)):
            continue
        for count, ours, others in _found(floor, rows, threads):
            where = f"{floor.case}{f', {counted(count)}' if count else ''}, {floor.precision}"
            value = floor.measure(ours, others) if ours else None
            if value is None:
                what = _NUMBER.sub("...", floor.said)
                unjudged.append(f"{where}: no row says {what!r}, {floor.limit}")
            elif not effort.tiny and not (value <= floor.bound if floor.most else value >= floor.bound):
                missed.append(f"{where}: {floor.said.format(value)}, {floor.limit}")
    return Judgement(tuple(missed), tuple(unjudged))


def _found(floor: Floor, rows: Sequence[Row], threads: Sequence[int]) -> Iterator[tuple[int, Row | None, Rows]]:
    """For each number of threads at which the floor applies: our row, if any, and all rows of its case."""
    of_case = [row for row in rows if (row.suite, row.case) == (floor.suite, floor.case)]
    if floor.suite in PER_THREADS:
        counts = [count for count in threads if floor.threads in (None, count)]
    else:  # the suite chooses the number of threads
        counts = sorted({row.threads for row in of_case}) or [0]
    for count in counts:
        beside = {row.name: row for row in of_case if row.threads == count}
        ours = (row for row in of_case if row.threads == count and row.name in MINE and row.precision == floor.precision)
        yield count, next(ours, None), beside
