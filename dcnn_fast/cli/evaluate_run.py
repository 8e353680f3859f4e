"""What `dcnn-fast evaluate` does with its options."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from dcnn_fast.cli import sets
from dcnn_fast.cli.console import StreamError, fail, note, plain_table, stderr, stdout
from dcnn_fast.cli.evaluate import EvaluateOptions
from dcnn_fast.cli.evaluate_pictures import drawings, picture_files
from dcnn_fast.cli.evaluate_set import measured_on
from dcnn_fast.cli.formulas import as_text
from dcnn_fast.cli.input_files import model_named, require_file
from dcnn_fast.cli.max_memory import limit_memory
from dcnn_fast.cli.prediction_rows import PREDICTIONS, prediction_rows
from dcnn_fast.cli.stopping import Stop
from dcnn_fast.cli.targets import Kind, Target, TargetError, Wanted, reserve
from dcnn_fast.cli.writing import picture_failed, picture_targets, write_failed
from dcnn_fast.data import DataSet, Example
from dcnn_fast.engine import EngineError
from dcnn_fast.evaluation import AVERAGE_PRECISIONS, Measures, Predictions, average, measure, predict, routed
from dcnn_fast.evaluation.from_file import read_predictions
from dcnn_fast.evaluation.histograms import for_labels, why_no_emd
from dcnn_fast.evaluation.routing import Predictor
from dcnn_fast.nets import Model, ModelError, load_model
from dcnn_fast.networks import Network
from dcnn_fast.ops.backend import BackendError
from dcnn_fast.printable import printable

_WIDEST = 8  # number of labels whose confusions are printed; --json has them all
AVERAGE, ROUTED = "average", "routed"
_CATEGORIES = "categories"
_SHOWN = (
    ("accuracy", "accuracy"), ("majority", "majority"), ("balanced_accuracy", "balanced"), ("auc", "AUC"), ("srcc", "SRCC"),
    ("plcc", "PLCC"), ("krcc", "KRCC"), ("emd", "EMD"), ("macro_map", "mAP"), ("micro_map", "micro AP"),
)  # fmt: skip


def run(options: EvaluateOptions) -> int:
    """Run the command; returns its exit status."""
    with Stop() as stop:
        try:
            return _run(options)
        except StreamError:
            raise
        except (ModelError, BackendError, EngineError, ValueError, OSError) as error:
            fail(str(error))
        except MemoryError:
            fail("there is not enough memory to go on", status=1)
        except KeyboardInterrupt:
            note("interrupted")
            return stop.status


def _run(options: EvaluateOptions) -> int:
    measuring = options.measuring
    route = [] if measuring.route is None else [measuring.route]
    if not options.models and not measuring.predictions:
        raise ValueError("there must be at least one model file before the data set, or --predictions")
    if measuring.route is not None and not options.models:
        raise ValueError("--route must have models to choose from, got none")
    if measuring.ap not in AVERAGE_PRECISIONS:
        raise ValueError(f"--ap must be one of {', '.join(AVERAGE_PRECISIONS)}; got {measuring.ap!r}")
    files, stated = _names(options), _stated(measuring.predictions)
    for path in (*files.values(), *(path for _, path in stated), *route):
        require_file(path)
    chosen = measured_on(options.data, options.source, {name: load_model(path) for name, path in files.items()})
    sets.tell(chosen.data)
    for each in chosen.notes:
        note(f"note: {each}")
    data, models, examples = chosen.data, chosen.models, chosen.examples
    classifier = None if measuring.route is None else load_model(measuring.route)
    read_ones = _read(stated, data, examples, models)
    inputs = [*files.values(), *(path for _, path in stated), options.data, *route]
    with reserve(_tables(options), inputs=inputs, overwrite=options.written.overwrite) as tables:
        rows = [*models, *read_ones, *([AVERAGE] if measuring.average else []), *(ROUTED for _ in route)]
        pictures = _picture_targets(options, data, {name: model.spec for name, model in models.items()}, rows)
        limit_memory(options.scoring.max_memory, None)
        found = _predictions(options, models, read_ones, classifier, data, examples)
        measures = {name: measure(each, ap=measuring.ap, resamples=measuring.resamples) for name, each in found.items()}
        failed = [
            write_failed(
                table,
                prediction_rows(found, as_text if options.written.csv_for_spreadsheets else str)
                if table.option == "--csv"
                else _json(options, found, measures),
            )
            for table in tables
        ]  # fmt: skip
        failed += [picture_failed(pictures[name], draw) for name, draw in drawings(models, found).items() if name in pictures]
    errors = {key: reason for each in found.values() for key, reason in each.errors.items()}
    for key, reason in errors.items():
        note(f"unreadable: {key}: {reason}")
    _print(stderr() if any(table.is_standard_output for table in tables) else stdout(), found, measures)
    return 3 if any(failed) else int(bool(errors))


def _tables(options: EvaluateOptions) -> list[Wanted]:
    named = (("--csv", options.written.csv, PREDICTIONS), ("--json", options.written.json, _MEASURES))
    return [Wanted(option, path, kind) for option, path, kind in named if path is not None]


def _picture_targets(
    options: EvaluateOptions, data: DataSet, models: Mapping[str, Network], rows: Sequence[str]
) -> dict[str, Target]:
    """The pictures' targets by name. Raises ValueError for a folder of the set's photographs."""
    folder = options.written.pictures
    if folder is None:
        return {}
    here = os.path.realpath(folder)
    photographs = {os.path.dirname(e.source) for e in data.examples if isinstance(e.source, str)}
    if here in map(os.path.realpath, photographs):
        raise TargetError(f"--pictures: {folder} holds photographs of the set, which pictures would be taken for")
    labels = os.path.realpath(options.data)
    if os.path.isdir(labels) and not os.path.isfile(os.path.join(labels, "AVA.txt")) and Path(here).is_relative_to(labels):
        raise TargetError(f"--pictures: {folder} is in the set, {options.data}, whose folders are labels")
    return picture_targets("--pictures", folder, picture_files(models, rows), overwrite=options.written.overwrite)


def _names(options: EvaluateOptions) -> dict[str, Path]:
    """The model files by name: NAME of NAME=FILE, otherwise the file's stem, with its folder where stems are equal
    (best.safetensors of two runs)."""
    texts = options.models
    pairs = [text.split("=", 1) if "=" in text and not Path(text).exists() else ("", text) for text in texts]
    paths = [model_named(Path(path)) for _, path in pairs]
    for short in (lambda path: path.stem, lambda path: f"{path.parent.name}/{path.stem}", str):
        names = [given or str(short(path)) for (given, _), path in zip(pairs, paths, strict=True)]
        for name, wanted in ((AVERAGE, options.measuring.average), (ROUTED, options.measuring.route)):
            if wanted and name in names:
                raise ValueError(f"no model may be called {name} beside the row of that name")
        if len(set(names)) == len(paths) and not {"best", "last"} & set(names):
            return dict(zip(names, paths, strict=True))
    raise ValueError(f"models must differ in their names, got {', '.join(texts)}")


def _predictions(
    options: EvaluateOptions, models: Mapping[str, Model], read_ones: Mapping[str, Predictions], classifier: Model | None,
    data: DataSet, examples: Sequence[Example],
) -> dict[str, Predictions]:  # fmt: skip
    scoring = options.scoring
    with Progress(console=stderr(), transient=True) as bar:

        def predicted(name: str, model: Model) -> Predictions:
            task = bar.add_task(escape(printable(name)), total=len(examples))
            found = predict(
                model, examples, samples=scoring.samples, grid=scoring.grid, seed=scoring.seed, device=scoring.device,
                advance=lambda: bar.advance(task),
            )  # fmt: skip
            return for_labels(found, data) if name != _CATEGORIES else found

        found = {name: predicted(name, model) for name, model in models.items()}
        more = {AVERAGE: average([*found.values(), *read_ones.values()])} if options.measuring.average else {}
        if classifier is not None:
            more[ROUTED] = _routed(predicted(_CATEGORIES, classifier), found)
    return {**found, **read_ones, **more}


def _stated(texts: Sequence[str]) -> list[tuple[str, Path]]:
    """The files of predictions, each with its NAME of NAME=FILE or else its stem."""
    pairs = [text.split("=", 1) if "=" in text and not Path(text).exists() else ("", text) for text in texts]
    return [(name or Path(path).stem, Path(path)) for name, path in pairs]


def _read(
    stated: Sequence[tuple[str, Path]], data: DataSet, examples: Sequence[Example], models: Collection[str]
) -> dict[str, Predictions]:
    """The files' predictions by name; several models in one file are named FILE/MODEL."""
    found: dict[str, Predictions] = {}
    for given, path in stated:
        read = read_predictions(path, data, examples)
        for each in read.notes:
            note(f"note: {each}")
        for model, predictions in read.predictions.items():
            name = f"{given}/{model}" if model and len(read.predictions) > 1 else given
            if name in found or name in models or name in (AVERAGE, ROUTED):
                raise ValueError(f"--predictions must differ in their names from all others, got {name} twice")
            found[name] = predictions
    return found


def _routed(categories: Predictions, found: Mapping[str, Predictions]) -> Predictions:
    """Predictions in which each photograph is judged by the model named like its category, otherwise by the first."""
    generic = next(iter(found.values()))

    def predictor(category: str) -> Predictor:
        model = found.get(category, generic)
        rows = {example.key: i for i, example in enumerate(model.examples)}
        return lambda examples: model.of([rows[example.key] for example in examples if example.key in rows])

    return routed(categories, generic.examples, predictor)


def _print(out: Console, found: Mapping[str, Predictions], measures: Mapping[str, Measures]) -> None:
    shown = [(key, title) for key, title in _SHOWN if key != "emd" or any(each.emd is not None for each in measures.values())]
    table = plain_table("model", "n", *(title for _, title in shown))
    for name, each in measures.items():
        table.add_row(name, str(each.count), *(_number(each, key) for key, _ in shown))
    out.print(table)
    for name, predictions in found.items():
        if _asks_for_emd(predictions):
            out.print(f"{name}: no EMD: {why_no_emd(predictions)}")
    first = next(iter(measures.values()))
    if first.unlabelled:
        out.print(f"{first.unlabelled} photographs have no label: they count in average precisions alone")
    _print_categories(out, found)
    for name, each in measures.items():
        labels = found[name].labels
        called = labels if len(labels) <= _WIDEST else ()
        table = plain_table(name, "", *(f"called {label}" for label in called), "average precision")
        for label, row in zip(labels, each.confusion, strict=True):
            precision = each.average_precision.get(label)
            cells = [*map(str, row[: len(called)]), "" if precision is None else f"{precision:.4f}"]
            table.add_row(f"is {label}", "", *cells)
        out.print(table)


def _asks_for_emd(predictions: Predictions) -> bool:
    """Whether only one of predictions and data set has histograms of ratings."""
    return (predictions.histograms is not None) != any(example.votes for example in predictions.examples)


def _number(each: Measures, key: str) -> str:
    value = getattr(each, key)
    if value is None:
        return ""
    interval = each.intervals.get(key)
    return f"{value:.4f}" if interval is None else f"{value:.4f} ({interval[0]:.3f} to {interval[1]:.3f})"


def _print_categories(out: Console, found: Mapping[str, Predictions]) -> None:
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
    out.print(table)


def _json(options: EvaluateOptions, found: Mapping[str, Predictions], measures: Mapping[str, Measures]) -> bytes:
    """The measures as JSON; schema "measures.v1.json"."""
    summary = {
        "dcnn_fast_measures": 1, "views": options.scoring.samples, "grid": options.scoring.grid, "seed": options.scoring.seed,
        "split": options.source.part, "ap": options.measuring.ap, "labels": list(next(iter(found.values())).labels),
        "models": {name: {**each.to_dict(), "unreadable": len(found[name].errors)} for name, each in measures.items()},
    }  # fmt: skip
    return (json.dumps(summary, indent=1) + "\n").encode()


def _is_json(head: bytes) -> bool:
    return re.match(rb'\{\s*("dcnn_fast_measures": 1,\s*)?"views": \d+,\s*"grid": \d+,\s*"seed":', head) is not None


_MEASURES = Kind("a JSON file of measures", _is_json)
