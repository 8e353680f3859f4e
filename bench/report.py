"""What is printed: the machine and the contract, a table a suite, what was refused and what was missed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.row import Found, Refused, Row, counted

COLUMNS = ("case", "by", "seconds", "spread", "error", "ratio", "peak memory", "GFLOP/s", "of peak", "setting", "note")


def console() -> Console:
    """The terminal, or where there is none something wide enough for the tables."""
    found = Console()
    return found if found.is_terminal else Console(width=180)


def print_machine(console: Console, machine: Mapping[str, Any], limits: Mapping[str, float]) -> None:
    """What the times were taken on."""
    for name, value in machine.items():
        text = ", ".join(f"{key} {of}" for key, of in value.items()) if isinstance(value, Mapping) else value
        console.print(f"{name}: {text}", markup=False, highlight=False, soft_wrap=True)
    for name, rate in limits.items():
        console.print(f"{name}: {rate:.1f}", highlight=False)


def print_contract(console: Console, lines: Iterable[str]) -> None:
    """What the times contain."""
    console.print("What a time contains", style="bold")
    for line in lines:
        console.print(f"- {line}", markup=False, highlight=False)


def print_found(console: Console, title: str, found: Iterable[Found]) -> list[Found]:
    """A table of the rows; below it, a line for each rival that gave no time. Returns what there was."""
    table = Table(title=title, title_justify="left")
    with console.status(title):
        kept = list(found)
    rows = [row for row in kept if isinstance(row, Row)]
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
    for refused in kept:
        if isinstance(refused, Refused):
            console.print(f"no time: {refused}", markup=False, style="red", soft_wrap=True)
    return kept


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


def print_missed(console: Console, refused: Iterable[Refused], missed: Iterable[str]) -> None:
    """At the end, what went wrong in the whole run."""
    for rival in refused:
        console.print(f"no time: {rival}", markup=False, soft_wrap=True)
    for line in missed:
        console.print(f"below its floor: {line}", markup=False, soft_wrap=True)
