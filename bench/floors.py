"""What the project promises against its peers, checked in the run that measured it: `python -m bench --check`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.row import OURS, OURS_BF16, Row, counted
from bench.suites import jpeg, score
from bench.training_step import EAGER

RATIO = "{:.2f} x the best peer"


@dataclass(frozen=True)
class Floor:
    """The least `ratio` of our row, by suite, case and precision; `said` is how a value of it reads."""

    suite: str
    case: str
    precision: str
    ratio: float
    said: str = RATIO


FLOORS = (
    Floor("block", "block 1", "fp32", 1.3),
    Floor("block", "block 2", "fp32", 1.0),
    Floor("block", "block 1", "bf16", 3.0),
    Floor("block", "block 2", "bf16", 2.0),
    Floor("score", "SCNN, grid 1", "fp32", 2.8),
    Floor("score", "SCNN, grid 1", "bf16", 7.0),
    Floor("score", score.GRID_8, "fp32", 4.0),
    Floor("score", score.GRID_8, "bf16", 4.0),
    Floor("score", score.DCNN, "fp32", 1.8),
    Floor("score", score.DCNN, "bf16", 5.0),
    Floor("jpeg", jpeg.NETWORK, "bf16", 1.0, "decoding takes {:.2f} x the network's time"),
)
EAGER_SCORE = 4.5  # SCNN, grid 1: torch eager in its best format over ours
TRAINING_TIME = 1.5  # a training step: torch eager in its best format over ours
TRAINING_MEMORY = 0.7  # its peak memory: ours over that
PEAK_SHARE = 0.75  # of the multiply-add rate, block 1 and block 2 in fp32 on one thread


def missed(rows: Sequence[Row]) -> list[str]:
    """A sentence for every floor that a run measured and did not reach."""
    said = []
    for floor in FLOORS:
        name = OURS if floor.precision == "fp32" else OURS_BF16
        for row in rows:
            same = (row.suite, row.case, row.name) == (floor.suite, floor.case, name)
            if same and row.ratio is not None and row.ratio < floor.ratio:
                where = f"{row.case}, {counted(row.threads)}, {floor.precision}"
                said.append(f"{where}: {floor.said.format(row.ratio)}, the floor is {floor.ratio:g}")
    return said + _missed_shares(rows) + _missed_eager(rows) + _missed_training(rows)


def _missed_shares(rows: Sequence[Row]) -> list[str]:
    return [
        f"{row.case}: {row.share:.0%} of the multiply-add rate, the floor is {PEAK_SHARE:.0%}"
        for row in rows
        if (row.suite, row.name, row.threads) == ("block", OURS, 1) and row.share is not None and row.share < PEAK_SHARE
    ]


def _missed_eager(rows: Sequence[Row]) -> list[str]:
    said = []
    scores = [row for row in rows if (row.suite, row.case) == ("score", "SCNN, grid 1")]
    for threads in sorted({row.threads for row in scores}):
        times = {row.name: row.seconds for row in scores if row.threads == threads}
        if OURS in times and "torch eager" in times and times["torch eager"] / times[OURS] < EAGER_SCORE:
            ratio = times["torch eager"] / times[OURS]
            said.append(f"SCNN, grid 1, {counted(threads)}: {ratio:.2f} x torch eager, the floor is {EAGER_SCORE:g}")
    return said


def _missed_training(rows: Sequence[Row]) -> list[str]:
    said = []
    steps = {(row.case, row.threads, row.name): row for row in rows if row.suite == "training"}
    for (case, threads, name), ours in steps.items():
        theirs = steps.get((case, threads, EAGER))
        if name != OURS or theirs is None:
            continue
        where, ratio = f"{case}, {counted(threads)}", theirs.seconds / ours.seconds
        if ratio < TRAINING_TIME:
            said.append(f"{where}: {ratio:.2f} x torch eager, the floor is {TRAINING_TIME:g}")
        if ours.peak_bytes and theirs.peak_bytes and (share := ours.peak_bytes / theirs.peak_bytes) > TRAINING_MEMORY:
            said.append(f"{where}: {share:.0%} of torch eager's memory, the most allowed is {TRAINING_MEMORY:.0%}")
    return said
