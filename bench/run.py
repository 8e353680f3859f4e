"""A run of the benchmark: suite after suite, each table printed and written as soon as it is complete."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from rich.console import Console

from bench import contract, floors, machine, report, sources, suites
from bench.effort import Effort
from bench.result import Result
from bench.row import Failed, Found, Refused, Row
from bench.sources import Digests
from dcnn_fast import engine
from dcnn_fast.cli.targets import Target


def measure(
    names: Sequence[str], threads: Sequence[int], effort: Effort, console: Console, targets: Sequence[Target] = ()
) -> Result:
    """Print the suites' tables one by one, and the failures at the end.

    targets: files to which the result is written after every table, so that an aborted run keeps its measurements. Targets
    other than files (standard output) are written at the end.
    """
    start = time.monotonic()
    isa = "" if engine.reason() else engine.isa()
    digests = {suite: sources.digests(suite) for suite in names}  # taken first, as a source may be edited during the run
    begun = Result(
        machine.describe(), machine.limits(sorted({1, *threads}), effort.rounds), sources.state(), effort.as_dict(),
        tuple(threads), contract=contract.lines(names, effort),
    )  # fmt: skip
    report.print_machine(console, begun.machine, begun.limits)
    report.print_contract(console, begun.contract)
    tables = list(suites.tables(names, begun.limits, threads, effort))
    found: list[Found] = []
    ended: dict[str, Digests] = {}

    def result() -> Result:
        return _with(begun, found, ended, lambda rows: floors.judge(rows, names, threads, effort, isa))

    try:
        for number, table in enumerate(tables):
            report.print_found(console, table.title, table.found, found)
            if table.suite not in {later.suite for later in tables[number + 1 :]} and not _failed(table.suite, found):
                ended[table.suite] = digests[table.suite]
            _write(result(), targets, to_files=True)
    finally:
        _write(result(), targets, to_files=True)
        _write(result(), targets, to_files=False)
        report.print_end(console, result())
        console.print(f"{time.monotonic() - start:.0f} s")
    return result()


def _with(
    begun: Result, found: Sequence[Found], ended: dict[str, Digests], judge: Callable[[Sequence[Row]], floors.Judgement]
) -> Result:
    """The initial result with the findings added. ended: the completed suites with their digests."""
    rows = tuple(one for one in found if isinstance(one, Row))
    judgement = judge(rows)
    return replace(
        begun, digests=dict(ended), rows=rows, refused=tuple(str(one) for one in found if isinstance(one, Refused)),
        failed=tuple(str(one) for one in found if isinstance(one, Failed)), missed=judgement.missed,
        unjudged=judgement.unjudged,
    )  # fmt: skip


def _failed(suite: str, found: Sequence[Found]) -> bool:
    return any(isinstance(one, Failed) and one.suite == suite for one in found)


def _write(result: Result, targets: Sequence[Target], *, to_files: bool) -> None:
    for target in targets:
        if (target.file is not None) == to_files:
            target.write(result.as_json().encode())
