"""The training steps in order, with their data and starting weights: the paper's networks by the users' command."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from studies.para.collection import FOLDS, Collection
from studies.para.recipe import Recipe

IMAGENET = "imagenet"  # the converted weights of EfficientNet-Lite0, from which a column may start
_SHOWN_A_MINUTE = 9000  # photographs per minute in training one column on two cores


@dataclass(frozen=True)
class Step:
    """One network that is trained and then judged on its table's held-out photographs.

    name: its folder's name. group: its row in the report. net: the preset, or "adapt" for training column 0's starting network
    further. train, test: rows of the collection. starts: the step and column from which each column starts. minutes: its
    approximate cost on two cores.
    """

    name: str
    group: str
    seed: int
    net: str
    train: np.ndarray = field(repr=False)
    test: np.ndarray = field(repr=False)
    epochs: int
    options: tuple[str, ...] = ()
    starts: tuple[tuple[str, int], ...] = ()
    minutes: float = 0.0


def steps(collection: Collection, recipe: Recipe) -> list[Step]:
    """All steps: one seed of the paper's networks on the whole training part first, then the others by their cost.

    A step comes after those from which it starts.
    """
    whole = len(collection.train)
    first = list(_networks(collection, recipe, whole, recipe.whole, 0))
    others: list[list[Step]] = []
    for seed in range(recipe.seeds):
        for size, epochs in (*recipe.sizes.items(), (whole, recipe.whole)):
            if size < whole or (size == whole and seed):
                others.append(list(_networks(collection, recipe, size, epochs, seed)))
    local = _name("scnn-local", whole, 0)
    others += [[step] for step in _architectures(collection, recipe)]
    others += [list(_attributes(collection, recipe, local)), list(_adaptation(collection, recipe, whole))]
    others.sort(key=lambda group: sum(step.minutes for step in group))
    return [*first, *(step for group in others for step in group)]


def _name(kind: str, size: int, seed: int) -> str:
    return f"{kind}-{size}-seed{seed}"


def _networks(collection: Collection, recipe: Recipe, size: int, epochs: int, seed: int) -> Iterator[Step]:
    """SCNN for both views, DCNN from them, the frozen column's layers, RDCNN from both; AVG_SCNN needs no training."""
    rows = collection.drawn(size, seed)
    local, warp, dcnn, lite, rdcnn = (_name(kind, size, seed) for kind in ("scnn-local", "scnn-warp", "dcnn", "lite0", "rdcnn"))
    fewer = max(1, round(recipe.further * epochs))
    minutes = size / _SHOWN_A_MINUTE

    def step(
        kind: str, name: str, net: str, count: int, cost: float, starts: tuple[tuple[str, int], ...] = (), view: str = ""
    ) -> Step:
        options = ("--views", view) if view else ()
        group = f"{kind} {size}"
        return Step(name, group, seed, net, rows, collection.test, count, options, starts, 0.5 + cost * minutes * count)

    yield step("SCNN local", local, "scnn-arch1", epochs, 1, view="local")
    yield step("SCNN warp", warp, "scnn-arch1", epochs, 1, view="warp")
    yield step("DCNN", dcnn, "dcnn", fewer, 2, ((local, 0), (warp, 0)))
    yield step("Lite0 column", lite, "lite0", recipe.above, 0.1, ((IMAGENET, 0),))
    yield step("RDCNN", rdcnn, "rdcnn-lite0", fewer, 2, ((dcnn, 0), (dcnn, 1), (lite, 0)))


def _architectures(collection: Collection, recipe: Recipe) -> Iterator[Step]:
    """Table I's other architectures, for the warped view."""
    whole = len(collection.train)
    minutes = whole * recipe.whole / _SHOWN_A_MINUTE
    for number in recipe.architectures:
        yield Step(
            f"arch{number}-{whole}-seed0", f"SCNN warp, Arch {number}", 0, f"scnn-arch{number}", collection.drawn(whole, 0),
            collection.test, recipe.whole, ("--views", "warp"), minutes=minutes,
        )  # fmt: skip


def _attributes(collection: Collection, recipe: Recipe, start: str) -> Iterator[Step]:
    """Eq. 3: the rating alone, and with the photograph's most salient attribute, from the same trained column."""
    for fold in range(FOLDS):
        train, test = collection.fold(fold)
        minutes = len(train) * recipe.fine / _SHOWN_A_MINUTE
        for kind, options in (("rating alone", ()), ("rating and attribute", ("--multi-task",))):
            yield Step(
                f"{kind.replace(' ', '-')}-fold{fold}", kind, 0, "scnn-arch1", train, test, recipe.fine,
                ("--views", "local", *options), ((start, 0),), minutes,
            )  # fmt: skip


def _adaptation(collection: Collection, recipe: Recipe, size: int) -> Iterator[Step]:
    """For each category: a network trained on it alone, and the generic one after a few epochs on it (paper III-C)."""
    generic = _name("dcnn", size, 0)
    of = collection.categories[collection.annotated]
    for category in sorted(set(of)):
        if (of == category).sum() < recipe.fewest:
            continue
        for fold in range(FOLDS):
            train, test = (rows[collection.categories[rows] == category] for rows in collection.fold(fold))
            minutes = 2 * len(train) * recipe.fine / _SHOWN_A_MINUTE
            slug = f"{category}-fold{fold}"
            yield Step(f"cats-{slug}", "cats", 0, "dcnn", train, test, recipe.fine, minutes=minutes)
            yield Step(
                f"adapt-{slug}", "adapt", 0, "adapt", train, test, recipe.fine, starts=((generic, 0),), minutes=minutes
            )  # fmt: skip
