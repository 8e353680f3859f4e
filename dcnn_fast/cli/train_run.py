"""The work of `dcnn-fast train` and `adapt`: the network, the run, and its messages."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from dcnn_fast import networks
from dcnn_fast.cli.console import fail, note, plain_table, stderr, stdout
from dcnn_fast.cli.input_files import model_named, require_file
from dcnn_fast.cli.max_memory import OPTION, is_short_of_memory, limit_memory
from dcnn_fast.cli.stopping import Stop
from dcnn_fast.cli.train_options import Machine, NetworkOptions
from dcnn_fast.data import DataSet
from dcnn_fast.data.check import require_learnable
from dcnn_fast.data.label_names import with_labels
from dcnn_fast.nets import Model, MultiColumn, build, initialise, load_columns, load_model, shaped_as
from dcnn_fast.printable import printable, quoted
from dcnn_fast.training import CheckpointError, DivergedError, Outcome, Settings, WorkerError, parse_drops, train
from dcnn_fast.training.folder import BEST, CHECKPOINT, CURVES, LAST, LOG, require_folder, require_outputs
from dcnn_fast.training.learning_layers import frozen_parameters
from dcnn_fast.training.model_history import learnt_by
from dcnn_fast.training.run_examples import validation_of

_NAMED = 20  # unreadable photographs that are named; the rest are only counted
_SECOND = ("attribute_accuracy", "attribute_majority")
_MEASURES = ("loss", "accuracy", "balanced_accuracy", "majority", "auc")


@dataclass(frozen=True)
class Shape:
    """The network and its sizes. layers: the content of the layer files, if the options' net is one. freeze: layers of a model
    file that are taken even with --fresh."""

    options: NetworkOptions
    seed: int = 0
    layers: networks.Reading | None = None
    freeze: tuple[str, ...] = ()

    def network(self, data: DataSet) -> MultiColumn:
        """The network for the data's labels and attributes: that of a model file or of layer files, unchanged, or a preset in
        the chosen views and sizes with random weights, except for the columns that `init` names."""
        given = self.options
        if self.layers is not None:
            if given.fresh:
                raise ValueError("fresh must not be given for layer files, whose weights are drawn as they say")
            self._require_no_sizes(but=("views", "plane", "window", "long_side"))
            return load_columns(from_layers(self.layers, data, self.seed, given.long_side), sources(given.init))
        if is_model(given.net):
            self._require_no_sizes()
            path = model_named(Path(given.net))
            net = drawn_anew(load_model(path).net, data, self.freeze, self.seed) if given.fresh else from_model(path, data)
            return load_columns(net, sources(given.init))
        if given.fresh:
            raise ValueError(f"fresh must not be given but for a model file, of which layers are taken, got {given.net}")
        network = networks.preset(given.net, given.geometry)  # type: ignore[arg-type]
        if given.views is not None:
            network = _seen_through(network, tuple(view.strip() for view in given.views.split(",")))
        fc = integers("fc", given.fc or "")
        if not any(isinstance(column, networks.Column) and not column.frozen for column in network.columns):
            self._require_no_sizes(but=("views", "dropout", "long_side"))
        network = networks.compact(
            network, plane=given.plane, window=given.window, stride=given.stride, filters=given.filters, fc=fc
        )  # fmt: skip
        columns = network.columns
        if given.dropout is not None:
            columns = tuple(_dropping(column, given.dropout) for column in columns)
        network = replace(
            network, columns=columns, labels=data.labels, attributes=data.attributes, long_side=given.long_side
        )  # fmt: skip
        taken = sources(given.init)
        network = shaped_as(network, taken)
        for number, column in enumerate(columns):
            if number not in taken and (column.frozen or isinstance(column, networks.BackboneColumn)):
                how = "which is frozen" if column.frozen else "whose layers are never trained"
                raise ValueError(f"init must name a model file for column {number}, {how}, got none")
        return load_columns(build(network, seed=self.seed), taken)

    def _require_no_sizes(self, but: Collection[str] = ()) -> None:
        sizes = ("views", "plane", "window", "stride", "fc", "dropout", "long_side")
        changed = [name for name in sizes if getattr(self.options, name) is not None and name not in but]
        changed += ["filters"] * (self.options.filters != 1)
        if changed:
            wanted = f"net must be a preset of columns of blocks for its {changed[0]} to be chosen"
            raise ValueError(f"{wanted}, got {self.options.net}")


def _dropping(column: networks.AnyColumn, share: float) -> networks.AnyColumn:
    """The column with this dropout, unless it is frozen or made of single layers, which have their own."""
    return column if column.frozen or isinstance(column, networks.GraphColumn) else replace(column, dropout=share)


def is_model(net: str) -> bool:
    """Whether `net` names a model file, including the one that comes with the package, not a preset or layer files."""
    return net.endswith(".safetensors") or net == "shipped"


def drawn_anew(net: MultiColumn, data: DataSet, kept: Sequence[str], seed: int) -> MultiColumn:
    """A network of the same columns for the data's labels, with random weights by `seed` except in layers that do not learn.

    kept: names of further layers to take, in the form of `Settings.freeze`.
    """
    taken = {id(parameter) for parameter in frozen_parameters(net, kept)}
    state = {
        name: tensor
        for name, tensor in net.state_dict(keep_vars=True).items()
        if id(tensor) in taken or not tensor.requires_grad
    }
    made = build(replace(net.spec, labels=data.labels, attributes=data.attributes), seed=seed)
    made.load_state_dict(state, strict=False)
    return made


def from_model(path: Path, data: DataSet) -> MultiColumn:
    """The network of a model file. Raises ValueError if its labels are neither the data's nor synonyms of them
    (`label_names.with_labels`)."""
    require_file(path)
    net = load_model(path).net
    try:
        with_labels(data, net.spec.labels)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return net


def layer_files(network: NetworkOptions) -> networks.Reading | None:
    """The content of cuda-convnet's layer files if `net` is a layer-definition file; None for another network.

    Raises ValueError where one of the two files comes without the other or they cannot be read.
    """
    net, params = network.net, network.layer_params
    if net.endswith(".cfg") != (params is not None):
        raise ValueError(f"net must be a layer-definition file, .cfg, and layer-params its parameters, got {net} and {params}")
    if params is None:
        return None
    for path in (net, params):
        if os.path.lexists(path):
            require_file(path)
    seen: tuple[Any, ...] = tuple(view.strip() for view in (network.views or "warp").split(","))
    return networks.read_convnet_cfg(net, params, networks.preprocessing(seen, network.plane, network.window))


def from_layers(read: networks.Reading, data: DataSet, seed: int, long_side: int | None = None) -> MultiColumn:
    """The network of layer files, initialised as they say. Raises ValueError if the numbers of outputs and labels differ."""
    if len(read.network.labels) != len(data.labels):
        raise ValueError(f"net must have {len(data.labels)} outputs for the data's labels, got {len(read.network.labels)}")
    network = replace(read.network, labels=data.labels, attributes=(), long_side=long_side)
    return initialise(MultiColumn(network), read.rules, seed)


def files_named(network: NetworkOptions, data: Path) -> list[str | Path]:
    """The files that a training's options name, and its data; a preset's name is included but is not a file."""
    net = str(model_named(Path(network.net))) if is_model(network.net) else network.net
    params = [] if network.layer_params is None else [network.layer_params]
    return [net, *params, *(path for _, path, _ in map(_source, network.init)), data]


def sources(texts: Sequence[str]) -> dict[int, tuple[Model, int]]:
    """The model file and its column from which each column starts: "0=scnn.safetensors", or "1=dcnn.safetensors:1" for the
    file's second column.

    Raises ValueError for a text of another form, ModelError for a bad file.
    """
    found = {}
    for text in texts:
        column, path, theirs = _source(text)
        require_file(path)
        found[column] = (load_model(path), theirs)
    return found


def _source(text: str) -> tuple[int, str, int]:
    match = re.fullmatch(r"(\d{1,9})=(.+?)(?::(\d{1,9}))?", text)
    if match is None:
        raise ValueError(f"init must read COLUMN=FILE or COLUMN=FILE:COLUMN, got {quoted(text)}")
    column, path, theirs = match.groups()
    return int(column), path, int(theirs or 0)


def settings(**options: Any) -> Settings:
    """The settings from options whose lists are text."""
    drops, factors = options.pop("drops", ""), options.pop("column_rates", "")
    return Settings(**options, drops=parse_drops(drops), column_rates=numbers("column_rates", factors))


def run(
    opened: Callable[[], DataSet],
    network: Callable[[DataSet], MultiColumn],
    out: Path,
    resume: bool,
    machine: Machine,
    options: Callable[[], Settings],
    inputs: Sequence[str | Path] = (),
    *,
    new_rates: bool = False,
    described: Mapping[str, Any] | None = None,
    redrawn: str | None = None,
) -> int:
    """Run the command; returns its exit status.

    inputs: the files that it reads, none of which the run may write. new_rates: whether a resumed run may have new rates.
    described: the options for the run's options file. redrawn: a model file from which only layers that never learn were
    taken.
    """
    talks = first_process()
    with Stop() as stop:
        try:
            chosen, kept = options(), machine.kept()
            if talks:  # the other processes would find the first one's files
                require_folder(out, resume=resume)
                require_outputs(out, inputs=inputs)
            data = opened()
            require_learnable(data)
            net = network(data)
            data, found = with_labels(data, net.spec.labels), data
            if talks:
                for each in data.notes[len(found.notes) :]:
                    note(f"note: {each}")
                _introduce(data)
            limit_memory(
                machine.max_memory, os.cpu_count() or 1, what=f"this network and a mini-batch of {chosen.batch}",
                beside=_of_training(net, chosen.batch) + machine.cache * 2**20,
            )  # fmt: skip
            outcome = train(
                net, data, chosen, out, resume=resume, device=machine.device, workers=machine.workers, cache=kept,
                threads=os.cpu_count() or 1, progress=stderr() if talks else False, tensorboard=machine.tensorboard,
                origin=Model(net).digest[:12], seen=_seen_by(inputs, net, redrawn), warn=note, new_rates=new_rates,
                features=machine.features, options=described,
            )  # fmt: skip
        except typer.Exit:
            raise
        except DivergedError as error:
            fail(f"{error}{_goes_on(out, 'what is left is ')}", 1)
        except WorkerError as error:
            fail(f"{error}{_goes_on(out, '--resume goes on from ')}", 1)
        except (CheckpointError, ValueError, OSError, RuntimeError, MemoryError) as error:
            if is_short_of_memory(error):
                within = "" if machine.max_memory is None else f" within {OPTION} {machine.max_memory}"
                fail(f"there is not enough memory to go on{within}{_goes_on(out, '--resume goes on from ')}", 1)
            fail(str(error))
        except KeyboardInterrupt as error:
            status = 128 + error.args[0] if error.args else stop.status
            fail(f"interrupted{_goes_on(out, '--resume goes on from ')}", status)
    if talks:
        _report(outcome, out)
    return 3 if outcome.unwritten else 0


def _seen_by(inputs: Sequence[str | Path], net: MultiColumn, redrawn: str | None = None) -> frozenset[str]:
    """Marks of the photographs that the model files among `inputs` have learnt from.

    redrawn: the model file from which only layers that never learn were taken; it is ignored unless columns are frozen.
    """
    unlearnt = None if any(column.frozen for column in net.spec.columns) else redrawn
    files = [Path(each) for each in inputs if str(each).endswith(".safetensors") and str(each) != unlearnt]
    return frozenset().union(*(learnt_by(load_model(each).provenance).seen for each in files))


def _of_training(net: MultiColumn, batch: int) -> int:
    """Bytes of the gradients, the increments and the copy for writing, and of two mini-batches of windows.

    A step's intermediate results exist only while no picture is in work in this process.
    """
    weights = sum(parameter.nbytes for parameter in net.parameters())
    windows = sum(each.window**2 * 3 for each in net.inputs)
    return 3 * weights + 2 * batch * windows


def _goes_on(out: Path, how: str) -> str:
    return f"; {how}the last checkpoint, {out / CHECKPOINT}" if (out / CHECKPOINT).is_file() else "; there is no checkpoint yet"


def first_process() -> bool:
    """Whether this is the process that prints: the first of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def integers(name: str, text: str) -> tuple[int, ...]:
    """The whole numbers in a text like "64,32". Raises ValueError naming the option."""
    found = numbers(name, text)
    if not all(number.is_integer() for number in found):
        raise ValueError(f"{name} must be whole numbers with commas between them, got {quoted(text)}")
    return tuple(map(int, found))


def numbers(name: str, text: str) -> tuple[float, ...]:
    """The numbers in a text like "1,0.1". Raises ValueError naming the option."""
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValueError(f"{name} must be numbers with commas between them, got {quoted(text)}") from None


def _seen_through(network: networks.Network, views: tuple[str, ...]) -> networks.Network:
    learning = [column for column in network.columns if not column.frozen]
    if len(views) != len(learning):
        raise ValueError(f"views must be one for each of {len(learning)} columns that learn, got {len(views)}")
    left = iter(views)
    columns = tuple(
        column if column.frozen else replace(column, view=next(left))  # type: ignore[arg-type]
        for column in network.columns
    )
    return replace(network, columns=columns)


def _introduce(data: DataSet) -> None:
    val = len(validation_of(data))
    chosen = f", {val:,} to choose the best epoch by" if val else ""
    counts = f"{len(data.train):,} images to train on{chosen}, {len(data.test):,} held out; labels {', '.join(data.labels)}"
    tasks = f"; and attributes {', '.join(data.attributes)}" if data.attributes else ""
    stderr().print(printable(counts + tasks))


def _heading(name: str) -> str:
    return "label NLL" if name == "loss" else name.replace("_", " ")


def _report(outcome: Outcome, out: Path) -> None:
    for key, reason in list(outcome.skipped.items())[:_NAMED]:
        note(f"skipped: {key}: {reason}")
    if len(outcome.skipped) > _NAMED:
        note(f"skipped: {len(outcome.skipped) - _NAMED:,} more; {out / 'skipped.csv'} names all")
    for name, reason in outcome.unwritten.items():
        note(f"error: {out / name} could not be written: {reason}")
    second = [name for name in _SECOND if f"test_{name}" in outcome.history[-1]]
    table = plain_table("epoch", "", "training loss", *(_heading(name) for name in (*_MEASURES, *second)))
    for row, which in ((outcome.best, "best"), (outcome.history[-1], "last")):
        if row is not None:
            cells = (row.get(f"test_{name}") for name in (*_MEASURES, *second))
            table.add_row(str(row["epoch"]), which, f"{row['loss']:.4f}", *("" if c is None else f"{c:.4f}" for c in cells))
    stdout().print(table)
    names = [LAST, LOG, CURVES] if outcome.best is None else [BEST, LAST, LOG, CURVES]
    stdout().print(f"{printable(str(out))}: {', '.join(name for name in names if name not in outcome.unwritten)}")
