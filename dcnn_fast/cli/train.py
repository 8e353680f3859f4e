"""`dcnn-fast train`: the command; `train_options` has its options, `train_run` does the work."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from dcnn_fast.cli.config import is_said, options_of
from dcnn_fast.cli.console import fail
from dcnn_fast.cli.options import takes, values_of
from dcnn_fast.cli.train_options import TrainOptions

if TYPE_CHECKING:
    from dcnn_fast.data import DataSet


@takes(TrainOptions)
def train(ctx: typer.Context, options: TrainOptions) -> None:
    """Train a network on a data set; the defaults are the paper's.

    The folder --out must be new, empty or a run's. It gets best.safetensors and last.safetensors, log.csv, curves.png, run.toml
    with the options, and a checkpoint after each epoch. Under torchrun every process takes its share of each mini-batch. Exit
    status: 0; 1 when the loss diverged, memory ran out or a decoding process died; 2 for a wrong call; 3 when a file could not
    be written (the others are); 128 plus the number of the signal that ended it (130 for Ctrl-C). The checkpoint is then valid
    and --resume continues the run.
    """
    raise typer.Exit(trained(ctx, options))


def trained(ctx: typer.Context, options: TrainOptions) -> int:
    """Train with these options; returns the exit status. ctx: tells options of the command line from those of a file."""
    from dcnn_fast.cli import train_rule, train_run  # noqa: PLC0415 - keeps `dcnn-fast --help` fast

    def opened() -> DataSet:
        return options.source.opened(options.data, quiet=not train_run.first_process())

    network, learning = options.network, options.learning
    given = replace(options.rule, said=(is_said(ctx, "rate"), is_said(ctx, "bias_rate")))
    try:
        layers = train_run.layer_files(network)
        inputs = train_run.files_named(network, options.data)
        resumed = given.lowered(ctx.default_map or {}) if is_said(ctx, "resume") else given
        rule = resumed.decided(layer_files=layers is not None)
        weights = train_rule.class_weights(learning.class_weights)
    except (ValueError, OSError) as error:
        fail(str(error))
    momenta = {name: rule["momentum"] for name in ("momentum", "bias_momentum") if "momentum" in rule}
    chosen = {**values_of(learning), **values_of(options.looks), "optimiser": given.optimiser, **rule, **momenta}
    layer_rules = () if layers is None else tuple(layers.rules.items())
    return train_run.run(
        opened, train_run.Shape(network, learning.seed, layers, learning.freeze).network, options.out, bool(options.resume),
        options.machine, lambda: train_run.settings(**{**chosen, "class_weights": weights, "layer_rules": layer_rules}),
        inputs, new_rates=is_said(ctx, "resume") and any(given.said), described=options_of(values_of(options), rule),
        redrawn=str(inputs[0]) if network.fresh and not learning.freeze else None,
    )  # fmt: skip
