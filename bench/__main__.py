"""`python -m bench`: our engine beside torch, ONNX Runtime and OpenVINO, the paper's timings, and the machine's peaks."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from bench import report, run, sources, suites
from bench.effort import FULL, TINY
from dcnn_fast.cli.targets import TargetError, Wanted, json_with, reserve

RESULT = json_with("a result of the benchmark", "machine", "limits")


def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="[SUITE]...", help="Only these suites, as --suite.")] = None,
    quick: Annotated[bool, typer.Option(help="SCNN and one block, one thread: under three minutes.")] = False,
    tiny: Annotated[
        bool,
        typer.Option(
            help="Everything, with two windows, one round and one photograph: shows within a minute or two that all of it runs "
            "and agrees. The times mean nothing."
        ),
    ] = False,
    check: Annotated[bool, typer.Option(help="Exit with 1 when outputs disagree or a floor is missed.")] = False,
    suite: Annotated[list[str] | None, typer.Option(help=f"Only these of {', '.join(suites.NAMES)}.")] = None,
    threads: Annotated[list[int] | None, typer.Option(min=1, help="Thread counts to measure at; default 1 and 2.")] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help=f"Turns of each rival, whose median is kept; default {FULL.rounds}.")
    ] = None,
    photos: Annotated[
        int | None, typer.Option(min=1, help=f"Photographs of the paper suite; default {FULL.photographs}.")
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compiled/--no-compiled", help="Measure torch.compile, which compiles for minutes, too.")
    ] = True,
    out: Annotated[Path | None, typer.Option(help="Write the results to this file as JSON, after each table.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace results that --out names.")] = False,
) -> None:
    """Measure, print a table, and write JSON. A time is printed only for outputs that agree.

    Exits with 1 when a suite fails or a floor has no row to be judged by; with --check, also when outputs disagree or a floor
    is missed.
    """
    asked = [*(names or ()), *(suite or ())]
    unknown = sorted(set(asked) - set(suites.NAMES))
    if unknown:
        raise typer.BadParameter(f"suite must be one of {', '.join(suites.NAMES)}; got {', '.join(unknown)}")
    effort = TINY if tiny else FULL
    effort = replace(
        effort, rounds=rounds or effort.rounds, photographs=photos or effort.photographs, compiled=compiled, quick=quick
    )
    if not tiny and (why := sources.unbuilt()):
        raise typer.BadParameter(why)
    chosen = list(dict.fromkeys(asked)) or list(suites.QUICK if quick else suites.NAMES)
    counts = list(dict.fromkeys(threads or ())) or ([1] if quick else [1, 2])
    with ExitStack() as stack:
        try:
            wanted = [] if out is None else [Wanted("--out", out, RESULT)]
            targets = stack.enter_context(reserve(wanted, overwrite=overwrite))
        except TargetError as error:
            raise typer.BadParameter(str(error)) from None
        result = run.measure(chosen, counts, effort, report.console(), targets)
    wrong = bool(result.failed or result.unjudged or (check and (result.refused or result.missed)))
    raise typer.Exit(int(wrong))


app = typer.Typer(add_completion=False)
app.command()(main)

if __name__ == "__main__":
    app()
