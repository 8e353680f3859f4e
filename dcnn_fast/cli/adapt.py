"""`dcnn-fast adapt`: fine-tunes a model of all kinds of photographs for one kind (paper III-C)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dcnn_fast.cli import ranges, sets
from dcnn_fast.cli.config import is_said, options_of
from dcnn_fast.cli.input_files import model_named
from dcnn_fast.cli.options import Panel, takes, values_of
from dcnn_fast.cli.train_options import CONFIG, PRECISION, Machine

if TYPE_CHECKING:
    from dcnn_fast.data import DataSet


RESUME = "Resume the run in --out with its own options, as if it had not been interrupted; --rate sets a new rate from here on."
TUNE = (
    "Layers that learn: all; label, the label layer alone; or ratings: a linear layer on fixed features and the model's "
    "score, fitted in closed form to tens or hundreds of ratings in seconds (epochs, batch and rates have no effect). "
    "Default: ratings where the model has such features, as the shipped one does, and the set has ratings; otherwise all."
)


@dataclass(frozen=True, kw_only=True)
class AdaptSet(sets.SetOptions):
    """The data set, or one category of it."""

    category: Annotated[str | None, typer.Option(help="Train on this content category only; default: the whole set.")] = None


@dataclass(frozen=True, kw_only=True)
class AdaptLearning:
    """How the model is fine-tuned."""

    epochs: Annotated[
        int, typer.Option(help="Passes over the training photographs; the paper: about 50 for local views, 10 for warped ones.")
    ] = 10
    batch: Annotated[int, typer.Option(help="Images in a mini-batch.")] = 128
    rate: Annotated[float, typer.Option(help="Learning rate of the weights; the biases learn at twice this rate.")] = 0.001
    schedule: Annotated[
        str, typer.Option(help="How the rates change: const, linear, exp or dexp, e.g. linear[tgtFactor=100].")
    ] = "const"
    tune: Annotated[str | None, typer.Option(help=TUNE)] = None
    flip: Annotated[bool, typer.Option(help="Mirror half of the images, drawn anew each epoch.")] = False
    precision: Annotated[str, typer.Option(help=PRECISION)] = "fp32"
    best_by: Annotated[
        str, typer.Option(help="The measure that chooses the best epoch: balanced_accuracy, accuracy, auc or loss.")
    ] = "balanced_accuracy"
    seed: Annotated[int, typer.Option(callback=ranges.SEED, help="Seed of order, windows, flips and dropout.")] = 0


@dataclass(frozen=True, kw_only=True)
class AdaptOptions:
    """The command line of `dcnn-fast adapt`."""

    model: Annotated[Path, typer.Argument(help="The model file to start from; shipped: the one that comes with the package.")]
    data: sets.DataPath
    out: Annotated[Path, typer.Option(file_okay=False, help="The folder of the run: models, log, curves, checkpoint.")]
    resume: Annotated[bool, typer.Option(help=RESUME)] = False
    config: Annotated[Path | None, typer.Option(help=CONFIG)] = None
    source: Annotated[AdaptSet, Panel("The data set", without=("variant", "exclude_overlap", "by", "multi_task", "val"))] = (
        field(default_factory=AdaptSet)
    )
    learning: Annotated[AdaptLearning, Panel("Learning")] = field(default_factory=AdaptLearning)
    machine: Annotated[
        Machine, Panel("The machine", without=("features", "plane_cache", "plane_cache_size", "tensorboard"))
    ] = field(default_factory=Machine)


@takes(AdaptOptions)
def adapt(ctx: typer.Context, options: AdaptOptions) -> None:
    """Adapt a model to one category of photographs, or to your own set: 25 ratings are enough to adapt it to your taste.

    The model's own mean is subtracted from the pixels. --out, its files and the exit status are as for `train`.
    """
    from dcnn_fast.cli import train_run  # noqa: PLC0415 - keeps `dcnn-fast --help` fast

    def opened() -> DataSet:
        return options.source.opened(options.data, quiet=not train_run.first_process())

    model, learning = model_named(options.model), options.learning
    if learning.tune == "ratings" or (learning.tune is None and not options.resume):
        status = _fitted(model, options)
        if status is not None:
            raise typer.Exit(status)
    chosen = {**values_of(learning), "bias_rate": 2 * learning.rate, "tune": learning.tune or "all", "mean": "spec"}
    raise typer.Exit(
        train_run.run(
            opened, lambda data: train_run.from_model(model, data), options.out, options.resume, options.machine,
            lambda: train_run.settings(**chosen), (model, options.data), new_rates=options.resume and is_said(ctx, "rate"),
            described=options_of(values_of(options), {"model": str(model)}),
        )
    )  # fmt: skip


def _fitted(model: Path, options: AdaptOptions) -> int | None:
    """Fit the model's own layer to ratings; returns the exit status, None where it was not requested and is impossible."""
    from dcnn_fast.cli import personal_run  # noqa: PLC0415 - keeps `dcnn-fast --help` fast

    source = options.source
    unused: dict[str, Any] = dict.fromkeys(("threshold", "positive", "fold", "folds", "split_seed"))
    given = [name for name in unused if getattr(source, name) is not None]

    def rated() -> DataSet:
        """The set without its notes: they concern a threshold and a split, and only the ratings are used."""
        return replace(source, **unused).opened(options.data, quiet=True, unsplit="train")

    return personal_run.run(
        model, rated, options.out, (model, options.data), asked=options.learning.tune == "ratings",
        given=[f"--{name.replace('_', '-')}" for name in given], max_memory=options.machine.max_memory,
    )  # fmt: skip
