"""The paper's experiments, table by table: networks, their training data, and the paper's figures beside the measured ones.

Where the paper is silent, the choice is a field of `Protocol` or in `CHOICES`; both are printed and stored with the results.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dcnn_fast import former, networks
from dcnn_fast.data import Ava, AvaStyle, DataSet, Example, by_category, open_dataset, source_at
from dcnn_fast.data.ava import THRESHOLD
from dcnn_fast.data.names import STYLE_LISTS
from dcnn_fast.data.sets import is_rated, kind_of
from dcnn_fast.evaluation import paper_tables as paper
from dcnn_fast.evaluation.metrics import Measures, measure
from dcnn_fast.evaluation.predict import Predictions, average, predict
from dcnn_fast.evaluation.routing import Predictor, routed
from dcnn_fast.evaluation.table_sets import AESTHETICS, IAD_TEST, SHOWN, STYLE, STYLE_APART, TableSet
from dcnn_fast.evaluation.timing import Timing, kind_of_network
from dcnn_fast.nets import (
    AnyColumn,
    Model,
    MultiColumn,
    build,
    for_another_task,
    freeze,
    import_column,
    is_model_file,
    load_columns,
    load_model,
    shaped_as,
)
from dcnn_fast.training import DivergedError, Settings, train
from dcnn_fast.training.durable_files import put
from dcnn_fast.training.folder import LAST

if TYPE_CHECKING:
    from rich.console import Console

CHOICES = (
    "Weights start normal (He et al.), biases at zero; pixels less the training set's mean per channel, at a sixty-fourth.",
    "Updates: cuda-convnet's, momentum 0.9, weight decay 0.0005, biases at twice the rate; mini-batches of `batch`.",
    "delta keeps training photographs with a mean of exactly 5 - delta and 5 + delta; a mean of exactly 5 is low.",
    "A network is the one after its last epoch: none is chosen by what it does on the test set.",
    "Every network starts from random weights unless its row says otherwise.",
    "RDCNN: the frozen column is trained first on its own task; style columns without photographs of the aesthetics test set.",
    "RDCNN: the aesthetic columns start from random weights; the paper does not say whether its start from those of DCNN.",
    "RDCNN-semantic: an ImageNet network's last maps, then fc256, tuned to the aesthetic labels at a tenth of the rate.",
    "quad-column: each column from its SCNN, the label layer alone is tuned.",
    "adapt: the generic network, trained on for `adapt_epochs` (`adapt_local_epochs` for SCNN local) on the category's",
    "training photographs, which the generic network has seen among all others.",
    "routed: a photograph goes to the adapted DCNN of the category that an SCNN local, trained on categories, names.",
    "IAD: DCNN's columns start from the two SCNNs; tested on `test` where it is given, else on the held-out part.",
    "AP is the average precision of all (photograph, style) pairs together, mAP the mean over styles.",
    "Style: test photographs without any style, never right, are left out of the accuracy and of n, and count in AP and mAP.",
    "Arch 1 to 7 of Tables I and IV, whose tick marks the text lost: 4, 2, 3, 6, 4, 5, 6 convolutions; norms except in Arch 4;",
    "fc1000 and fc256, in Arch 5 fc1000 alone (a line each in dcnn_fast/networks/presets.py).",
)
TABLES = ("table1", "table2", "table3", "table4", "table5", "categories", "iad")
PROTOCOL = "protocol.json"
_WAYS = ("cats", "generic", "adapt")


@former.taking(views="samples", draws="resamples")
@dataclass(frozen=True)
class Protocol:
    """How the experiments of a table are run.

    scale: the share of the training and test photographs to use, a seeded choice. epochs, adapt_epochs: for training and for
    adapting, the latter longer for local views (III-C). plane, window, stride, filters, fc: smaller columns, as in
    `networks.compact`. samples: the number averaged in tests. resamples: of the bootstrap for the intervals. semantic: a file
    of torchvision's weights or a model file, for RDCNN-semantic. test: a folder of AVA, for IAD. kind, images, columns: the
    data set's, as in `data.source_at`. The other fields are as in `Settings`.
    """

    scale: float = 1.0
    epochs: int = 50
    adapt_epochs: int = 10
    adapt_local_epochs: int = 50
    batch: int = 128
    rate: float = 0.001
    schedule: str = "const"
    flip: bool = False
    plane: int | None = None
    window: int | None = None
    stride: int | None = None
    filters: float = 1.0
    fc: tuple[int, ...] = ()
    samples: int = 50
    resamples: int = 200
    seed: int = 0
    semantic: Path | None = None
    test: Path | None = None
    kind: str | None = None
    images: Path | None = None
    columns: tuple[tuple[str, str], ...] = ()
    device: str = "cpu"
    workers: int = 0
    cache: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.scale <= 1:
            raise ValueError(f"scale must lie above 0 and be at most 1, got {self.scale}")


class OfCategory(NamedTuple):
    """A row of the table "categories": the photographs' category, the network, and how it was trained for them."""

    category: str
    method: str
    way: str


@dataclass(frozen=True)
class Row:
    """One line of a table. paper: its figures in per cent by name, None where it has none. measured: ours, likewise, with the
    majority's accuracy; empty if the row was skipped, and `skipped` is the reason. interval: the 95 % interval of the accuracy.
    count: the labelled test photographs. unlabelled: the number of test photographs without a label. of_category: of the table
    "categories", the row's category, method and way.
    """

    name: str
    paper: Mapping[str, float | None]
    measured: Mapping[str, float] = dataclasses.field(default_factory=dict)
    majority: float | None = None
    interval: tuple[float, float] | None = None
    count: int = 0
    skipped: str = ""
    unlabelled: int = 0
    of_category: OfCategory | None = None


class ImpossibleError(Exception):
    """The data set does not allow an experiment; the message says why."""


def _warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=2)


def reproduce(
    table: str,
    path: Path,
    out: Path,
    protocol: Protocol | None = None,
    *,
    report: Callable[[str], None] = lambda text: None,
    warn: Callable[[str], None] = _warn,
    progress: Console | bool = True,
    timed: Callable[[Timing], None] = lambda timing: None,
) -> Iterator[Row]:
    """Yield the rows of a table as they are measured.

    path: the data set (`data.source_at`). out: a folder for the runs; finished runs there are not trained again, interrupted
    ones are resumed. report: called with the run about to be trained. warn: called for a file that cannot be written. progress:
    as in `train`. timed: called with the time of each network's training and test. Raises ValueError for an unknown table, or
    where `out` has runs of another protocol or anything else.
    """
    if table not in TABLES:
        raise ValueError(f"table must be one of {', '.join(TABLES)}; got {table!r}")
    experiments = Experiments(path, out, protocol or Protocol(), report, warn, progress)
    experiments.timed = timed
    rows = getattr(experiments, table)
    for row, figures, run in rows():
        of_category = row if isinstance(row, OfCategory) else None
        name = row if isinstance(row, str) else ", ".join(row)
        try:
            found = run()
        except (ImpossibleError, DivergedError) as reason:
            experiments.keep_protocol()
            yield Row(name, figures, skipped=str(reason), of_category=of_category)
            continue
        measures = measure(found, resamples=experiments.protocol.resamples)
        values = {"accuracy": measures.accuracy, "mAP": measures.macro_map, "AP": measures.micro_map}
        measured = {key: round(100 * values[key], 2) for key in figures}
        if measures.auc is not None:
            measured |= {"balanced": round(100 * measures.balanced_accuracy, 2), "AUC": round(100 * measures.auc, 2)}
        low, high = (round(100 * bound, 2) for bound in measures.intervals.get("accuracy", (math.nan, math.nan)))
        majority = round(100 * measures.majority, 2)
        yield Row(
            name, figures, measured, majority, (low, high), measures.count, unlabelled=measures.unlabelled,
            of_category=of_category,
        )  # fmt: skip


Runs = Iterator[tuple[str | OfCategory, Mapping[str, float | None], Callable[[], Predictions]]]


class Experiments:
    """Networks by architecture and training data, each trained once."""

    def __init__(
        self, path: Path, out: Path, protocol: Protocol, report: Callable[[str], None], warn: Callable[[str], None],
        progress: Console | bool,
    ) -> None:  # fmt: skip
        self.path, self.out, self.protocol, self.report, self.warn = path, out, protocol, report, warn
        self.progress = progress
        self.timed: Callable[[Timing], None] = lambda timing: None
        self._require_inputs()
        self._require_own_folder()
        self.kind = self.protocol.kind or kind_of(path)
        self._semantic = _semantic(protocol.semantic, protocol.seed) if protocol.semantic else None
        self._sets: dict[TableSet, DataSet] = {}
        self._finished: set[Path] = set()
        self._measured: dict[tuple[str, TableSet], Predictions] = {}
        self._protocol = self._same_protocol()

    def table1(self) -> Runs:
        for number, accuracy in paper.TABLE_1.items():
            network = networks.preset(f"scnn-arch{number}")
            yield f"Arch {number}", {"accuracy": accuracy}, lambda n=network: self._tested(self._trained(n), AESTHETICS)  # type: ignore[misc]

    def table2(self) -> Runs:
        for (delta, view), accuracy in paper.TABLE_2.items():
            name = f"{paper.VIEWS[view]} ({view}), delta {delta}"
            yield name, {"accuracy": accuracy}, lambda d=delta, v=view: self._scnn(v, d)  # type: ignore[misc]

    def table3(self) -> Runs:
        for (method, delta), accuracy in paper.TABLE_3.items():
            yield f"{method}, delta {delta}", {"accuracy": accuracy}, lambda m=method, d=delta: self._method(m, d)  # type: ignore[misc]

    def table4(self) -> Runs:
        for number, (mean, accuracy) in paper.TABLE_4.items():
            network = networks.preset(f"style-scnn-arch{number}")
            figures = {"mAP": mean, "accuracy": accuracy}
            yield f"Arch {number}", figures, lambda n=network: self._tested(self._trained(n, STYLE), STYLE)  # type: ignore[misc]

    def table5(self) -> Runs:
        for view, (precision, mean, accuracy) in paper.TABLE_5.items():
            network = _seen(networks.preset("style-scnn"), (view,))  # type: ignore[arg-type]
            figures = {"AP": precision, "mAP": mean, "accuracy": accuracy}
            name = f"{paper.VIEWS[view]} ({view})"
            yield name, figures, lambda n=network: self._tested(self._trained(n, STYLE), STYLE)  # type: ignore[misc]

    def categories(self) -> Runs:
        for category in self._categories():
            for method in _METHODS:
                for way in _WAYS:
                    run = lambda c=category, m=method, w=way: self._in_category(c, m, w)  # noqa: E731
                    yield OfCategory(category, method, way), {"accuracy": None}, run
        yield "all, DCNN, routed", {"accuracy": None}, self._routed

    def iad(self) -> Runs:
        if self.kind != "iad":
            raise ValueError(f"path must be a set of kind iad for this table, got {self.kind}")
        for (method, variant), accuracy in paper.IAD.items():
            yield f"{method}, {variant}", {"accuracy": accuracy}, lambda m=method, v=variant: self._of_iad(m, v)  # type: ignore[misc]

    def _scnn(self, view: str, delta: int) -> Predictions:
        return self._tested(self._trained(_seen(networks.preset("scnn"), (view,)), TableSet(delta=delta)), AESTHETICS)  # type: ignore[arg-type]

    def _method(self, method: str, delta: int) -> Predictions:
        if method == "SCNN":
            return self._scnn("local", delta)
        if method == "AVG_SCNN":
            return average([self._scnn(view, delta) for view in ("local", "warp")])
        by_method = {
            "DCNN": self._dcnn, "DCNN local+center": lambda d: self._dcnn(d, "center"),
            "DCNN local+pad": lambda d: self._dcnn(d, "pad"), "quad-column": self._quad, "RDCNN-style": self._rdcnn_style,
            "RDCNN-semantic": self._rdcnn_semantic,
        }  # fmt: skip
        return self._tested(by_method[method](delta), AESTHETICS)

    def _dcnn(self, delta: int, view: networks.View = "warp") -> Model:
        return self._trained(_seen(networks.preset("dcnn"), ("local", view)), TableSet(delta=delta))

    def _quad(self, delta: int) -> Model:
        network = networks.preset("quad")
        columns = {
            number: self._trained(_seen(networks.preset("scnn"), (column.view,)), TableSet(delta=delta))
            for number, column in enumerate(network.columns)
        }
        return self._trained(network, TableSet(delta=delta), columns, tune="label")

    def _rdcnn_style(self, delta: int) -> Model:
        style = self._trained(networks.preset("style-scnn"), STYLE_APART)
        return self._trained(networks.preset("rdcnn-style"), TableSet(delta=delta), {2: style})

    def _rdcnn_semantic(self, delta: int) -> Model:
        if self._semantic is None:
            raise ImpossibleError("needs the weights of an ImageNet network (semantic)")
        learns = TableSet(delta=delta)
        alone = for_another_task([self._semantic], labels=self._data(learns).labels, seed=self.protocol.seed)
        tuned = self._run(f"semantic {learns}", alone.net, learns, column_rates=(0.1,), mean="spec")
        return self._trained(networks.preset("rdcnn-semantic"), learns, {2: tuned})

    def _in_category(self, category: str, method: str, way: str) -> Predictions:
        learns = TableSet("category", category=category)
        if way == "adapt":
            return self._tested(self._adapted(category, method), learns)
        return self._tested(self._trained(_METHODS[method], learns if way == "cats" else AESTHETICS), learns)

    def _adapted(self, category: str, method: str) -> Model:
        generic, learns = self._trained(_METHODS[method]), TableSet("category", category=category)
        epochs = self.protocol.adapt_local_epochs if method == "SCNN local" else self.protocol.adapt_epochs
        return self._run(f"{method} adapted to {category}", generic.net, learns, epochs=epochs, mean="spec")

    def _routed(self) -> Predictions:
        """Predictions for photographs of unknown category, each by the adapted network of its predicted category."""
        if len(self._categories()) < 2:
            raise ImpossibleError("needs photographs of at least two categories")
        shown = self._tested(self._trained(replace(networks.preset("scnn"), name="category"), SHOWN), SHOWN)

        def of(category: str) -> Predictor:
            model = self._adapted(category, "DCNN")
            return lambda examples: self._predicted(model, examples)

        return routed(shown, self._data(AESTHETICS).test, of)

    def _predicted(self, model: Model, examples: Sequence[Example]) -> Predictions:
        return predict(model, examples, samples=self.protocol.samples, seed=self.protocol.seed)

    def _of_iad(self, method: str, variant: str) -> Predictions:
        of_view = {
            view: self._trained(replace(_alexnet(view), name=f"alexnet-{view}"), TableSet("iad", variant=variant))
            for view in (("local", "warp") if method == "DCNN" else (method.removeprefix("SCNN "),))
        }
        if method != "DCNN":
            (model,) = of_view.values()
            return self._tested(model, IAD_TEST)
        start = {0: of_view["local"], 1: of_view["warp"]}
        learns = TableSet("iad", variant=variant)
        return self._tested(self._trained(networks.preset("alexnet-dcnn"), learns, start), IAD_TEST)

    def _trained(
        self, network: networks.Network, learns: TableSet = AESTHETICS, start: Mapping[int, Model] | None = None, *,
        tune: str = "all",
    ) -> Model:  # fmt: skip
        """The network after its training, from `start`'s columns where given."""
        start = start or {}
        network = replace(shaped_as(self._compact(network), start), labels=self._data(learns).labels)
        net = load_columns(build(network, seed=self.protocol.seed), start)
        views = "+".join(column.view for column in network.columns)
        return self._run(f"{network.name} {views} {learns}", net, learns, tune=tune)

    def folder(self, name: str) -> Path:
        """The folder of the run with this name."""
        return self.out / "".join(c if c.isalnum() or c in "-+" else "-" for c in name)

    def sets(self) -> Mapping[TableSet, DataSet]:
        """The opened data sets, by the task learnt from them."""
        return self._sets

    def _run(self, name: str, net: MultiColumn, learns: TableSet, *, epochs: int | None = None, **options: Any) -> Model:
        """Train `net`, resume its interrupted training, or load it where it is trained."""
        folder = self.folder(name)
        if folder not in self._finished:
            data = self._data(learns)
            self.report(name)
            self.keep_protocol()
            protocol = self.protocol
            settings = Settings(
                epochs=epochs or protocol.epochs, batch=protocol.batch, rate=protocol.rate, bias_rate=2 * protocol.rate,
                schedule=protocol.schedule, flip=protocol.flip, evaluate_every=0, seed=protocol.seed, **options,
            )  # fmt: skip
            outcome = train(  # a finished run is recognised, and refused where the data have changed
                net, data, settings, folder, resume=True, device=protocol.device, workers=protocol.workers,
                cache=protocol.cache, progress=self.progress, origin=Model(net).digest[:12], warn=self.warn,
            )  # fmt: skip
            if LAST in outcome.unwritten:
                raise ImpossibleError(f"{folder / LAST} could not be written: {outcome.unwritten[LAST]}")
            self._finished.add(folder)
            times = [row["seconds"] for row in outcome.history if "seconds" in row]
            if len(times) == len(outcome.history):  # a resumed run may have lost the times of its first epochs
                self.timed(Timing(name, kind_of_network(net.spec, learns), training=sum(times)))
        model = load_model(folder / LAST)
        kind = kind_of_network(net.spec, learns)
        frozen = [number for number, column in enumerate(net.spec.columns) if column.frozen]
        return Model(freeze(model.net, frozen), {**model.provenance, "run": str(folder), "called": name, "kind": kind})

    def _tested(self, model: Model, on: TableSet) -> Predictions:
        key = str(model.provenance["run"]), on
        if key not in self._measured:
            started, examples = time.monotonic(), self._data(on).test
            self._measured[key] = self._predicted(model, examples)
            each = (time.monotonic() - started) / (len(examples) * self.protocol.samples)
            self.timed(Timing(str(model.provenance["called"]), str(model.provenance["kind"]), window=each))
        return self._measured[key]

    def _compact(self, network: networks.Network) -> networks.Network:
        p = self.protocol
        fc = p.fc[: len(network.columns[0].fc)]  # Arch 5 has one layer, whatever the number of sizes given
        return networks.compact(network, plane=p.plane, window=p.window, stride=p.stride, filters=p.filters, fc=fc)

    def _data(self, wanted: TableSet) -> DataSet:
        if wanted not in self._sets:
            self._sets[wanted] = _scaled(self._loaded(wanted), self.protocol.scale, self.protocol.seed)
        return self._sets[wanted]

    def _loaded(self, wanted: TableSet) -> DataSet:
        images = self.protocol.images
        if wanted.task == "style":
            if self.kind != "ava" or not (self.path / STYLE_LISTS).is_dir():
                raise ImpossibleError("needs AVA's style lists")
            return open_dataset(AvaStyle(self.path, exclude_test_overlap=wanted.is_apart, images=images))
        if wanted.task == "category" and self.kind == "ava":
            return open_dataset(Ava(self.path, category=wanted.category, images=images))
        if wanted.task == "category":
            return _filtered(self._data(AESTHETICS), lambda example: example.category == wanted.category)
        if wanted.task == "shown":
            return by_category(self._data(AESTHETICS))
        if wanted.is_test and self.protocol.test is not None:
            rated = is_rated(self.protocol.test, None, None)  # AVA's threshold, as the paper tests on AVA
            return open_dataset(source_at(self.protocol.test, unsplit="test", threshold=THRESHOLD if rated else None))
        if wanted.delta and self.kind != "ava":
            raise ImpossibleError("needs AVA's ratings, around whose middle delta lies")
        columns = dict(self.protocol.columns) or None if self.kind in ("csv", "iad") else None
        images = None if self.kind == "folders" else images
        delta, variant = float(wanted.delta), wanted.variant
        return open_dataset(source_at(self.path, self.kind, images=images, columns=columns, delta=delta, variant=variant))

    def _categories(self) -> Sequence[str]:
        return self._data(AESTHETICS).categories

    def _require_inputs(self) -> None:
        """Check inputs before anything is trained, not days later."""
        for name, path in (("data", self.path), ("test", self.protocol.test), ("images", self.protocol.images)):
            if path is not None and not path.exists():
                raise ValueError(f"{name} must be there, got {path}")

    def _same_protocol(self) -> str:
        """The protocol as stored with the runs, so that another protocol's runs are not mistaken for this one's."""
        now = {"data": str(self.path), **dataclasses.asdict(self.protocol)}
        for free in ("device", "workers", "cache", "samples", "resamples"):
            now.pop(free)
        text = json.dumps(now, default=str, indent=1)
        kept = self.out / PROTOCOL
        if kept.is_file():
            try:
                before = json.loads(kept.read_text(encoding="utf-8"))
                differing = [key for key, value in json.loads(text).items() if not _same(key, before.get(key), value)]
            except (ValueError, AttributeError):
                raise ValueError(f"{kept}: must be a protocol that this program wrote") from None
            if differing:
                raise ValueError(
                    f"out must be a new folder or one of the same protocol, got {self.out}, where {differing} differ"
                )
        return text

    def keep_protocol(self) -> None:
        """Write the protocol into `out`, which marks it as a folder of such runs."""
        self.out.mkdir(parents=True, exist_ok=True)

        def write(partial: Path) -> None:
            partial.write_text(self._protocol, encoding="utf-8")

        put(self.out / PROTOCOL, write)

    def _require_own_folder(self) -> None:
        if (self.out / PROTOCOL).is_file() or not self.out.is_dir():
            return
        for entry in sorted(self.out.iterdir()):
            if not entry.name.startswith("."):
                raise ValueError(
                    f"out must be a new or an empty folder, or one of such runs, got {self.out}: it holds {entry.name} and no "
                    f"{PROTOCOL}"
                )


def _same(key: str, before: Any, now: Any) -> bool:
    """Whether a field of two protocols is equal; paths are compared resolved, not as typed."""
    if key in ("data", "images", "test", "semantic") and isinstance(before, str) and isinstance(now, str):
        return os.path.realpath(before) == os.path.realpath(now)
    return bool(before == now)


def summary(table: str, rows: Sequence[Row], protocol: Protocol, times: Sequence[Timing] = ()) -> dict[str, Any]:
    """A JSON-ready dict, schema "table.v1.json": rows, protocol, choices where the paper is silent, seconds."""
    return {
        "dcnn_fast_table": 1, "table": table, "rows": [_plain(row) for row in rows],
        "protocol": json.loads(json.dumps(dataclasses.asdict(protocol), default=str)), "choices": list(CHOICES),
        "times": [dataclasses.asdict(timing) for timing in times],
    }  # fmt: skip


def _plain(row: Row) -> dict[str, Any]:
    """The row for JSON; its name says all that `of_category` does."""
    return {name: value for name, value in dataclasses.asdict(row).items() if name != "of_category"}


def category_bars(rows: Sequence[Row]) -> dict[tuple[str, str, str], tuple[float, float]]:
    """The accuracy and the majority's in per cent, by category, method and way, from the table "categories"."""
    return {
        row.of_category: (row.measured["accuracy"], row.majority)
        for row in rows
        if row.of_category is not None and row.majority is not None
    }


def _filtered(data: DataSet, wanted: Callable[[Example], bool]) -> DataSet:
    train, val, test = (tuple(filter(wanted, part)) for part in (data.train, data.val, data.test))
    return replace(data, train=train, val=val, test=test)


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a table in Markdown, in per cent."""
    figures = list(dict.fromkeys(figure for row in rows for figure in row.paper))
    head = ["", "n", *(f"{figure}, {who}" for figure in figures for who in ("paper", "here")), "interval", "majority"]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        pairs = [(row.paper.get(figure), row.measured.get(figure)) for figure in figures]
        interval = "" if row.interval is None else f"{row.interval[0]:.2f} to {row.interval[1]:.2f}"
        cells = [_text(value) for pair in pairs for value in pair]
        name = (row.name + (f" (skipped: {row.skipped})" if row.skipped else "")).replace("|", "\\|")  # a category's bar
        lines.append([name, count_text(row), *cells, interval, _text(row.majority)])
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def count_text(row: Row) -> str:
    """The numbers of a row's labelled and unlabelled photographs as text."""
    return f"{row.count} (+ {row.unlabelled} unlabelled)" if row.unlabelled else str(row.count)


def csv_text(rows: Sequence[Row]) -> str:
    """The rows as a CSV: a line for each figure of each row, in per cent; `here` is empty where a row was skipped."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["row", "n", "figure", "paper", "here", "majority", "low", "high", "skipped", "unlabelled"])
    for row in rows:
        for figure in dict.fromkeys([*row.paper, *row.measured]):
            bounds = row.interval if figure == "accuracy" and row.interval is not None else (None, None)
            values = (row.paper.get(figure), row.measured.get(figure), row.majority, *bounds)
            writer.writerow([row.name, row.count, figure, *map(_text, values), row.skipped, row.unlabelled])
    return buffer.getvalue()


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _alexnet(view: str) -> networks.Network:
    return _seen(networks.preset("alexnet"), (view,))  # type: ignore[arg-type]


def _semantic(path: Path, seed: int) -> AnyColumn:
    """ImageNet weights with a layer of 256 on top, or the first column of a model file, unchanged."""
    if is_model_file(path):
        column = load_model(path).net.columns[0]
        assert isinstance(column, AnyColumn)
        return column
    return import_column(path, seed=seed)


def _seen(network: networks.Network, views: tuple[networks.View, ...]) -> networks.Network:
    """The network with other views."""
    columns = tuple(replace(column, view=view) for column, view in zip(network.columns, views, strict=True))
    return replace(network, columns=columns)


_METHODS = {  # the methods of Fig. 9
    "SCNN local": _seen(networks.preset("scnn"), ("local",)),
    "SCNN warp": _seen(networks.preset("scnn"), ("warp",)),
    "DCNN": networks.preset("dcnn"),
}


def _scaled(data: DataSet, scale: float, seed: int) -> DataSet:
    """A seeded choice of a share of both parts, with at least two of each label in each category where there are that many."""
    if scale == 1:
        return data
    rng = np.random.default_rng(seed)

    def chosen(examples: Sequence[Any]) -> tuple[Any, ...]:
        taken: set[int] = set()
        for key in sorted({(example.label, example.category) for example in examples}):
            rows = [i for i, example in enumerate(examples) if (example.label, example.category) == key]
            taken.update(rng.permutation(rows)[: max(2, round(scale * len(rows)))].tolist())
        return tuple(example for i, example in enumerate(examples) if i in taken)

    return replace(data, train=chosen(data.train), val=chosen(data.val), test=chosen(data.test))


__all__ = [
    "CHOICES", "TABLES", "Experiments", "ImpossibleError", "Measures", "Protocol", "Row", "category_bars", "count_text",
    "csv_text", "markdown", "reproduce", "summary",
]  # fmt: skip
