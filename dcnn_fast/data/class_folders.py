"""Photographs in folders named by their labels."""

from __future__ import annotations

from pathlib import Path

from dcnn_fast.data.examples import DataSet, Example
from dcnn_fast.data.folders import find_images
from dcnn_fast.data.label_names import Order, in_order, require_distinct
from dcnn_fast.data.splits import DEALT, Parts
from dcnn_fast.printable import shortened

_PARTS = frozenset(("train", "training", "test", "testing", "val", "valid", "validation"))  # what a label is not called


def load_folders(root: Path, *, positive: str | None = None, parts: Parts = DEALT) -> DataSet:
    """A folder for each label, either below `root`/train and `root`/test, or below `root`, of which `parts` holds some out.

    Labels are in the order of their names, but of two the better one is last (`label_names.in_order`), positive where that is
    told. Photographs may lie in subfolders. Raises ValueError where there are fewer than two labels, where test has a label
    that train lacks, or for parts of a set that has them.
    """
    if (root / "train").is_dir() and (root / "test").is_dir():
        parts.require_none(root)
        return _parted(root, positive)
    of_label = _by_label(root)
    of_parts = [name for name in of_label if name.casefold() in _PARTS]
    if of_parts:
        raise ValueError(f"{root}: must have both train and test, or folders of labels alone, got {shortened(of_parts)}")
    order = _order(root, of_label, positive)
    examples = _examples(root, of_label, order.labels)
    held = parts.held([example.label for example in examples], [""] * len(examples))
    train = [example for example, out in zip(examples, held, strict=True) if not out]
    test = [example for example, out in zip(examples, held, strict=True) if out]
    return DataSet(
        order.labels, tuple(train), tuple(test), notes=order.notes, positive=order.positive, fold=parts.chosen
    )  # fmt: skip


def _parted(root: Path, positive: str | None) -> DataSet:
    """The set of the folders train and test."""
    found = {part: _by_label(root / part) for part in ("train", "test")}
    order = _order(root, found["train"], positive)
    unknown = sorted(set(found["test"]) - set(order.labels))
    if unknown:
        raise ValueError(f"{root}: test must have the labels of train, got {shortened(unknown)} too")
    train, test = (_examples(root, found[part], order.labels) for part in ("train", "test"))
    more = sorted(
        each.name for each in root.iterdir() if each.is_dir() and each.name not in found and each.name[0] not in ".@#"
    )
    notes = (*order.notes, *([f"not used: {shortened(more)}, beside train and test"] if more else []))
    return DataSet(order.labels, tuple(train), tuple(test), notes=notes, positive=order.positive)


def _by_label(folder: Path) -> dict[str, list[Path]]:
    """Photographs by the folder directly below `folder` that they are in; hidden and system folders are no labels."""
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
