"""`python -m bench`: our engine beside torch, ONNX Runtime and OpenVINO, the paper's timings, and what the machine can do."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from bench import contract, floors, machine, report, suites
from bench.row import Found, Refused, Row


def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="[SUITE]...", help="Only these suites, as --suite.")] = None,
    quick: Annotated[bool, typer.Option(help="SCNN and one block, one thread: under three minutes.")] = False,
    check: Annotated[bool, typer.Option(help="Exit with 1 when outputs disagree or a floor is missed.")] = False,
    suite: Annotated[list[str] | None, typer.Option(help=f"Only these of {', '.join(suites.NAMES)}.")] = None,
    threads: Annotated[list[int] | None, typer.Option(min=1, help="Thread counts to measure at; default 1 and 2.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each rival; the median is kept.")] = 5,
    photos: Annotated[int, typer.Option(min=1, help="Photographs of the paper suite.")] = 8,
    out: Annotated[Path | None, typer.Option(help="Write the results as JSON.")] = None,
) -> None:
    """Measure, print a table, and write JSON. A time is printed only for outputs that agree."""
    asked = [*(names or ()), *(suite or ())]
    unknown = sorted(set(asked) - set(suites.NAMES))
    if unknown:
        raise typer.BadParameter(f"suite must be one of {', '.join(suites.NAMES)}; got {', '.join(unknown)}")
    chosen = asked or list(suites.QUICK if quick else suites.NAMES)
    counts = threads or ([1] if quick else [1, 2])
    start, console = time.monotonic(), report.console()
    about, limits, terms = machine.describe(), machine.limits(sorted({1, *counts})), contract.lines(chosen)
    report.print_machine(console, about, limits)
    report.print_contract(console, terms)
    found: list[Found] = []
    try:
        for title, table in suites.tables(chosen, limits, counts, suites.Effort(rounds, photos, quick=quick)):
            found += report.print_found(console, title, table)
    finally:  # what was measured before something failed is kept
        rows, refused = [one for one in found if isinstance(one, Row)], [one for one in found if isinstance(one, Refused)]
        missed = floors.missed(rows)
        if out is not None:
            result = {
                "machine": about, "limits": limits, "contract": terms, "rows": [row.as_dict() for row in rows],
                "refused": [str(rival) for rival in refused], "missed": missed,
            }  # fmt: skip
            out.write_text(json.dumps(result, indent=1) + "\n")
    report.print_missed(console, refused, missed)
    console.print(f"{time.monotonic() - start:.0f} s")
    raise typer.Exit(1 if check and (missed or refused) else 0)


app = typer.Typer(add_completion=False)
app.command()(main)

if __name__ == "__main__":
    app()
