"""`python -m bench`: our engine beside torch, ONNX Runtime and OpenVINO, the paper's timings, and what the machine can do."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bench import floors, machine, suites
from bench.suites import Row

SUITES = ("block", "score", "paper", "scaling")


def main(
    quick: Annotated[bool, typer.Option(help="SCNN and one block, one thread: under three minutes.")] = False,
    check: Annotated[bool, typer.Option(help="Exit with 1 when a floor of bench/floors.py is missed.")] = False,
    suite: Annotated[list[str] | None, typer.Option(help=f"Only these of {', '.join(SUITES)}.")] = None,
    threads: Annotated[list[int] | None, typer.Option(help="Thread counts to measure at; default 1 and 2.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each rival; the median is kept.")] = 5,
    photos: Annotated[int, typer.Option(min=1, help="Photographs of the paper suite.")] = 8,
    out: Annotated[Path | None, typer.Option(help="Write the results as JSON.")] = None,
) -> None:
    """Measure, print a table, and write JSON. A time is printed only for outputs that agree."""
    console = Console()
    about = machine.describe()
    for name, value in about.items():
        console.print(f"{name}: {value}", markup=False, highlight=False, soft_wrap=True)
    limits = machine.limits()
    for name, value in limits.items():
        console.print(f"{name}: {value:.1f}", highlight=False)
    start = time.monotonic()
    rows: list[Row] = []
    chosen = suite or (["block", "score", "paper"] if quick else list(SUITES))
    for count in threads or ([1] if quick else [1, 2]):
        for name in chosen:
            rows += _run(console, name, count, rounds, photos, quick=quick)
    console.print(f"{time.monotonic() - start:.0f} s")
    missed = floors.missed(rows, limits)
    for line in missed:
        console.print(f"below its floor: {line}", markup=False)
    if out is not None:
        result = {"machine": about, "limits": limits, "rows": [row.as_dict() for row in rows], "missed": missed}
        out.write_text(json.dumps(result, indent=1) + "\n")
    raise typer.Exit(1 if check and missed else 0)


def _run(console: Console, name: str, threads: int, rounds: int, photos: int, *, quick: bool) -> list[Row]:
    measured = {
        "block": lambda: suites.blocks(threads, rounds, quick=quick),
        "score": lambda: suites.scores(threads, rounds, quick=quick),
        "paper": lambda: suites.paper(_photos(2 if quick else photos), threads, quick=quick),
        "scaling": lambda: suites.scaling(threads, 3),
    }[name]()
    rows = []
    table = Table(title=f"{name}, {threads} thread{'s' * (threads > 1)}", title_justify="left")
    for column in ("case", "by", "seconds", "spread", "error", "best peer / ours", "GFLOP/s", "note"):
        table.add_column(column, overflow="fold")
    for row in measured:
        rows.append(row)
        table.add_row(*_cells(row))
    console.print(table)
    return rows


def _cells(row: Row) -> tuple[Any, ...]:
    ratio, rate = ("" if value is None else f"{value:.2f}" for value in (row.ratio, row.gflops))
    return row.case, row.name, f"{row.seconds:.4f}", f"{row.spread:.0%}", f"{row.error:.0e}", ratio, rate, row.note


def _photos(count: int) -> list[Path]:
    """Real JPEG files: of the data folder where DCNN_FAST_DATA names one, else those that the demo uses."""
    folder = os.environ.get("DCNN_FAST_DATA")
    if folder:
        found = sorted((Path(folder) / "photos").glob("*.jpg"))
    else:
        from importlib.util import find_spec  # noqa: PLC0415

        found = []
        for package, place in (("sklearn", "datasets/images"), ("skimage", "data")):
            package_spec = find_spec(package)
            if package_spec and package_spec.origin:
                found += sorted((Path(package_spec.origin).parent / place).glob("*.jpg"))
    if not found:
        raise typer.BadParameter("no photographs: set DCNN_FAST_DATA or install the extra `demo`")
    return [found[i * len(found) // count] for i in range(count)] if len(found) >= count else found


if __name__ == "__main__":
    typer.run(main)
