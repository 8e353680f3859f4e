"""`dcnn-fast crossval`: the options, which are those of `train` and two more; `crossval_run` does the work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from dcnn_fast.cli.options import takes
from dcnn_fast.cli.train_options import TrainOptions


@dataclass(frozen=True, kw_only=True)
class CrossvalOptions(TrainOptions):
    """The command line of `dcnn-fast crossval`."""

    out: Annotated[
        Path, typer.Option(file_okay=False, help="The folder of the runs; the same command goes on where it was interrupted.")
    ]
    samples: Annotated[int, typer.Option(min=1, help="Samples averaged for each held-out image.")] = 50
    resamples: Annotated[int, typer.Option(min=0, help="Resamples of the bootstrap for the intervals; 0: none.")] = 1000


@takes(CrossvalOptions, without=("fold", "resume"))  # every fold is trained, and the same command goes on
def crossval(ctx: typer.Context, options: CrossvalOptions) -> None:
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

    raise typer.Exit(run(ctx, options))
