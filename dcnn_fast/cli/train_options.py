"""The options of `dcnn-fast train` as a record, in the groups of `--help`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dcnn_fast.cli import ranges, sets
from dcnn_fast.cli.console import note
from dcnn_fast.cli.max_memory import MaxMemoryOfEach
from dcnn_fast.cli.options import Panel
from dcnn_fast.cli.train_rule import Rule

if TYPE_CHECKING:
    from dcnn_fast.data.plane_cache import PlaneCache

NET = (
    "A preset (`dcnn-fast describe` lists them), several joined by + for columns of different architectures, e.g. "
    "scnn-arch1+scnn-arch3, a model file to start from (shipped: the one that comes with the package), or cuda-convnet's "
    "layer-definition file, .cfg."
)
FRESH = (
    "Take only a backbone's layers and those that --freeze names from --net's model file, and train all others from random "
    "weights, for the labels of the data."
)
RESUME = (
    "Resume the run in --out with its own options, as if it had not been interrupted; --rate and --bias-rate set new rates "
    "from here on, as cuda-convnet's users lower them by hand."
)
CONFIG = "Take options that are not given here from this file, the run.toml of another run."
TARGETS = (
    "Targets of training: labels; soft, a probability of high that rises smoothly with the rating; regression, the rating, "
    "with squared errors; emd, the histogram of votes, with earth mover's distances."
)
CLASS_WEIGHTS = (
    "Weight of a photograph of each label, e.g. 1,2.5, or balanced, which gives all labels equal weight. Default: equal weight "
    "for all photographs."
)
FREEZE = (
    "Do not train a layer, e.g. columns.0.blocks.1, 'columns.0.blocks.*' or columns.1; may be given several times. Outputs of "
    "frozen layers next to the pixels for whole views are computed once."
)
PATIENCE = "End the run after this many evaluations on the split val without a better epoch; 0: never end early."
BEST_BY = (
    "The measure that chooses the best epoch, on the split val if there is one, otherwise on the held-out photographs: "
    "balanced_accuracy, accuracy, auc, or loss, which is the labels' negative log-likelihood with any --targets."
)
FEATURES = (
    "The file that keeps frozen layers' outputs for whole views, for use by several runs; default: one in --out. Only the time "
    "changes."
)
TIES = (
    "Where equal maxima of a max-pool pass the gradient: all, as in cuda-convnet, or first, the first one only, as in torch, "
    "which is faster on the C++ engine."
)
PRECISION = "Precision of the products: fp32, tf32, bf16, or fp16 with a scaled loss."


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """The network and its sizes."""

    net: Annotated[str, typer.Option(help=NET)] = "dcnn"
    fresh: Annotated[bool, typer.Option("--fresh", help=FRESH)] = False
    layer_params: Annotated[
        Path | None, typer.Option(help="The parameter file of a layer-definition file: each layer's initialisation and rates.")
    ] = None
    views: Annotated[
        str | None, typer.Option("--views", "--view", help="View of each column: local, warp, center or pad, e.g. local,warp.")
    ] = None
    geometry: Annotated[
        str, typer.Option(help="Geometry of a preset: convnet (rounding up, pads 0/2/1/1) or valid (rounding down, no pads).")
    ] = "convnet"
    plane: Annotated[
        int | None, typer.Option(help="Side of the planes, for compact columns; the window shrinks in proportion.")
    ] = None
    window: Annotated[int | None, typer.Option(help="Side of the windows.")] = None
    stride: Annotated[int | None, typer.Option(help="Stride of the first convolution.")] = None
    filters: Annotated[float, typer.Option(help="A factor for every block's filters.")] = 1.0
    fc: Annotated[str | None, typer.Option(help="Sizes of the fully-connected layers, e.g. 64,32.")] = None
    dropout: Annotated[float | None, typer.Option(help="Dropout on fully-connected layers; default: 0.5.")] = None
    long_side: Annotated[
        int | None,
        typer.Option(help="Reduce larger photographs to this long side, in training and in every later use of the model."),
    ] = None
    init: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="COLUMN=FILE", help="Initialise this column, counted from 0, from the first column of a model file."
        ),
    ] = ()


@dataclass(frozen=True, kw_only=True)
class LearningOptions:
    """The network's training, apart from the update rule; names and meanings are those of `training.Settings`."""

    epochs: Annotated[int, typer.Option(help="Passes over the training set.")] = 50
    batch: Annotated[int, typer.Option(help="Images in a mini-batch, across all processes.")] = 128
    warmup: Annotated[
        float, typer.Option(help="Epochs (also fractions) in which the rates rise to their full values before the schedule.")
    ] = 0.0
    clip: Annotated[float, typer.Option(help="Clip the gradient of a mini-batch to this norm; 0: no clipping.")] = 0.0
    targets: Annotated[str, typer.Option(help=TARGETS)] = "labels"
    class_weights: Annotated[str, typer.Option(help=CLASS_WEIGHTS)] = ""
    drops: Annotated[str, typer.Option(help="Manual factors for the rates: epoch:factor,..., counted from epoch 0.")] = ""
    column_rates: Annotated[str, typer.Option(help="A factor for each column's rates, e.g. 1,0.1; 0 freezes it.")] = ""
    freeze: Annotated[tuple[str, ...], typer.Option(metavar="LAYER", help=FREEZE)] = ()
    tune: Annotated[str, typer.Option(help="Layers that learn: all, or label, the label layer alone.")] = "all"
    flip: Annotated[bool, typer.Option(help="Mirror half of the images, drawn anew each epoch.")] = False
    mean: Annotated[str, typer.Option(help="Mean to subtract from the pixels: data, or spec, the network's own.")] = "data"
    precision: Annotated[str, typer.Option(help=PRECISION)] = "fp32"
    ties: Annotated[str, typer.Option(help=TIES)] = "all"
    seed: Annotated[int, typer.Option(callback=ranges.SEED, help="Seed of weights, order, windows, flips and dropout.")] = 0


@dataclass(frozen=True, kw_only=True)
class Looks:
    """Evaluation during the run, the choice of the best epoch, and checkpoints."""

    evaluate_every: Annotated[
        int, typer.Option(help="Epochs between evaluations on the held-out images; 0: no evaluations.")
    ] = 1
    test_samples: Annotated[
        int, typer.Option(help="Windows averaged for each held-out image in an evaluation during the run.")
    ] = 5
    best_by: Annotated[str, typer.Option(help=BEST_BY)] = "balanced_accuracy"
    patience: Annotated[int, typer.Option(help=PATIENCE)] = 0
    checkpoint_steps: Annotated[
        int, typer.Option(help="Mini-batches between checkpoints within an epoch; 0: only one after each epoch.")
    ] = 0


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The device and the resources of a run; none of them changes its result, except for the device's rounding."""

    device: Annotated[str, typer.Option(help="Where to compute: cpu or cuda.")] = "cpu"
    workers: Annotated[
        int,
        typer.Option(callback=ranges.PROCESSES, help="Processes that decode, 256 at most; the result does not depend on them."),
    ] = 0
    cache: Annotated[int, typer.Option(help="Megabytes of photographs kept in memory.")] = 0
    features: Annotated[Path | None, typer.Option(dir_okay=False, help=FEATURES)] = None
    plane_cache: sets.PlaneCacheFolder = None
    plane_cache_size: sets.PlaneCacheSize = 4096
    max_memory: MaxMemoryOfEach = None
    tensorboard: Annotated[bool, typer.Option(help="Also write a TensorBoard log.")] = False

    def kept(self) -> int | PlaneCache:
        """The cache of photographs: megabytes of memory, or a cache on disk. Raises ValueError for both."""
        from dcnn_fast.data.plane_cache import PlaneCache  # noqa: PLC0415 - imports torch

        if self.plane_cache is None:
            return self.cache
        if self.cache:
            raise ValueError(f"--cache must not be given beside --plane-cache, got {self.cache}")
        return PlaneCache(self.plane_cache, self.plane_cache_size, note)


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """The command line of `dcnn-fast train`."""

    data: sets.DataPath
    out: Annotated[Path, typer.Option(file_okay=False, help="The folder of the run: models, log, curves, checkpoint.")]
    resume: Annotated[bool, typer.Option(help=RESUME)] = False
    config: Annotated[Path | None, typer.Option(help=CONFIG)] = None
    network: Annotated[NetworkOptions, Panel("The network")] = field(default_factory=NetworkOptions)
    source: Annotated[sets.SetOptions, Panel("The data set")] = field(default_factory=sets.SetOptions)
    learning: Annotated[LearningOptions, Panel("Learning")] = field(default_factory=LearningOptions)
    rule: Annotated[Rule, Panel("The update rule")] = field(default_factory=Rule)
    looks: Annotated[Looks, Panel("Looks at held-out photographs, and checkpoints")] = field(default_factory=Looks)
    machine: Annotated[Machine, Panel("The machine")] = field(default_factory=Machine)
