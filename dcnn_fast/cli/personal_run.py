"""The work of `dcnn-fast adapt --tune ratings`: fits a model to ratings in closed form and writes it like a run's."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import torch
from rich.progress import Progress

from dcnn_fast.cli.console import fail, note, stderr, stdout
from dcnn_fast.cli.input_files import require_file
from dcnn_fast.cli.max_memory import OPTION, is_short_of_memory, limit_memory
from dcnn_fast.cli.stopping import Stop
from dcnn_fast.data import DataSet, Example
from dcnn_fast.nets import BackboneColumn, Model, ModelError, load_model, save_model
from dcnn_fast.printable import printable
from dcnn_fast.training.checkpoint import CheckpointError
from dcnn_fast.training.folder import BEST, LAST, Folder, require_folder, require_outputs
from dcnn_fast.training.personal import Personal, fit_ratings, why_not

_NAMED = 10  # number of unreadable photographs that are named


def run(
    path: Path,
    opened: Callable[[], DataSet],
    out: Path,
    inputs: tuple[Path, ...],
    *,
    asked: bool,
    given: Sequence[str] = (),
    max_memory: str | None = None,
) -> int | None:
    """Fit the model file `path` to the ratings of the set that `opened` gives, and write it; returns the exit status.

    asked: exit with status 2 if the model cannot be fitted; otherwise return None then, with nothing written. given: options
    for labels and a split that were given; they would have no effect here and are refused. max_memory: see `limit_memory`.
    """
    with Stop() as stop:
        try:
            model = _model(path, asked)
            if model is None:
                return None
            data = opened()
            if not all(math.isfinite(example.rating) for example in _examples(data)):
                if asked:
                    raise ValueError("--tune ratings: the data set must have a rating of every photograph")
                return None
            if given:
                raise ValueError(
                    f"{given[0]} must not be given for --tune ratings, without labels or a part held out; --tune all has them"
                )
            require_folder(out)
            require_outputs(out, inputs=inputs)
            limit_memory(max_memory, os.cpu_count() or 1)
            return _fitted(model, data, out)
        except KeyboardInterrupt:
            fail("interrupted: nothing was written", stop.status)
        except (CheckpointError, ValueError, OSError) as error:
            fail(str(error))
        except (MemoryError, RuntimeError) as error:
            if not is_short_of_memory(error):
                raise
            within = "" if max_memory is None else f" within {OPTION} {max_memory}"
            fail(f"there is not enough memory to go on{within}: nothing was written", 1)


def _model(path: Path, asked: bool) -> Model | None:
    """The model, or None to leave it to training, which also reports what is wrong with its file."""
    if not asked and ("RANK" in os.environ or not path.is_file()):  # under torchrun, train as usual
        return None
    try:
        require_file(path)
        model = load_model(path)
    except ModelError:
        if asked:
            raise
        return None
    why = why_not(model)
    if why and asked:
        raise ValueError(f"--tune ratings: {path}: {why}")
    return None if why else model


def _fitted(model: Model, data: DataSet, out: Path) -> int:
    if data.missing:
        note(f"{len(data.missing)} listed photographs are not there, {printable(data.missing[0])} first")
    examples, console = _examples(data), stderr()
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("reading", total=len(examples))
        found = fit_ratings(model, examples, threads=os.cpu_count() or 1, advance=lambda: bar.advance(task))
    folder = Folder(out, note)
    with folder.locked():
        for name in (BEST, LAST):
            folder.put(name, lambda partial: save_model(found.model, partial, block_storage=_storage(found.model)))
    _report(found, out, folder)
    return 3 if folder.unwritten else 0


def _examples(data: DataSet) -> tuple[Example, ...]:
    """The examples of all parts: each is judged by a fit to the others."""
    return data.examples


def _storage(model: Model) -> Literal["float32", "float16"]:
    """A 16-bit type where the frozen layers have 16 bits already, as those of the shipped model do."""
    (layers,) = (column.backbone for column in model.net.columns if isinstance(column, BackboneColumn))
    return "float16" if torch.equal(layers.half().float(), layers) else "float32"


def _report(found: Personal, out: Path, folder: Folder) -> None:
    for key in found.skipped[:_NAMED]:
        note(f"skipped: {printable(key)}")
    if len(found.skipped) > _NAMED:
        note(f"skipped: {len(found.skipped) - _NAMED:,} more")
    show = stdout().print
    show(f"fitted to {found.ratings} ratings in closed form (--tune ratings)")
    show(f"Spearman correlation with them: {found.before:.3f} before, {found.after:.3f} by fits to all others")
    written = ", ".join(name for name in (BEST, LAST) if name not in folder.unwritten)
    show(f"{printable(str(out))}: {written}, the same model")
