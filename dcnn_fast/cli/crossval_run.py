"""What `dcnn-fast crossval` does with its options."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import typer
from rich.progress import Progress

from dcnn_fast.cli.console import fail, note, plain_table, stderr, stdout
from dcnn_fast.cli.crossval import CrossvalOptions
from dcnn_fast.cli.prediction_rows import prediction_rows
from dcnn_fast.cli.stopping import Stop
from dcnn_fast.cli.train import trained
from dcnn_fast.cli.train_options import TrainOptions
from dcnn_fast.cli.train_run import files_named
from dcnn_fast.data import DataSet
from dcnn_fast.data.check import require_learnable
from dcnn_fast.data.label_names import with_labels
from dcnn_fast.data.sets import is_rated
from dcnn_fast.evaluation import Measures, Predictions, measure, predict
from dcnn_fast.evaluation.histograms import are_ratings, for_labels
from dcnn_fast.evaluation.predict import joined
from dcnn_fast.nets import Model, load_model
from dcnn_fast.printable import printable, quoted
from dcnn_fast.training import CheckpointError
from dcnn_fast.training.durable_files import put
from dcnn_fast.training.folder import BEST, LAST, Folder
from dcnn_fast.training.model_history import learnt_by

ABOUT, PREDICTIONS, MEASURES, PLANES = "crossval.json", "predictions.csv", "measures.json", "planes"
_NAME = "crossval"
_FOLDS = 5
_UNWRITTEN = 3
_SHOWN = (("accuracy", "accuracy"), ("majority", "majority"), ("auc", "AUC"), ("srcc", "SRCC"), ("emd", "EMD"))


@dataclass(frozen=True)
class _Folds:
    """The sets of all folds, each with its part held out, and the options of their trainings."""

    sets: tuple[DataSet, ...]
    options: CrossvalOptions
    context: typer.Context

    @property
    def out(self) -> Path:
        """The folder of the runs."""
        return self.options.out

    def folder(self, number: int) -> Path:
        """The folder of a fold's run."""
        return self.out / f"fold-{number}"

    def chosen(self, number: int) -> str:
        """The name of the model file to measure for a fold: the epoch that was best on the split val if the run evaluates
        one, otherwise the last epoch; the held-out photographs never choose it.
        """
        return BEST if self.sets[number].val and self.options.looks.evaluate_every else LAST

    def named(self, number: int, model: Model) -> DataSet:
        """The set of a fold, relabelled with the model's labels."""
        data = self.sets[number]
        return data if are_ratings(model.spec.labels) else with_labels(data, model.spec.labels)


def run(context: typer.Context, options: CrossvalOptions) -> int:
    """Run the command; returns its exit status. context: typer's, which tells options of the command line from others."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        fail("crossval must be run by one process, not under torchrun")
    with Stop() as stop:
        try:
            folds = _opened(context, options)
            folder = Folder(folds.out, note)
            with folder.locked():
                put(folds.out / ABOUT, lambda partial: _write(partial, _about(folds)))
                status = 0
                for number in range(len(folds.sets)):
                    status = max(status, _trained(folds, number))
                parts = _held_out(folds, options.samples)
                return max(status, _measured(folds, folder, parts, options.resamples))
        except typer.Exit:
            raise
        except (CheckpointError, ValueError, OSError) as error:
            fail(str(error))
        except MemoryError:
            fail("there is not enough memory to go on; the same command goes on", 1)
        except KeyboardInterrupt:
            fail("interrupted; the same command goes on", stop.status)


def _opened(context: typer.Context, options: CrossvalOptions) -> _Folds:
    """Open the set with all its folds. Raises ValueError for one that cannot be learnt from, or a folder with other files."""
    source = options.source
    folds = _FOLDS if source.folds is None else source.folds
    source = replace(source, folds=folds)
    first = replace(source, fold=0).opened(options.data)
    if source.threshold is None and is_rated(options.data, source.kind, source.columns, source.by):
        whole = replace(source, folds=None, split_seed=None, val=None).opened(options.data, quiet=True, unsplit="test")
        source = replace(source, threshold=whole.threshold)
        note(f"a rating above {source.threshold:g} is high in all folds (the median of the whole set)")
        first = replace(source, fold=0).opened(options.data, quiet=True)
    every = [first, *(replace(source, fold=number).opened(options.data, quiet=True) for number in range(1, folds))]
    for data in every:
        require_learnable(data)
    found = _Folds(tuple(every), replace(options, source=source), context)
    _require_ours(found)
    _require_no_leak(found)
    if options.machine.plane_cache is not None or options.machine.cache:
        return found
    machine = replace(options.machine, plane_cache=options.out / PLANES)
    return replace(found, options=replace(found.options, machine=machine))


def _about(folds: _Folds) -> dict[str, Any]:
    """The values that tell these folds from those of another set or split."""
    source = folds.options.source
    return {
        "crossval": os.path.realpath(folds.options.data), "folds": source.folds, "split_seed": source.split_seed or 0,
        "threshold": source.threshold, "photographs": len(folds.sets[0].examples),
    }  # fmt: skip


def _of_fold(folds: _Folds, number: int) -> TrainOptions:
    """The options of one fold's training."""
    options = folds.options
    own = {field.name: getattr(options, field.name) for field in fields(TrainOptions)}
    source = replace(options.source, fold=number)
    return TrainOptions(**{**own, "out": folds.folder(number), "source": source, "resume": True})


def _require_ours(folds: _Folds) -> None:
    """Require that `out` is new, empty or the folder of these folds. Raises ValueError saying what else it holds."""
    out, path = folds.out, folds.out / ABOUT
    if not out.is_dir():
        return
    if not path.is_file():
        others = sorted(entry.name for entry in out.iterdir() if not entry.name.startswith("."))
        if others:
            raise ValueError(f"out must be a new or an empty folder, or that of such runs, got {out}: it holds {others[0]}")
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        differing = [f"{name}: {before.get(name)} before, {value} now" for name, value in _about(folds).items()
                     if before.get(name) != value]  # fmt: skip
    except (ValueError, AttributeError, OSError):
        raise ValueError(f"{path}: must be a file that this command wrote") from None
    if differing:
        raise ValueError(f"out must be a new folder or one of the same folds, got {out}: {'; '.join(differing)}")


def _require_no_leak(folds: _Folds) -> None:
    """Require that no model file to start from has learnt from photographs of the set, each of which is held out once.

    A network with --fresh takes only layers that never learn; the trained networks themselves are checked later. Raises
    ValueError.
    """
    options = folds.options
    if options.network.fresh:
        return
    for path in files_named(options.network, options.data):
        if str(path).endswith(".safetensors") and Path(path).is_file():
            model = load_model(Path(path))
            for number in range(len(folds.sets)):
                _require_unseen(folds, number, model, str(path))


def _require_unseen(folds: _Folds, number: int, model: Model, name: str) -> None:
    """Require that a model has not learnt from a fold's held-out photographs. Raises ValueError."""
    sets_named = [folds.sets[number]]
    with suppress(ValueError):  # the model has other labels
        sets_named.append(folds.named(number, model))
    learnt = learnt_by(model.provenance)
    seen = {example.key for data in sets_named for example in learnt.seen_of(data, data.test)}
    if seen:
        raise ValueError(
            f"held-out photographs must be new to the networks that judge them: {name} has learnt from {len(seen)} of the "
            f"{len(folds.sets[number].test)} of fold {number}, e.g. {quoted(min(seen))}"
        )


def _trained(folds: _Folds, number: int) -> int:
    """Train one fold unless it is trained; returns 0, or 3 where a file of the run could not be written.

    Exits with the status of a training that ended otherwise.
    """
    note(f"fold {number} of {len(folds.sets)}")
    status = 0
    try:
        status = trained(folds.context, _of_fold(folds, number))
    except typer.Exit as ended:
        status = ended.exit_code
    if status not in (0, _UNWRITTEN) or not (folds.folder(number) / LAST).is_file():
        note("the same command goes on")
        raise typer.Exit(status or 1)
    path = folds.folder(number) / folds.chosen(number)
    if not path.is_file():
        raise OSError(f"{path}, of the epoch that the split val chose, must be there to be measured: it was not written")
    _require_unseen(folds, number, load_model(path), str(path))
    return status


def _held_out(folds: _Folds, samples: int) -> list[Predictions]:
    """Each fold's predictions for its held-out part."""
    found = []
    with Progress(console=stderr(), transient=True) as bar:
        task = bar.add_task("held-out photographs", total=sum(len(data.test) for data in folds.sets))
        for number in range(len(folds.sets)):
            model = load_model(folds.folder(number) / folds.chosen(number))
            named = folds.named(number, model)
            predictions = predict(
                model, named.test, samples=samples, seed=folds.options.learning.seed, device=folds.options.machine.device,
                advance=lambda: bar.advance(task),
            )  # fmt: skip
            found.append(for_labels(predictions, named))
    return found


def _measured(folds: _Folds, folder: Folder, parts: Sequence[Predictions], resamples: int) -> int:
    pooled = joined(parts)
    of_parts = [measure(part) for part in parts]
    together = measure(pooled, resamples=resamples)
    fold = {example.key: number for number, data in enumerate(folds.sets) for example in data.test}
    folder.put(PREDICTIONS, lambda partial: _write(partial, prediction_rows({_NAME: pooled}, fold=fold)))
    of_folds = [{**each.to_dict(), "model": folds.chosen(number)} for number, each in enumerate(of_parts)]
    summary = {"dcnn_fast_crossval": 1, "folds": of_folds, "pooled": together.to_dict(), "draws": resamples}
    folder.put(MEASURES, lambda partial: _write(partial, summary))
    for key, reason in pooled.errors.items():
        note(f"unreadable: {key}: {reason}")
    _print(of_parts, together, pooled, [folds.chosen(number) for number in range(len(folds.sets))])
    stdout().print(f"{printable(str(folds.out))}: {', '.join((PREDICTIONS, MEASURES))}")
    return _UNWRITTEN if folder.unwritten else int(bool(pooled.errors))


def _print(of_parts: Sequence[Measures], together: Measures, pooled: Predictions, chosen: Sequence[str]) -> None:
    shown = [(key, title) for key, title in _SHOWN if getattr(together, key) is not None]
    table = plain_table("fold", "n", *(title for _, title in shown))
    for number, each in enumerate(of_parts):
        table.add_row(str(number), str(each.count), *(_number(each, key) for key, _ in shown))
    table.add_row("all", str(together.count), *(_number(together, key) for key, _ in shown))
    out = stdout()
    out.print(table)
    groups = {example.group for example in pooled.examples} - {""}
    out.print(f"measured: {', '.join(sorted(set(chosen)))} of each fold")
    out.print(f"intervals of 95 %: a bootstrap over {f'{len(groups)} groups' if groups else 'photographs'}")


def _number(each: Measures, key: str) -> str:
    value = getattr(each, key)
    interval = each.intervals.get(key)
    shown = "" if value is None else f"{value:.4f}"
    return shown if interval is None else f"{shown} ({interval[0]:.3f} to {interval[1]:.3f})"


def _write(partial: Path, content: bytes | Mapping[str, Any]) -> None:
    partial.write_bytes(content if isinstance(content, bytes) else (json.dumps(content, indent=1) + "\n").encode())
