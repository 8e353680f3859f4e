"""Measures one case: compares all outputs with torch eager's, then times those that agree in turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bench.machine import peak_rate
from bench.row import Found, Refused, Row, precision_of
from bench.timing import Rival, agreement, alternate, median_and_spread

EXPECTED = "torch eager"


@dataclass(frozen=True)
class Case:
    """The computation to measure. flops: of a block, for its share of the peak in `limits`; None where not applicable."""

    suite: str
    name: str
    threads: int
    note: str = ""
    flops: float | None = None
    limits: Mapping[str, float] = field(default_factory=dict)


def compare(case: Case, ours: Sequence[Rival], peers: Sequence[Rival], rounds: int) -> Iterator[Found]:
    """A row for each rival that agrees with torch eager in fp32, and a refusal for each other one."""
    rivals = {rival.name: rival for rival in (*ours, *peers)}
    errors, refused = agreement(rivals, rivals[EXPECTED].run())
    for name, why in refused.items():
        yield Refused(case.suite, case.name, case.threads, name, why)
    times = alternate({name: rivals[name] for name in errors}, rounds)
    middle = {name: median_and_spread(of) for name, of in times.items()}
    mine = {rival.name for rival in ours}
    for name, (seconds, spread) in middle.items():
        precision = precision_of(name)
        rivals_of_it = [middle[n][0] for n in middle if n not in mine and precision_of(n) == precision]
        ratio = min(rivals_of_it) / seconds if name in mine and rivals_of_it else None
        gflops = case.flops / seconds / 1e9 if case.flops else None
        peak = peak_rate(case.limits, precision, case.threads)
        yield Row(
            case.suite, case.name, case.threads, name, precision, seconds, spread, errors[name], ratio, gflops,
            gflops / peak if gflops and peak else None, rivals[name].setting, case.note,
        )  # fmt: skip
