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
        Path, typer.Option(file_okay=False, help="The folder of the runs; after an interruption the same command resumes them.")
    ]
    samples: Annotated[int, typer.Option(min=1, help="Samples averaged for each held-out image.")] = 50
    resamples: Annotated[int, typer.Option(min=0, help="Bootstrap resamples for the intervals; 0: no intervals.")] = 1000


@takes(CrossvalOptions, without=("fold", "resume"))  # every fold is trained, and the same command resumes
def crossval(ctx: typer.Context, options: CrossvalOptions) -> None:
    """Train a network once for each part of a set, without that part, and measure all held-out predictions together.

    The set, which must have no split of its own, is dealt into --folds parts by --split-seed; a group is never divided. Each
    part's photographs are judged by the network that was trained without them: after its last epoch, or with --val after the
    best epoch by --best-by on photographs drawn from the rest; the held-out ones never choose an epoch. A model file to start
    from is refused if it has learnt from photographs of the set. All parts share one threshold for high ratings: --threshold,
    by default the median of the whole set. Accuracy, AUC, Spearman's correlation and, where ratings are predicted, the EMD are
    printed with intervals from a bootstrap over groups. --out gets the folder of a run for each part, predictions.csv, which
    `evaluate DATA --predictions` reads, and measures.json, which names the model files measured.

    Exit status: 0; 1 when photographs could not be read, the loss diverged, memory ran out or a decoding process died; 2 for a
    wrong call; 3 when a file could not be written (the others are); 128 plus the number of the signal that ended it (130 for
    Ctrl-C). The same command then resumes.
    """
    from dcnn_fast.cli.crossval_run import run  # noqa: PLC0415 - keeps `dcnn-fast --help` fast

    raise typer.Exit(run(ctx, options))
