"""Run a step by the commands `train` or `adapt`, then `evaluate`; finished steps are not repeated."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from dcnn_fast.scoring import shipped_model
from studies.para.collection import Collection
from studies.para.recipe import Recipe
from studies.para.steps import IMAGENET, Step

PREDICTIONS, MODEL = "predictions.csv", "last.safetensors"  # not the best epoch, which would be chosen on the test part
_FEATURES = "3,4,5"  # stages of EfficientNet-Lite0 beside its last layer, as in the preset lite0
_CACHE = 2048  # megabytes of decoded photographs


class OtherStudyError(ValueError):
    """The folder holds a study of other photographs, sizes or weights."""


class StepError(RuntimeError):
    """A command failed; the message has its output."""


@dataclass(frozen=True)
class Place:
    """The places of the study's files. lite: the file with EfficientNet-Lite0's weights, read by `convert`."""

    out: Path
    lite: Path
    workers: int

    def folder(self, name: str) -> Path:
        """A step's folder."""
        return self.out / "steps" / name

    def predictions(self, name: str) -> Path:
        """The file with the step's row for each held-out photograph."""
        return self.folder(name) / PREDICTIONS

    @property
    def imagenet(self) -> Path:
        """The converted weights."""
        return self.out / f"{IMAGENET}.safetensors"


def run_step(step: Step, collection: Collection, recipe: Recipe, place: Place) -> float | None:
    """Train and evaluate. Returns the seconds taken, None where it was done before. An interrupted training is resumed.

    Raises StepError where a command fails.
    """
    if place.predictions(step.name).exists():
        return None
    started = time.monotonic()
    folder = place.folder(step.name)
    table = collection.table(folder / "photographs.csv", step.train, step.test)
    if not (folder / "run" / MODEL).exists() or _unfinished(folder / "run", step.epochs):
        _command(*_training(step, recipe, place, table, folder / "run"), "--threshold", collection.threshold)
    partial = folder / f"partial-{PREDICTIONS}"
    _evaluate(folder / "run" / MODEL, table, collection, recipe, partial)
    partial.replace(place.predictions(step.name))
    return time.monotonic() - started


def shipped(collection: Collection, recipe: Recipe, place: Place) -> None:
    """The predictions of the model that comes with the package, which was not trained on PARA."""
    name = "shipped"
    if place.predictions(name).exists():
        return
    table = collection.table(place.folder(name) / "photographs.csv", collection.train[:2], collection.test)
    partial = place.folder(name) / f"partial-{PREDICTIONS}"
    _evaluate(shipped_model(), table, collection, recipe, partial)
    partial.replace(place.predictions(name))


def claim(collection: Collection, recipe: Recipe, place: Place, *, weights: bool) -> None:
    """Claim the folder for this study. weights: include this column's weights. Raises OtherStudyError where it holds another
    study.
    """
    path = place.out / "study.json"
    mine = {"photographs": collection.digest, "sizes": repr(recipe)}
    if weights:
        mine["weights"] = hashlib.sha256(place.lite.read_bytes()).hexdigest()
    if path.exists():
        held = json.loads(path.read_text())
        for name, value in mine.items():
            if held[name] != value:
                raise OtherStudyError(f"{place.out}: holds a study of other {name}; choose another folder")
    elif weights:
        place.out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(mine, indent=1) + "\n")


def convert(place: Place) -> None:
    """ImageNet's weights as a model file with fc256 above them."""
    if not place.imagenet.exists():
        place.out.mkdir(parents=True, exist_ok=True)
        _command("convert", place.lite, place.imagenet, "--stages", _FEATURES, "--fc", 256)


def _training(step: Step, recipe: Recipe, place: Place, table: Path, out: Path) -> list[object]:
    models = [place.imagenet if name == IMAGENET else place.folder(name) / "run" / MODEL for name, _ in step.starts]
    shared = ["--out", out, "--epochs", step.epochs, "--batch", recipe.batch, "--rate", recipe.rate, "--flip"]
    shared += ["--resume"] if (out / "checkpoint.safetensors").exists() else []
    if step.net == "adapt":
        return ["adapt", models[0], table, *shared, "--tune", "all"]
    starts = [
        word
        for column, (model, (_, theirs)) in enumerate(zip(models, step.starts, strict=True))
        for word in ("--init", f"{column}={model}:{theirs}")
    ]
    sizes: list[object] = []
    if step.net != _FIXED:
        sizes += ["--plane", recipe.plane, "--window", recipe.window, "--filters", recipe.filters]
    if step.net in _OF_ARCH_1:
        sizes += ["--fc", ",".join(map(str, recipe.fc))]
    return [
        "train", table, "--net", step.net, *shared, "--bias-rate", 2 * recipe.rate, "--seed", step.seed, *sizes, *step.options,
        *starts, "--evaluate-every", step.epochs, "--workers", place.workers, "--cache", _CACHE,
    ]  # fmt: skip


_FIXED = "lite0"  # the preset whose layers cannot be changed
# Presets whose fully-connected layers are Arch 1's: Table I varies those of the others.
_OF_ARCH_1 = ("scnn-arch1", "dcnn", "rdcnn-lite0")


def _unfinished(run: Path, epochs: int) -> bool:
    """Whether a run's log has fewer than `epochs` epochs."""
    log = run / "log.csv"
    return not log.exists() or len(log.read_text().splitlines()) < epochs + 1


def _evaluate(model: Path, table: Path, collection: Collection, recipe: Recipe, out: Path) -> None:
    options = ("--threshold", collection.threshold, "--samples", recipe.samples, "--resamples", 0)
    _command("evaluate", model, table, *options, "--csv", out, "--overwrite")


def _command(*words: object) -> None:
    program = [sys.executable, "-c", "from dcnn_fast.cli.main import run; run()", *map(str, words)]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        said, _ = process.communicate()
    except KeyboardInterrupt:  # the command receives it, too, and writes a checkpoint first
        process.communicate()
        raise
    if process.returncode:
        raise StepError(f"{' '.join(map(str, words))}\n{said}")
