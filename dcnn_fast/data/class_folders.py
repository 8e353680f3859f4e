"""Photographs in folders named by their labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from dcnn_fast.data.examples import DataSet, Example
from dcnn_fast.data.folders import find_images
from dcnn_fast.data.label_names import Order, in_order, require_distinct
from dcnn_fast.data.splits import DEALT, PARTS, Parts, drawn_notes, part_named
from dcnn_fast.printable import shortened

_PARTS = frozenset(("train", "training", "test", "testing", "val", "valid", "validation"))  # names of parts, not of labels


def load_folders(root: Path, *, positive: str | None = None, parts: Parts = DEALT) -> DataSet:
    """Read a folder for each label.

    The folders lie either below `root`/train and `root`/test, and perhaps `root`/val (or valid, validation), or below `root`,
    of which `parts` holds some out. Labels are in the order of their names, but of two the better one is last
    (`label_names.in_order`). Photographs may lie in subfolders.

    Args:
        root: The folder.
        positive: The better one of two labels; None: by their names, where these tell.
        parts: The part to hold out.

    Returns:
        The set.

    Raises:
        ValueError: There are fewer than two labels, another part has a label that train lacks, or parts are asked for of a set
            that has them.
    """
    if (root / "train").is_dir() and (root / "test").is_dir():
        parts.require_none(root)
        return _parted(root, positive, parts)
    of_label = _by_label(root)
    of_parts = [name for name in of_label if name.casefold() in _PARTS]
    if of_parts:
        raise ValueError(f"{root}: must have both train and test, or folders of labels alone, got {shortened(of_parts)}")
    order = _order(root, of_label, positive)
    examples = _examples(root, of_label, order.labels)
    labels, names = [example.label for example in examples], [example.key for example in examples]
    part = parts.of(labels, [""] * len(examples), names)
    return _data_set(order, examples, part, (*order.notes, *drawn_notes(part, parts)), parts)


def _data_set(order: Order, examples: list[Example], part: np.ndarray, notes: tuple[str, ...], parts: Parts) -> DataSet:
    train, val, test = (
        tuple(example for example, its in zip(examples, part, strict=True) if its == name) for name in PARTS
    )  # fmt: skip
    return DataSet(order.labels, train, test, notes=notes, positive=order.positive, fold=parts.chosen, val=val)


def _parted(root: Path, positive: str | None, parts: Parts) -> DataSet:
    """The set in the folders train, test and, where it exists, val."""
    found = {name: _by_label(root / name) for name in _folders_of_parts(root)}
    order = _order(root, found["train"], positive)
    for name, of_label in found.items():
        unknown = sorted(set(of_label) - set(order.labels))
        if unknown:
            raise ValueError(f"{root}: {name} must have the labels of train, got {shortened(unknown)} too")
    examples = {name: _examples(root, of_label, order.labels) for name, of_label in found.items()}
    every = [example for part in examples.values() for example in part]
    own = np.array([part_named(name) for name, part in examples.items() for _ in part], dtype=object)
    part = parts.with_val(own, [example.label for example in every], [""] * len(every), [example.key for example in every])
    more = sorted(
        each.name for each in root.iterdir() if each.is_dir() and each.name not in found and each.name[0] not in ".@#"
    )
    beside = f"not used: {shortened(more)}, beside {' and '.join(found)}"
    empty = [f"{name} has no photographs" for name, of_label in found.items() if not of_label]
    notes = (*order.notes, *drawn_notes(part, parts), *empty, *([beside] if more else []))
    return replace(_data_set(order, every, part, notes, parts), fold=None)


def _folders_of_parts(root: Path) -> list[str]:
    """The parts' folders by name. Raises ValueError where two are for validation."""
    of_val = [name for name in ("val", "valid", "validation") if (root / name).is_dir()]
    if len(of_val) > 1:
        raise ValueError(f"{root}: must have one folder for validation, got {shortened(of_val)}")
    return ["train", *of_val, "test"]


def _by_label(folder: Path) -> dict[str, list[Path]]:
    """Photographs by label: the folder directly below `folder` that holds them; hidden and system folders are no labels."""
    found: dict[str, list[Path]] = {}
    for path in find_images([folder], recursive=True):
        label, *inside = path.relative_to(folder).parts or ("",)
        if inside:
            found.setdefault(label, []).append(path)
    return dict(sorted(found.items()))


def _order(root: Path, found: dict[str, list[Path]], positive: str | None) -> Order:
    if len(found) < 2:
        raise ValueError(f"{root}: must have a folder with photographs for each of at least two labels, got {list(found)}")
    try:
        require_distinct(found)
        return in_order(found, positive)
    except ValueError as error:
        raise ValueError(f"{root}: {error}") from None


def _examples(root: Path, found: dict[str, list[Path]], labels: tuple[str, ...]) -> list[Example]:
    return [
        Example(str(path), str(path.relative_to(root)), labels.index(label)) for label, paths in found.items() for path in paths
    ]
