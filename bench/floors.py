"""What the project promises against its peers, checked in the run that measured it: `python -m bench --check`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.suites import OURS, OURS_BF16, Row


@dataclass(frozen=True)
class Floor:
    """The least ratio of the best peer's time to ours, by suite, case and precision."""

    suite: str
    case: str
    precision: str
    ratio: float


FLOORS = (
    Floor("block", "block 1", "fp32", 1.3),
    Floor("block", "block 2", "fp32", 1.0),
    Floor("block", "block 1", "bf16", 3.0),
    Floor("block", "block 2", "bf16", 2.0),
    Floor("score", "SCNN, grid 1", "fp32", 2.8),
    Floor("score", "SCNN, grid 1", "bf16", 7.0),
    Floor("score", "SCNN, grid 8", "fp32", 4.0),
    Floor("score", "SCNN, grid 8", "bf16", 4.0),
    Floor("score", "DCNN 800x600, grid 1", "fp32", 1.8),
    Floor("score", "DCNN 800x600, grid 1", "bf16", 5.0),
)
EAGER_SCORE = 4.5  # SCNN, grid 1: torch eager in its best format over ours
PEAK_SHARE = 0.75  # of the multiply-add rate, block 1 and block 2 in fp32 on one thread


def missed(rows: Sequence[Row], limits: Mapping[str, float]) -> list[str]:
    """A sentence for every floor that a run measured and did not reach."""
    cases = {(row.suite, row.case, row.threads) for row in rows}
    said = []
    for floor in FLOORS:
        for suite, case, threads in sorted(cases):
            if (suite, case) != (floor.suite, floor.case):
                continue
            where = f"{case}, {threads} thread{'s' * (threads > 1)}, {floor.precision}"
            key = (suite, case, threads, OURS if floor.precision == "fp32" else OURS_BF16)
            ours = [row for row in rows if (row.suite, row.case, row.threads, row.name) == key]
            if ours and ours[0].ratio is not None and ours[0].ratio < floor.ratio:
                said.append(f"{where}: {ours[0].ratio:.2f} x the best peer, the floor is {floor.ratio:g}")
    return said + _missed_shares(rows, limits) + _missed_eager(rows)


def _missed_shares(rows: Sequence[Row], limits: Mapping[str, float]) -> list[str]:
    peak = max((rate for name, rate in limits.items() if name.startswith("multiply-adds")), default=0.0)
    return [
        f"{row.case}: {row.gflops / peak:.0%} of the multiply-add rate {peak:.0f} GFLOP/s, the floor is {PEAK_SHARE:.0%}"
        for row in rows
        if row.suite == "block"
        and row.threads == 1
        and row.precision == "fp32"
        and row.gflops
        and peak
        and row.gflops < PEAK_SHARE * peak
    ]


def _missed_eager(rows: Sequence[Row]) -> list[str]:
    said = []
    for threads in sorted({row.threads for row in rows}):
        found = [row for row in rows if (row.suite, row.case, row.threads) == ("score", "SCNN, grid 1", threads)]
        ours = [row.seconds for row in found if row.name == OURS]
        eager = [row.seconds for row in found if row.name in ("torch eager", "torch eager channels_last")]
        if ours and eager and min(eager) / ours[0] < EAGER_SCORE:
            said.append(f"SCNN, {threads} threads: {min(eager) / ours[0]:.2f} x torch eager, the floor is {EAGER_SCORE:g}")
    return said
