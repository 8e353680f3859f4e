"""Photographs in folders named by their labels."""

from __future__ import annotations

from pathlib import Path

from dcnn_fast.data.examples import DataSet, Example
from dcnn_fast.data.folders import find_images
from dcnn_fast.data.splits import split
from dcnn_fast.printable import shortened

_BINARY = ("low", "high")


def load_folders(root: Path, *, fold: int = 0, folds: int = 5, seed: int = 0) -> DataSet:
    """A folder for each label, either below `root`/train and `root`/test, or below `root`, part `fold` of `folds` held out.

    Labels are in the order of their names, but for low and high. Photographs may lie in subfolders. Raises ValueError where
    there are fewer than two labels, or where test has a label that train lacks.
    """
    if (root / "train").is_dir() and (root / "test").is_dir():
        parts = {part: _by_label(root / part) for part in ("train", "test")}
        labels = _labels(root, parts["train"])
        unknown = sorted(set(parts["test"]) - set(labels))
        if unknown:
            raise ValueError(f"{root}: test must have the labels of train, got {shortened(unknown)} too")
        train, test = (_examples(root, parts[part], labels) for part in ("train", "test"))
        return DataSet(labels, tuple(train), tuple(test))
    found = _by_label(root)
    labels = _labels(root, found)
    examples = _examples(root, found, labels)
    held = split([example.label for example in examples], [""] * len(examples), fold=fold, folds=folds, seed=seed)
    train = [example for example, out in zip(examples, held, strict=True) if not out]
    return DataSet(labels, tuple(train), tuple(example for example, out in zip(examples, held, strict=True) if out))


def _by_label(folder: Path) -> dict[str, list[Path]]:
    """Photographs by the folder directly below `folder` that they are in; hidden and system folders are no labels."""
    found: dict[str, list[Path]] = {}
    for path in find_images([folder], recursive=True):
        label, *inside = path.relative_to(folder).parts or ("",)
        if inside:
            found.setdefault(label, []).append(path)
    return dict(sorted(found.items()))


def _labels(root: Path, found: dict[str, list[Path]]) -> tuple[str, ...]:
    if len(found) < 2:
        raise ValueError(f"{root}: must have a folder with photographs for each of at least two labels, got {list(found)}")
    return _BINARY if set(found) == set(_BINARY) else tuple(sorted(found))


def _examples(root: Path, found: dict[str, list[Path]], labels: tuple[str, ...]) -> list[Example]:
    return [
        Example(str(path), str(path.relative_to(root)), labels.index(label)) for label, paths in found.items() for path in paths
    ]
