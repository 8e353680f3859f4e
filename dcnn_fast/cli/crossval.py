"""`dcnn-fast crossval`: the options, which are those of `train` and two more; `crossval_run` does the work."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer

from dcnn_fast.cli.train import train

_ALREADY = ("fold", "resume")  # every fold is trained, and the same command goes on
Out = Annotated[
    Path, typer.Option(file_okay=False, help="The folder of the runs; the same command goes on where it was interrupted.")
]
Samples = Annotated[int, typer.Option(min=1, help="Random windows averaged for each held-out image.")]
Draws = Annotated[int, typer.Option(min=0, help="Bootstrap samples of the intervals; 0: none.")]


def crossval(**options: Any) -> None:
    """Train a network once for each part of a set, without that part, and measure all held-out predictions together.

    The set, which must have no split of its own, is dealt into --folds parts by --split-seed, never through a group. Each
    part's photographs are judged by the network that has not learnt from them: after its last epoch, or with --val after the
    epoch that --best-by chose on those drawn from the rest; never by the held-out ones. A model file to start from that has
    learnt from photographs of the set is refused. Ratings are high above one threshold in all parts, the median of the whole
    set unless --threshold says another. Printed are accuracy, AUC, Spearman's correlation and, where ratings are foretold, the
    EMD, with intervals from a bootstrap over groups. --out gets a run's folder for each part, predictions.csv, which
    `evaluate DATA --predictions` reads, and measures.json, which says which model file was measured.

    Exit status: 0, 1 when photographs could not be read, the loss diverged, memory did not suffice or a process that decodes
    died, 2 for a wrong call, 3 when a file could not be written (the others are), 128 and the number of the signal that ended
    it (130 for Ctrl-C); the same command then goes on.
    """
    from dcnn_fast.cli.crossval_run import run  # noqa: PLC0415 - keeps `dcnn-fast --help` fast

    samples, draws = options.pop("samples"), options.pop("draws")
    raise typer.Exit(run(options, samples, draws))


def _signature() -> inspect.Signature:
    """The options of `train`, whatever they are, without those that have no meaning here, and ours."""
    theirs = inspect.signature(train, eval_str=True).parameters
    kept = [each.replace(annotation=Out) if name == "out" else each for name, each in theirs.items() if name not in _ALREADY]
    ours = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value, annotation=annotation)
        for name, annotation, value in (("samples", Samples, 50), ("draws", Draws, 1000))
    ]
    return inspect.Signature([each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in kept] + ours)


crossval.__signature__ = _signature()  # type: ignore[attr-defined]
crossval.__annotations__ = {}
