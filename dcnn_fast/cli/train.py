"""`dcnn-fast train`: the options; `train_run` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dcnn_fast.cli import ranges, sets
from dcnn_fast.cli.config import is_said, options_of
from dcnn_fast.cli.console import fail
from dcnn_fast.cli.max_memory import MaxMemoryOfEach

if TYPE_CHECKING:
    from dcnn_fast.data import DataSet

NET = (
    "A preset (`dcnn-fast describe` lists them), several joined by + for columns of different architectures, e.g. "
    "scnn-arch1+scnn-arch3, a model file to start from (shipped: the one that comes with the package), or cuda-convnet's "
    "layer-definition file, .cfg."
)
FRESH = (
    "Draw anew what learns of --net's model file, for the labels of the data: a backbone's layers, and those that --freeze "
    "names, alone are taken."
)
RESUME = (
    "Go on with the run in --out, as if it had not been interrupted, with its own options; --rate and --bias-rate may say "
    "others from here on, as cuda-convnet's users lower them by hand."
)
CONFIG = "Take the options that are not given from this file, the run.toml of another run."
SCHEDULE = (
    "How the rates change: const, linear, exp, dexp, e.g. dexp[tgtFactor=100;numSteps=3], or cosine, half a wave down to 0; "
    "default: const."
)
TARGETS = (
    "Targets of training: labels; soft: a probability of high that rises smoothly with the rating; regression: the rating, "
    "by squared errors; emd: the histogram of votes, by earth mover's distances."
)
CLASS_WEIGHTS = (
    "How much a photograph of each label counts, 1,2.5, or balanced: all labels alike. Default: all photographs alike."
)
FREEZE = (
    "Leave a layer as it is, e.g. columns.0.blocks.1, 'columns.0.blocks.*' or columns.1; may be given several times. What "
    "layers next to the pixels make of whole views is computed once."
)
PATIENCE = (
    "Looks at the photographs of the split val without a better epoch after which the run ends; 0: it goes on to its end."
)
BEST_BY = (
    "The measure by which the best epoch is chosen, on the photographs of the split val where there are such, else on the "
    "held-out ones: balanced_accuracy, accuracy, auc or loss, the labels' negative log-likelihood, whatever --targets are."
)
FEATURES = (
    "The file that keeps what frozen layers make of whole views, for several runs; default: one in --out. Nothing changes but "
    "the time."
)
TIES = (
    "Who gets a max-pool's gradient: all of several equal maxima, as in cuda-convnet, or the first, as in torch, which is "
    "faster on the C++ engine."
)
PRECISION = "Precision of the products: fp32, tf32, bf16 or fp16, whose loss is scaled."


def train(
    ctx: typer.Context,
    data: sets.DataPath,
    out: Annotated[Path, typer.Option(file_okay=False, help="The folder of the run: models, log, curves, checkpoint.")],
    net: Annotated[str, typer.Option(help=NET)] = "dcnn",
    fresh: Annotated[bool, typer.Option("--fresh", help=FRESH)] = False,
    layer_params: Annotated[
        Path | None, typer.Option(help="The parameters of a layer-definition file: how each layer starts, and its rates.")
    ] = None,
    resume: Annotated[bool, typer.Option(help=RESUME)] = False,
    config: Annotated[Path | None, typer.Option(help=CONFIG)] = None,
    views: Annotated[
        str | None, typer.Option("--views", "--view", help="View of each column: local, warp, center or pad, e.g. local,warp.")
    ] = None,
    geometry: Annotated[
        str, typer.Option(help="Geometry of a preset: convnet (rounding up, pads 0/2/1/1) or valid (rounding down, no pads).")
    ] = "convnet",
    plane: Annotated[
        int | None, typer.Option(help="Side of the planes, for compact columns; the window shrinks along.")
    ] = None,
    window: Annotated[int | None, typer.Option(help="Side of the windows.")] = None,
    stride: Annotated[int | None, typer.Option(help="Stride of the first convolution.")] = None,
    filters: Annotated[float, typer.Option(help="A factor for every block's filters.")] = 1.0,
    fc: Annotated[str | None, typer.Option(help="Sizes of the fully-connected layers, e.g. 64,32.")] = None,
    dropout: Annotated[float | None, typer.Option(help="Dropout on fully-connected layers; default 0.5.")] = None,
    long_side: Annotated[
        int | None,
        typer.Option(help="Photographs whose long side is larger are reduced to it, in training and in every later use."),
    ] = None,
    init: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN=FILE", help="Start this column, from 0, from a model file's first.")
    ] = None,
    kind: sets.Kind = None,
    images: sets.Images = None,
    column: sets.Columns = None,
    delta: sets.Delta = 0.0,
    category: sets.Category = None,
    threshold: sets.Threshold = None,
    positive: sets.Positive = None,
    variant: sets.Variant = "threshold",
    exclude_overlap: sets.ExcludeOverlap = False,
    by: sets.By = "quality",
    multi_task: Annotated[bool, typer.Option(help="AVA: learn the styles too, where both are known (paper eq. 3).")] = False,
    fold: sets.Fold = None,
    folds: sets.Folds = None,
    split_seed: sets.SplitSeed = None,
    val: sets.Val = None,
    epochs: Annotated[int, typer.Option(help="Passes over the training set.")] = 50,
    batch: Annotated[int, typer.Option(help="Images in a mini-batch, over all processes.")] = 128,
    optimiser: Annotated[
        str, typer.Option(help="The update rule: convnet, cuda-convnet's with momentum, or adamw, Adam with decoupled decay.")
    ] = "convnet",
    rate: Annotated[float | None, typer.Option(help="Learning rate of the weights; default: 0.001.")] = None,
    bias_rate: Annotated[
        float | None, typer.Option(help="Learning rate of the biases; default: 0.002, with adamw that of the weights.")
    ] = None,
    momentum: Annotated[
        float | None, typer.Option(help="Momentum of weights and biases, with convnet alone; default: 0.9.")
    ] = None,
    decay: Annotated[
        float | None, typer.Option(help="Decay of the weights, not of biases; default: 0.0005, with adamw 0.01.")
    ] = None,
    schedule: Annotated[str | None, typer.Option(help=SCHEDULE)] = None,
    warmup: Annotated[
        float, typer.Option(help="Epochs, also parts of one, in which the rates rise to their full height before the schedule.")
    ] = 0.0,
    clip: Annotated[
        float, typer.Option(help="The greatest norm of the gradient of a mini-batch; a longer one is shortened. 0: any.")
    ] = 0.0,
    targets: Annotated[str, typer.Option(help=TARGETS)] = "labels",
    class_weights: Annotated[str, typer.Option(help=CLASS_WEIGHTS)] = "",
    drops: Annotated[str, typer.Option(help="Factors for the rates by hand: epoch:factor,..., from epoch 0.")] = "",
    column_rates: Annotated[str, typer.Option(help="A factor for each column's rates, e.g. 1,0.1; 0 freezes it.")] = "",
    freeze: Annotated[list[str] | None, typer.Option(metavar="LAYER", help=FREEZE)] = None,
    tune: Annotated[str, typer.Option(help="Layers that learn: all, or label, the label layer alone.")] = "all",
    flip: Annotated[bool, typer.Option(help="Mirror half of the images, drawn anew each epoch.")] = False,
    mean: Annotated[
        str, typer.Option(help="Mean to take off the pixels: that of the data, or the network's own (spec).")
    ] = "data",
    precision: Annotated[str, typer.Option(help=PRECISION)] = "fp32",
    ties: Annotated[str, typer.Option(help=TIES)] = "all",
    evaluate_every: Annotated[int, typer.Option(help="Epochs between looks at the held-out images; 0: none.")] = 1,
    test_views: Annotated[int, typer.Option(help="Windows averaged for each held-out image in a look during the run.")] = 5,
    best_by: Annotated[str, typer.Option(help=BEST_BY)] = "balanced_accuracy",
    patience: Annotated[int, typer.Option(help=PATIENCE)] = 0,
    checkpoint_steps: Annotated[int, typer.Option(help="Mini-batches between checkpoints within an epoch; 0: none.")] = 0,
    seed: Annotated[int, typer.Option(callback=ranges.SEED, help="Seed of weights, order, windows, flips and dropout.")] = 0,
    device: Annotated[str, typer.Option(help="Where to compute: cpu or cuda.")] = "cpu",
    workers: Annotated[
        int, typer.Option(callback=ranges.PROCESSES, help="Processes that decode, 256 at most; they change no result.")
    ] = 0,
    cache: Annotated[int, typer.Option(help="Megabytes of photographs kept in memory.")] = 0,
    features: Annotated[Path | None, typer.Option(dir_okay=False, help=FEATURES)] = None,
    plane_cache: sets.PlaneCacheFolder = None,
    plane_cache_size: sets.PlaneCacheSize = 4096,
    max_memory: MaxMemoryOfEach = None,
    tensorboard: Annotated[bool, typer.Option(help="Write a TensorBoard log too.")] = False,
) -> None:
    """Train a network on a data set; the defaults are the paper's.

    The folder --out, which must be new, empty or a run's, gets best.safetensors and last.safetensors, log.csv, curves.png,
    run.toml with the options, and a checkpoint after each epoch. Under torchrun every process takes its share of each
    mini-batch. Exit status: 0, 1 when the loss diverged, memory did not suffice or a process that decodes died, 2 for a wrong
    call, 3 when a file could not be written (the others are), 128 and the number of the signal that ended it (130 for Ctrl-C);
    the checkpoint is valid then and --resume goes on.
    """
    options = {name: value for name, value in locals().items() if name != "ctx"}
    from dcnn_fast.cli import train_rule, train_run  # noqa: PLC0415 - keeps `dcnn-fast --help` fast
    from dcnn_fast.cli.train_rule import Rule  # noqa: PLC0415

    def opened() -> DataSet:
        return sets.open_set(
            data, kind, column=column, quiet=not train_run.first_process(), images=images, delta=delta, category=category,
            threshold=threshold, positive=positive, variant=variant, exclude_test_overlap=exclude_overlap,
            attributes=multi_task, fold=fold, folds=folds, seed=split_seed, val=val, by=by,
        )  # fmt: skip

    given = Rule(
        optimiser, rate, bias_rate, momentum, decay, schedule, (is_said(ctx, "rate"), is_said(ctx, "bias_rate"))
    )  # fmt: skip
    try:
        layers = train_run.layer_files(net, layer_params, views, plane, window)
        inputs = train_run.files_named(net, layer_params, init or (), data)
        resumed = given.lowered(ctx.default_map or {}) if is_said(ctx, "resume") else given
        rule = resumed.decided(layer_files=layers is not None)
        weights = train_rule.class_weights(class_weights)
    except (ValueError, OSError) as error:
        fail(str(error))
    shape = train_run.Shape(
        net, views, geometry, plane, window, stride, filters, fc, dropout, tuple(init or ()), seed, layers, long_side,
        fresh, tuple(freeze or ()),
    )  # fmt: skip
    machine = train_run.Machine(
        device, workers, cache, tensorboard, max_memory, plane_cache, plane_cache_size, features=features
    )  # fmt: skip
    momenta = {name: rule["momentum"] for name in ("momentum", "bias_momentum") if "momentum" in rule}
    raise typer.Exit(
        train_run.run(
            opened, shape.network, out, resume, machine,
            lambda: train_run.settings(
                epochs=epochs, batch=batch, optimiser=optimiser, **{**rule, **momenta}, warmup=warmup, clip=clip,
                targets=targets, class_weights=weights, drops=drops, column_rates=column_rates, freeze=tuple(freeze or ()),
                tune=tune, flip=flip, mean=mean, precision=precision, ties=ties, evaluate_every=evaluate_every,
                test_views=test_views, best_by=best_by, patience=patience, checkpoint_steps=checkpoint_steps, seed=seed,
                layer_rules=() if layers is None else tuple(layers.rules.items()),
            ),
            inputs, new_rates=is_said(ctx, "resume") and any(given.said), described=options_of(options, rule),
            redrawn=str(inputs[0]) if fresh and not freeze else None,
        )
    )  # fmt: skip
