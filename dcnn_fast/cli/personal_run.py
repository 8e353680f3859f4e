"""What `dcnn-fast adapt --tune ratings` does: a model fitted to ratings in closed form, written like a run's."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Literal

import torch
from rich.progress import Progress

from dcnn_fast.cli.console import fail, note, stderr, stdout
from dcnn_fast.cli.files import require_file
from dcnn_fast.data import DataSet, Example
from dcnn_fast.nets import BackboneColumn, Model, ModelError, load_model, save_model
from dcnn_fast.printable import printable
from dcnn_fast.scoring import shipped_model
from dcnn_fast.training.checkpoint import CheckpointError
from dcnn_fast.training.folder import BEST, LAST, Folder, require_folder, require_outputs
from dcnn_fast.training.personal import Personal, fit_ratings, why_not

_NAMED = 10  # photographs that could not be read


def named(model: Path) -> Path:
    """The file that is meant: of "shipped", where no file has that name, the one that comes with the package."""
    return shipped_model() if str(model) == "shipped" and not model.exists() else model


def can_fit(model: Path) -> bool:
    """Whether the file is a model that can be fitted to ratings in closed form; one process of several trains as ever."""
    try:
        return "RANK" not in os.environ and model.is_file() and why_not(load_model(model)) is None
    except (ModelError, OSError):
        return False  # who trains says why


def why_not_fitted(model: Path, data: DataSet) -> str | None:
    """None where the model can be fitted to the ratings of the data, else one sentence that says why not."""
    try:
        require_file(model)
        if why := why_not(load_model(model)):
            return f"{model}: {why}"
    except (ValueError, OSError) as error:
        return str(error)
    if not all(math.isfinite(example.rating) for example in _examples(data)):
        return "the data set must have a rating of every photograph"
    return None


def run(model: Path, data: DataSet, out: Path, inputs: tuple[Path, ...]) -> int:
    """Fit and write; returns the exit status."""
    try:
        require_folder(out)
        require_outputs(out, inputs=inputs)
        examples = _examples(data)
        if data.missing:
            note(f"{len(data.missing)} listed photographs are not there, {printable(data.missing[0])} first")
        with Progress(console=stderr(), transient=True) as bar:
            task = bar.add_task("reading", total=len(examples))
            found = fit_ratings(load_model(model), examples, threads=os.cpu_count() or 1, advance=lambda: bar.advance(task))
        folder = Folder(out, note)
        with folder.locked():
            for name in (BEST, LAST):
                folder.put(name, lambda partial: save_model(found.model, partial, block_storage=_storage(found.model)))
    except (CheckpointError, ValueError, OSError) as error:
        fail(str(error))
    _report(found, out, folder)
    return 3 if folder.unwritten else 0


def _examples(data: DataSet) -> tuple[Example, ...]:
    """All of them: each is judged by a fit to the others."""
    return (*data.train, *data.test)


def _storage(model: Model) -> Literal["float32", "float16"]:
    """16 bits where the frozen layers are of 16 bits already, as those of the shipped model."""
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
