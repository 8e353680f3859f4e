"""`dcnn-fast evaluate`: the options; `evaluate_run` does the work."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from dcnn_fast.cli import ranges, sets
from dcnn_fast.cli.formulas import ForSpreadsheets
from dcnn_fast.cli.max_memory import MaxMemory
from dcnn_fast.cli.options import Panel, takes


@dataclass(frozen=True, kw_only=True)
class MeasuredSet(sets.SetOptions):
    """The data set and the part to measure."""

    threshold: Annotated[
        float | None,
        typer.Option(
            help="Ratings of a CSV file above this are high; default: the model's own threshold, or the set's median."
        ),
    ] = None
    fold: Annotated[
        int | None,
        typer.Option(help="Measure this part of a set without a split of its own, counted from 0; default: the whole set."),
    ] = None
    part: Annotated[str, typer.Option("--split", help="The part of the set to measure: test, val, train or all.")] = "test"


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """Whose predictions are measured, and how."""

    predictions: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="[NAME=]FILE",
            help="Also measure predictions from a CSV file of any program: photographs' paths, and p_LABEL for each label, "
            "P(high) from 0 to 1, or ratings.",
        ),
    ] = ()
    average: Annotated[
        bool, typer.Option("--average", help="Also measure the mean of the models' probabilities (AVG_SCNN).")
    ] = False
    route: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="A classifier of categories, whose answer is the name of the model that scores."),
    ] = None
    ap: Annotated[str, typer.Option(help="How average precision is computed: plain, interpolated or voc07.")] = "plain"
    resamples: Annotated[int, typer.Option(min=0, help="Bootstrap resamples for the intervals; 0: no intervals.")] = 1000


@dataclass(frozen=True, kw_only=True)
class Written:
    """Output files."""

    csv: Annotated[
        str | None, typer.Option(metavar="PATH", help="Write a row for each image and model; - is standard output.")
    ] = None
    json: Annotated[str | None, typer.Option(metavar="PATH", help="Write every measure; - is standard output.")] = None
    pictures: Annotated[Path | None, typer.Option(file_okay=False, help="Draw pictures of the results in this folder.")] = None
    csv_for_spreadsheets: ForSpreadsheets = False
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the files of an earlier evaluation at --csv, --json and --pictures.")
    ] = False


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How models score the photographs."""

    samples: Annotated[int, typer.Option(help="Samples averaged for each image: random windows, one of each column.")] = 50
    grid: Annotated[int, typer.Option(help="Windows lie at multiples of this: 1 (the paper), 2, 4 or 8.")] = 1
    seed: Annotated[int, typer.Option(callback=ranges.SEED, help="Seed of the windows.")] = 0
    device: Annotated[
        str, typer.Option(help="Where to compute: cpu, cuda, cuda:N, or auto: a GPU on which scores were checked, else cpu.")
    ] = "auto"
    max_memory: MaxMemory = None


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """The command line of `dcnn-fast evaluate`."""

    paths: Annotated[
        tuple[str, ...], typer.Argument(metavar="[[NAME=]MODEL...] DATA", help="Model files, or shipped, then the data set.")
    ]
    source: Annotated[MeasuredSet, Panel("The data set", without=("multi_task",))] = field(default_factory=MeasuredSet)
    measuring: Annotated[Measuring, Panel("Measures")] = field(default_factory=Measuring)
    scoring: Annotated[Scoring, Panel("Scoring")] = field(default_factory=Scoring)
    written: Annotated[Written, Panel("Files that are written")] = field(default_factory=Written)

    @property
    def models(self) -> tuple[str, ...]:
        """Model files, each with or without a name (NAME=FILE)."""
        return self.paths[:-1]

    @property
    def data(self) -> Path:
        """The path of the data set."""
        return Path(self.paths[-1])


@takes(EvaluateOptions)
def evaluate(options: EvaluateOptions) -> None:
    """Measure models on a data set: accuracy beside the majority's, AUC, correlations, average precisions, confusions.

    --route adds a row in which each photograph is scored by the model named like its category, e.g.
    portrait=adapted.safetensors, otherwise by the first model. The classifier is trained with `train --by category`.

    A set without a split of its own is measured whole, except photographs that a model has learnt from, or in the part --fold.

    Exit status: 0; 1 when photographs could not be read (each is named); 2 for a wrong call; 3 when a file could not be written
    (the others are); 128 plus the number of the signal that ended it (130 for Ctrl-C).
    """
    from dcnn_fast.cli.evaluate_run import run  # noqa: PLC0415 - keeps `dcnn-fast --help` fast

    raise typer.Exit(run(options))
