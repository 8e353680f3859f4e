"""`dcnn-fast adapt`: a model trained on all kinds of photographs, trained on for one kind (paper III-C)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dcnn_fast.cli import ranges, sets
from dcnn_fast.cli.config import is_said, options_of
from dcnn_fast.cli.files import model_named
from dcnn_fast.cli.max_memory import MaxMemoryOfEach
from dcnn_fast.cli.train import CONFIG, PRECISION

if TYPE_CHECKING:
    from dcnn_fast.data import DataSet


RESUME = (
    "Go on with the run in --out, as if it had not been interrupted, with its own options; --rate may say another from here on."
)
TUNE = (
    "Layers that learn: all; label, the label layer alone; or ratings: a linear layer on features that never change, beside "
    "the model's score, fitted in closed form to tens or hundreds of ratings in seconds (epochs, batch and rates are of no "
    "account). Default: ratings where the model has such features, as the shipped one has, and the set has ratings; else "
    "all."
)


def adapt(
    ctx: typer.Context,
    model: Annotated[Path, typer.Argument(help="The model file to start from; shipped: the one that comes with the package.")],
    data: sets.DataPath,
    out: Annotated[Path, typer.Option(file_okay=False, help="The folder of the run: models, log, curves, checkpoint.")],
    category: Annotated[str | None, typer.Option(help="This content category alone; default: the whole set.")] = None,
    epochs: Annotated[
        int, typer.Option(help="Passes over the training photographs; the paper: about 50 for local views, 10 for warped ones.")
    ] = 10,
    batch: Annotated[int, typer.Option(help="Images in a mini-batch.")] = 128,
    rate: Annotated[float, typer.Option(help="Learning rate of the weights; the biases have twice as much.")] = 0.001,
    schedule: Annotated[
        str, typer.Option(help="How the rates change: const, linear, exp or dexp, e.g. linear[tgtFactor=100].")
    ] = "const",
    tune: Annotated[str | None, typer.Option(help=TUNE)] = None,
    flip: Annotated[bool, typer.Option(help="Mirror half of the images, drawn anew each epoch.")] = False,
    precision: Annotated[str, typer.Option(help=PRECISION)] = "fp32",
    best_by: Annotated[
        str, typer.Option(help="The measure that chooses the best epoch: balanced_accuracy, accuracy, auc or loss.")
    ] = "balanced_accuracy",
    kind: sets.Kind = None,
    images: sets.Images = None,
    column: sets.Columns = None,
    delta: sets.Delta = 0.0,
    threshold: sets.Threshold = None,
    positive: sets.Positive = None,
    fold: sets.Fold = None,
    folds: sets.Folds = None,
    split_seed: sets.SplitSeed = None,
    seed: Annotated[int, typer.Option(callback=ranges.SEED, help="Seed of order, windows, flips and dropout.")] = 0,
    resume: Annotated[bool, typer.Option(help=RESUME)] = False,
    config: Annotated[Path | None, typer.Option(help=CONFIG)] = None,
    device: Annotated[str, typer.Option(help="Where to compute: cpu or cuda.")] = "cpu",
    workers: Annotated[
        int, typer.Option(callback=ranges.PROCESSES, help="Processes that decode, 256 at most; they change no result.")
    ] = 0,
    cache: Annotated[int, typer.Option(help="Megabytes of photographs kept in memory.")] = 0,
    max_memory: MaxMemoryOfEach = None,
) -> None:
    """Adapt a model to one category of photographs, or to a set of one's own: to your own taste, with 25 ratings or more.

    What is taken off the pixels stays the model's. The folder --out, files and exit status are as those of `train`.
    """
    from dcnn_fast.cli import personal_run, train_run  # noqa: PLC0415 - keeps `dcnn-fast --help` fast

    def opened() -> DataSet:
        return sets.open_set(
            data, kind, column=column, quiet=not train_run.first_process(), images=images, delta=delta, category=category,
            threshold=threshold, positive=positive, fold=fold, folds=folds, seed=split_seed,
        )  # fmt: skip

    def rated() -> DataSet:
        """The set for its ratings alone: the notes are of a threshold and of a split, which are not used."""
        return sets.open_set(
            data, kind, column=column, quiet=True, images=images, delta=delta, category=category, unsplit="train"
        )  # fmt: skip

    model = model_named(model)
    if tune == "ratings" or (tune is None and not resume):
        unused = {
            "--threshold": threshold,
            "--positive": positive,
            "--fold": fold,
            "--folds": folds,
            "--split-seed": split_seed,
        }
        given = [option for option, value in unused.items() if value is not None]
        status = personal_run.run(
            model, rated, out, (model, data), asked=tune == "ratings", given=given, max_memory=max_memory
        )  # fmt: skip
        if status is not None:
            raise typer.Exit(status)
    machine = train_run.Machine(device, workers, cache, max_memory=max_memory)
    raise typer.Exit(
        train_run.run(
            opened, lambda data: train_run.from_model(model, data), out, resume, machine,
            lambda: train_run.settings(
                epochs=epochs, batch=batch, rate=rate, bias_rate=2 * rate, schedule=schedule, tune=tune or "all", flip=flip,
                mean="spec", precision=precision, best_by=best_by, seed=seed,
            ),
            (model, data), new_rates=resume and is_said(ctx, "rate"), described=options_of(ctx.params, {"model": str(model)}),
        )
    )  # fmt: skip
