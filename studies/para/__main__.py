"""The paper's networks on PARA, which whoever runs this has and may use for research and learning only.

    pip install -e '.[studies,train]'
    python -m studies.para run PARA --out runs/para                  # hours; may be stopped and started again at any time
    python -m studies.para run PARA --out runs/para --minutes 60     # begins nothing new after an hour
    python -m studies.para run PARA --out runs/para --only '*-5000-seed0'
    python -m studies.para report PARA --out runs/para               # of what is there

Each step trains a network by `dcnn-fast train` or `adapt` and writes its predictions of PARA's test photographs below --out.
Before the first, the shipped model and ridge regressions on EfficientNet-Lite0's features are judged (minutes).
Nothing of PARA and nothing that learnt from it may be passed on; the report holds figures alone.
"""

from __future__ import annotations

import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from studies.para import frozen, running
from studies.para import report as reports
from studies.para.collection import Collection, read_collection
from studies.para.recipe import FULL, QUICK, Recipe
from studies.para.running import Place
from studies.para.steps import IMAGENET, Step, steps
from studies.wheels import lite_weights

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)

Para = Annotated[Path, typer.Argument(help="PARA's folder, with annotation and imgs.")]
Out = Annotated[Path, typer.Option(help="Folder of what is trained and written.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes that decode.")]
Lite = Annotated[Path | None, typer.Option(help="EfficientNet-Lite0's weights; default: the installed package's.")]
Quick = Annotated[bool, typer.Option("--quick", help="Tiny networks, to see it run on what `dcnn-fast data make para` draws.")]


@app.command()
def run(
    para: Para,
    out: Out,
    minutes: Annotated[float | None, typer.Option(help="Begin no step after so many minutes.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only steps named so, with * for anything; repeatable.")] = None,
    list_only: Annotated[
        bool, typer.Option("--list", help="Print the steps, their costs in minutes and what is done.")
    ] = False,
    workers: Workers = 1,
    lite: Lite = None,
    quick: Quick = False,
) -> None:
    """Train and judge what is not done yet, the paper's networks on all photographs first, then in the order of cost."""
    collection, recipe, place = _opened(para, out, workers, lite, quick, needs_weights=not list_only)
    if collection.missing:
        typer.echo(f"{collection.missing} listed photographs are not there", err=True)
    every = steps(collection, recipe)
    wanted = [step for step in every if not only or any(fnmatchcase(step.name, pattern) for pattern in only)]
    if not wanted:
        _wrong(f"only must name steps (--list prints them), got {', '.join(only or ())}")
    if list_only:
        for step in wanted:
            print(f"{step.minutes:6.1f} {'done' if place.predictions(step.name).exists() else '    '} {step.name}")
        return
    started, failed = time.monotonic(), 0
    try:
        running.claim(collection, recipe, place, weights=True)
        running.convert(place)
        running.shipped(collection, recipe, place)
        frozen.ridge(collection, recipe, place)
    except running.OtherStudyError as error:
        _wrong(str(error))
    except running.StepError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    for step in wanted:
        if minutes is not None and time.monotonic() - started > 60 * minutes:
            print("the time is over; run it again to go on", flush=True)
            break
        failed += not _done(step, collection, recipe, place)
    if failed:
        raise typer.Exit(1)


@app.command()
def report(para: Para, out: Out, workers: Workers = 1, quick: Quick = False) -> None:
    """Print the tables of what is there; write report.md and report.json."""
    collection, recipe, place = _opened(para, out, workers, None, quick, needs_weights=False)
    try:
        running.claim(collection, recipe, place, weights=False)
    except running.OtherStudyError as error:
        _wrong(str(error))
    found = reports.collect(collection, recipe, steps(collection, recipe), place)
    reports.write(reports.figures(collection, recipe, found), out)


def _done(step: Step, collection: Collection, recipe: Recipe, place: Place) -> bool:
    """Run a step and report it. Returns whether its result exists. A failing step does not stop the others."""
    absent = [name for name, _ in step.starts if name != IMAGENET and not place.predictions(name).exists()]
    if absent:
        typer.echo(f"{step.name}: waits for {', '.join(absent)}", err=True)
        return False
    try:
        seconds = running.run_step(step, collection, recipe, place)
    except running.StepError as error:
        typer.echo(f"{step.name}: error: {error}", err=True)
        return False
    if seconds is not None:
        print(f"{step.name}: {seconds:.0f} s", flush=True)
    return True


def _opened(
    para: Path, out: Path, workers: int, lite: Path | None, quick: bool, *, needs_weights: bool = True
) -> tuple[Collection, Recipe, Place]:
    try:
        collection = read_collection(para, workers)
        weights = lite or (lite_weights("lite0") if needs_weights else Path())
    except (ValueError, OSError) as error:
        _wrong(str(error))
    return collection, QUICK if quick else FULL, Place(out, weights, workers)


def _wrong(why: str) -> NoReturn:
    typer.echo(f"error: {why}", err=True)
    raise typer.Exit(2)


if __name__ == "__main__":
    app()
