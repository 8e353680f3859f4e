"""Printing: the machine and the contract, a table per suite, refusals and missed floors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.result import Result
from bench.row import Failed, Found, Row, counted

COLUMNS = ("case", "by", "seconds", "spread", "error", "ratio", "peak memory", "GFLOP/s", "of peak", "setting", "note")


def console() -> Console:
    """The terminal, or without one a console wide enough for the tables."""
    found = Console()
    return found if found.is_terminal else Console(width=180)


def print_machine(console: Console, machine: Mapping[str, Any], limits: Mapping[str, float]) -> None:
    """Print the machine of the times."""
    for name, value in machine.items():
        text = ", ".join(f"{key} {of}" for key, of in value.items()) if isinstance(value, Mapping) else value
        console.print(f"{name}: {text}", markup=False, highlight=False, soft_wrap=True)
    for name, rate in limits.items():
        console.print(f"{name}: {rate:.1f}", highlight=False)


def print_contract(console: Console, lines: Iterable[str]) -> None:
    """Print the work that the times contain."""
    console.print("What a time contains", style="bold")
    for line in lines:
        console.print(f"- {line}", markup=False, highlight=False)


def print_found(console: Console, title: str, found: Iterable[Found], kept: list[Found]) -> None:
    """Print a table of the rows and below it a line for each rival without a time. kept: receives the findings."""
    table, before = Table(title=title, title_justify="left"), len(kept)
    with console.status(title):
        for one in found:
            kept.append(one)
    new = kept[before:]
    rows = [row for row in new if isinstance(row, Row)]
    used = [column for column in COLUMNS if any(_cells(row)[column] for row in rows)]
    notes = {row.note for row in rows}
    if len(notes) == 1 and (note := notes.pop()):
        table.caption, table.caption_justify = note, "left"
        used.remove("note")
    for column in used:
        table.add_column(column, overflow="fold")
    for row in rows:
        cells = _cells(row)
        table.add_row(*(cells[column] for column in used))
    if rows:
        console.print(table)
    for one in new:
        if not isinstance(one, Row):
            said = "failed" if isinstance(one, Failed) else "no time"
            console.print(f"{said}: {one}", markup=False, style="red", soft_wrap=True)


def _cells(row: Row) -> dict[str, str]:
    threads = f", {counted(row.threads)}" if row.suite == "scaling" else ""
    return {
        "case": row.case + threads,
        "by": row.name,
        "seconds": f"{row.seconds:.4g}",
        "spread": f"{row.spread:.0%}" if row.spread else "",
        "error": f"{row.error:.0e}" if row.error else "",
        "ratio": f"{row.ratio:.2f}" if row.ratio is not None else "",
        "peak memory": f"{row.peak_bytes / 2**30:.2f} GiB" if row.peak_bytes is not None else "",
        "GFLOP/s": f"{row.gflops:.0f}" if row.gflops is not None else "",
        "of peak": f"{row.share:.0%}" if row.share is not None else "",
        "setting": row.setting,
        "note": row.note,
    }


def print_end(console: Console, result: Result) -> None:
    """Print all failures of the run at its end, so that no disagreement is overlooked."""
    for said, lines in (
        ("no time", result.refused), ("failed", result.failed), ("below its floor", result.missed),
        ("floor without a row", result.unjudged),
    ):  # fmt: skip
        for line in lines:
            console.print(f"{said}: {line}", markup=False, style="red", soft_wrap=True)
    if result.refused:
        console.print(f"{len(result.refused)} disagreed or failed and have no time", style="bold red")
