"""What `dcnn-fast evaluate` does with its options."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

from rich.progress import Progress

from dcnn_fast.cli.console import fail, plain_table, printable, stderr, stdout
from dcnn_fast.data import DataSet, Example
from dcnn_fast.evaluation import AVERAGE_PRECISIONS, Measures, Predictions, average, measure, predict, routed
from dcnn_fast.evaluation.routing import Predictor
from dcnn_fast.nets import Model, ModelError, load_model, second_task
from dcnn_fast.viz.files import safe
from dcnn_fast.viz.filters import save_filters
from dcnn_fast.viz.grid import Row, grid
from dcnn_fast.viz.rankings import best_and_worst, best_by_category, right_where_wrong, save_distributions

PARTS = ("test", "train", "all")
_WIDEST = 8  # labels whose confusions are printed; --json has them all
AVERAGE, ROUTED = "average", "routed"
_SHOWN = (
    ("accuracy", "accuracy"), ("majority", "majority"), ("balanced_accuracy", "balanced"), ("auc", "AUC"), ("srcc", "SRCC"),
    ("plcc", "PLCC"), ("krcc", "KRCC"), ("macro_map", "mAP"), ("micro_map", "micro AP"),
)  # fmt: skip


@dataclass(frozen=True)
class EvaluateOptions:
    """The options of the command."""

    models: tuple[str, ...]
    part: str = "test"
    average: bool = False
    views: int = 50
    grid: int = 1
    seed: int = 0
    device: str = "auto"
    ap: str = "plain"
    draws: int = 1000
    route: Path | None = None
    csv: Path | None = None
    json: Path | None = None
    pictures: Path | None = None


def run(options: EvaluateOptions, data: DataSet) -> int:
    """The whole command; returns its exit status."""
    if not options.models:
        fail("there must be at least one model file before the data set")
    if options.part not in PARTS:
        fail(f"--split must be one of {', '.join(PARTS)}; got {options.part!r}")
    if options.ap not in AVERAGE_PRECISIONS:
        fail(f"--ap must be one of {', '.join(AVERAGE_PRECISIONS)}; got {options.ap!r}")
    _require_folders(options)
    examples = {"test": data.test, "train": data.train, "all": (*data.train, *data.test)}[options.part]
    if not examples:
        fail(f"the {options.part} part of the set has no photographs")
    try:
        models = {name: _model(path, data) for name, path in _names(options).items()}
        classifier = None if options.route is None else load_model(options.route)
        found = _predictions(options, models, classifier, examples)
        measures = {name: measure(each, ap=options.ap, draws=options.draws) for name, each in found.items()}
    except (ModelError, ValueError, OSError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("interrupted", 130)
    _print(found, measures)
    errors = {key: reason for each in found.values() for key, reason in each.errors.items()}
    for key, reason in errors.items():
        stderr().print(f"unreadable: {printable(key)}: {reason}", markup=False)
    try:
        if options.csv is not None:
            _write_csv(options.csv, found)
        if options.json is not None:
            options.json.write_text(json.dumps(_summary(options, found, measures), indent=1) + "\n")
        if options.pictures is not None:
            _write_pictures(options.pictures, models, found)
    except OSError as error:
        fail(str(error))
    return 1 if errors else 0


def _require_folders(options: EvaluateOptions) -> None:
    """Said before the photographs are predicted, not after."""
    for path in (options.csv, options.json):
        if path is not None and not path.parent.is_dir():
            fail(f"{path}: its folder must exist")


def _names(options: EvaluateOptions) -> dict[str, Path]:
    """The model files by name: that of NAME=FILE, else the file's own, or with its folder where two are the same
    (best.safetensors of two runs)."""
    texts = options.models
    pairs = [text.split("=", 1) if "=" in text and not Path(text).exists() else ("", text) for text in texts]
    paths = [Path(path) for _, path in pairs]
    for short in (lambda path: path.stem, lambda path: f"{path.parent.name}/{path.stem}", str):
        names = [given or str(short(path)) for (given, _), path in zip(pairs, paths, strict=True)]
        for name, wanted in ((AVERAGE, options.average), (ROUTED, options.route)):
            if wanted and name in names:
                raise ValueError(f"no model may be called {name} beside the row of that name")
        if len(set(names)) == len(paths) and not {"best", "last"} & set(names):
            return dict(zip(names, paths, strict=True))
    raise ValueError(f"models must differ in their names, got {', '.join(texts)}")


def _model(path: Path, data: DataSet) -> Model:
    model = load_model(path)
    if model.spec.attributes == data.labels:
        return second_task(model)
    if model.spec.labels != data.labels:
        raise ValueError(f"{path}: labels must be the data's, {', '.join(data.labels)}; got {', '.join(model.spec.labels)}")
    return model


def _predictions(
    options: EvaluateOptions, models: Mapping[str, Model], classifier: Model | None, examples: Sequence[Example]
) -> dict[str, Predictions]:
    with Progress(console=stderr(), transient=True) as bar:

        def predicted(name: str, model: Model) -> Predictions:
            task = bar.add_task(name, total=len(examples))
            return predict(
                model, examples, views=options.views, grid=options.grid, seed=options.seed, device=options.device,
                advance=lambda: bar.advance(task),
            )  # fmt: skip

        found = {name: predicted(name, model) for name, model in models.items()}
        more = {AVERAGE: average(list(found.values()))} if options.average else {}
        if classifier is not None:
            more[ROUTED] = _routed(predicted("categories", classifier), found)
    return {**found, **more}


def _routed(categories: Predictions, found: Mapping[str, Predictions]) -> Predictions:
    """Each photograph as the model called its category, or else the first one, has it."""
    generic = next(iter(found.values()))

    def predictor(category: str) -> Predictor:
        model = found.get(category, generic)
        rows = {example.key: i for i, example in enumerate(model.examples)}
        return lambda examples: model.of([rows[example.key] for example in examples if example.key in rows])

    return routed(categories, generic.examples, predictor)


def _print(found: Mapping[str, Predictions], measures: Mapping[str, Measures]) -> None:
    out = stdout()
    table = plain_table("model", "n", *(title for _, title in _SHOWN))
    for name, each in measures.items():
        table.add_row(name, str(each.count), *(_number(each, key) for key, _ in _SHOWN))
    out.print(table)
    first = next(iter(measures.values()))
    if first.unlabelled:
        out.print(f"{first.unlabelled} photographs have no label: they count in average precisions alone")
    _print_categories(found)
    for name, each in measures.items():
        labels = found[name].labels
        called = labels if len(labels) <= _WIDEST else ()
        table = plain_table(name, "", *(f"called {label}" for label in called), "average precision")
        for label, row in zip(labels, each.confusion, strict=True):
            precision = each.average_precision.get(label)
            cells = [*map(str, row[: len(called)]), "" if precision is None else f"{precision:.4f}"]
            table.add_row(f"is {label}", "", *cells)
        out.print(table)


def _number(each: Measures, key: str) -> str:
    value = getattr(each, key)
    if value is None:
        return ""
    interval = each.intervals.get(key)
    return f"{value:.4f}" if interval is None else f"{value:.4f} ({interval[0]:.3f} to {interval[1]:.3f})"


def _print_categories(found: Mapping[str, Predictions]) -> None:
    first = next(iter(found.values()))
    categories = sorted({example.category for example in first.examples if example.label >= 0} - {""})
    if not categories:
        return
    table = plain_table("category", "n", "majority", *found)
    for category in categories:
        parts = [
            each.of([i for i, e in enumerate(each.examples) if e.category == category and e.label >= 0])
            for each in found.values()
        ]
        one = measure(parts[0])
        table.add_row(category, str(one.count), f"{one.majority:.4f}", *(f"{part.right.mean():.4f}" for part in parts))
    stdout().print(table)


def _write_csv(path: Path, found: Mapping[str, Predictions]) -> None:
    labels = next(iter(found.values())).labels
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            [
                "model",
                "key",
                "true",
                "named",
                "right",
                *(f"p_{label}" for label in labels),
                "std",
                "rating",
                "category",
                "error",
            ]
        )
        for name, each in found.items():
            rows = zip(each.examples, each.truth, each.named, each.right, each.probs, each.spread, strict=True)
            for example, truth, named, right, probs, spread in rows:
                numbers = [*(f"{p:.6f}" for p in probs), "" if math.isnan(spread) else f"{spread:.6f}"]
                rating = "" if math.isnan(example.rating) else f"{example.rating:g}"
                true = "+".join(labels[label] for label in truth)
                writer.writerow([name, example.key, true, labels[named], int(right), *numbers, rating, example.category, ""])
            for key, reason in each.errors.items():
                writer.writerow([name, key, *[""] * (len(labels) + 6), reason])


def _summary(options: EvaluateOptions, found: Mapping[str, Predictions], measures: Mapping[str, Measures]) -> dict[str, object]:
    return {
        "views": options.views, "grid": options.grid, "seed": options.seed, "split": options.part, "ap": options.ap,
        "labels": list(next(iter(found.values())).labels),
        "models": {name: {**each.to_dict(), "unreadable": len(found[name].errors)} for name, each in measures.items()},
    }  # fmt: skip


def _write_pictures(folder: Path, models: Mapping[str, Model], found: Mapping[str, Predictions]) -> None:
    """Filters of each column, rankings of each model, comparisons of each two, and the distributions."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, model in models.items():
        save_filters(model, folder, name)
    for name, each in found.items():
        _save(best_and_worst(each), folder / f"ranked-{safe(name)}.jpg")
        _save(best_by_category(each), folder / f"categories-{safe(name)}.jpg")
        save_distributions(each, folder / f"distribution-{safe(name)}.png")
    for one, other in permutations(found, 2):
        rows = right_where_wrong(found[one], found[other], (one, other))
        _save(rows, folder / f"{safe(one)}-beats-{safe(other)}.jpg")


def _save(rows: Sequence[Row], path: Path) -> None:
    if any(row.photographs for row in rows):
        grid(rows).save(path)
