"""Checks that a data set is complete: counts, labels, photographs; for AVA the official counts (docs/ava.md#counts)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dcnn_fast.data.ava import THRESHOLD, read_list, read_ratings, read_styles
from dcnn_fast.data.examples import DataSet, Example
from dcnn_fast.data.leaks import Twins, twins_by_digest
from dcnn_fast.data.names import CATEGORIES, LISTS, STYLE_LISTS
from dcnn_fast.data.reading import ReadError, read
from dcnn_fast.networks import STYLES

_STYLE_FILES = ("train.jpgl", "train.lab", "test.jpgl", "test.multilab")


@dataclass(frozen=True)
class Count:
    """One count of AVA: the copy's, and the official lists'."""

    what: str
    expected: float
    found: float

    @property
    def ok(self) -> bool:
        """Whether the two agree: counts exactly, shares in per cent to their last digit."""
        return abs(self.found - self.expected) <= (0.05001 if isinstance(self.expected, float) else 0)


# docs/ava.md#counts: rated photographs in each category's test and training list, and the share of high ones in the test list.
_CATEGORIES = {
    "portrait": (2488, 2485, 75.6), "animal": (2484, 2480, 70.8), "stilllife": (2491, 2490, 62.5),
    "fooddrink": (2493, 2496, 67.4), "architecture": (2495, 2496, 74.0), "floral": (2495, 2495, 70.0),
    "cityscape": (2494, 2492, 71.1), "landscape": (2490, 2490, 77.2),
}  # fmt: skip
# docs/ava.md#styles: each style's number of training photographs and of test photographs.
_STYLE_TRAIN = (760, 1041, 317, 672, 960, 676, 1359, 488, 768, 1112, 1184, 825, 568, 540)
_STYLE_TEST = (237, 589, 83, 183, 158, 208, 459, 149, 193, 398, 677, 227, 169, 102)


def ava_counts(root: Path) -> Iterator[Count]:
    """All counts of AVA's lists beside the official ones; photographs are not looked at. Raises as `load_ava` does."""
    ratings = read_ratings(root / "AVA.txt")
    means = dict(zip(ratings.ids.tolist(), ratings.means.tolist(), strict=True))
    listed = read_list(root / LISTS / "generic_test.jpgl")
    held_out = set(listed)
    test = [i for i in listed if i in means]
    train = [i for i in means if i not in held_out]
    yield Count("ids with ratings", 255_529, len(means))
    yield Count("training ids, those not in generic_test", 235_599, len(train))
    yield Count("ids in generic_test", 20_000, len(listed))
    yield Count("of them with ratings", 19_930, len(test))
    yield Count("ids in generic_ls_train", 20_000, len(_ids(root, "generic_ls", "train")))
    yield Count("high in training, %", 70.8, _high(means, train))
    yield Count("high in test, %", 71.1, _high(means, test))
    for category in CATEGORIES:
        expected_test, expected_train, high = _CATEGORIES[category]
        parts = {part: [i for i in _ids(root, category, part) if i in means] for part in ("train", "test")}
        yield Count(f"{category}, test ids with ratings", expected_test, len(parts["test"]))
        yield Count(f"{category}, training ids with ratings", expected_train, len(parts["train"]))
        yield Count(f"{category}, high in test, %", high, _high(means, parts["test"]))
    there = [name for name in _STYLE_FILES if (root / STYLE_LISTS / name).is_file()]
    yield Count("style lists", len(_STYLE_FILES), len(there))
    if len(there) == len(_STYLE_FILES):
        yield from _style_counts(root, held_out)


def _style_counts(root: Path, held_out: set[int]) -> Iterator[Count]:
    lists = read_styles(root)
    yield Count("style, training ids", 11_270, len(lists.train))
    yield Count("style, test ids", 2_809, len(lists.test))
    yield Count("style, test ids without a style", 236, sum(not truth for truth in lists.test.values()))
    yield Count("style, training ids in generic_test", 951, len(held_out & set(lists.train)))
    yield Count("style, test ids in generic_test", 221, len(held_out & set(lists.test)))
    of_train = Counter(lists.train.values())
    of_test = Counter(style for truth in lists.test.values() for style in truth)
    for index, style in enumerate(STYLES):
        yield Count(f"{style}, training ids", _STYLE_TRAIN[index], of_train[index])
        yield Count(f"{style}, test ids that have it", _STYLE_TEST[index], of_test[index])


@dataclass(frozen=True)
class Decoded:
    """The result of reading all photographs. unreadable: reasons by key. twins: equal pixels in two parts or of two labels."""

    unreadable: dict[str, str]
    twins: list[Twins]


def decoded(data: DataSet, advance: Callable[[], object] = lambda: None) -> Decoded:
    """Read all photographs of a set. advance: called after each."""
    reasons, digests = {}, {}
    for example in data.examples:
        try:
            digests[example.key] = read(example.source).digest
        except ReadError as error:
            reasons[example.key] = str(error)
        advance()
    return Decoded(reasons, twins_by_digest(data, digests))


def require_learnable(data: DataSet) -> None:
    """Require training photographs of two labels or more. Raises ValueError, which names the photographs and labels found."""
    if not data.train:
        raise ValueError(
            f"there must be photographs to train on, got none and {len(data.val) + len(data.test)} that are held out"
        )
    here = {label for example in data.train for label in (example.truth or (example.label,)) if label >= 0}
    if len(here) < 2:
        only = data.labels[next(iter(here))] if here else "without a label"
        limit = (
            ""
            if data.threshold is None
            else f" (a rating above {data.threshold:g} is {data.labels[-1]}; --threshold says another)"
        )
        raise ValueError(f"photographs to train on must have two labels or more, got {len(data.train)}, all {only}{limit}")


def balance(data: DataSet, examples: Iterable[Example]) -> dict[str, int]:
    """The number of examples with each label; an example with several right labels counts for each."""
    counts = Counter(label for example in examples for label in (example.truth or (example.label,)))
    return {name: counts[index] for index, name in enumerate(data.labels)}


def _ids(root: Path, category: str, part: str) -> list[int]:
    path = root / LISTS / f"{category}_{part}.jpgl"
    return read_list(path) if path.is_file() else []


def _high(means: dict[int, float], ids: Sequence[int]) -> float:
    return round(100 * float(np.mean([means[i] > THRESHOLD for i in ids])), 1) if ids else 0.0
