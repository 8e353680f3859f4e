"""The pictures of `dcnn-fast evaluate --pictures`: their names, and how each is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import permutations
from pathlib import Path

from dcnn_fast.evaluation import Predictions
from dcnn_fast.nets import Model
from dcnn_fast.networks import Network
from dcnn_fast.viz.distributions import save_distributions
from dcnn_fast.viz.filters import filters
from dcnn_fast.viz.first_filters import filter_files, first_filters
from dcnn_fast.viz.grid import Row, grid
from dcnn_fast.viz.picture_files import safe, save_picture
from dcnn_fast.viz.rankings import best_and_worst, best_by_category, distributions, right_where_wrong


def picture_files(models: Mapping[str, Network], rows: Sequence[str]) -> list[str]:
    """The names of all possible pictures. rows: the names of the models and of everything else that is measured."""
    found = [file for name, network in models.items() for file in filter_files(network, name)]
    for name in rows:
        found += _ranked(name), _categories(name), _distribution(name)
    return found + [_beats(one, other) for one, other in permutations(rows, 2)]


def drawings(models: Mapping[str, Model], found: Mapping[str, Predictions]) -> dict[str, Callable[[Path], None]]:
    """The function that draws each picture, by file name, for pictures that have content: filters of each column, rankings of
    each model, comparisons of each pair, and the distributions."""
    drawn: dict[str, Callable[[Path], None]] = {}
    for name, model in models.items():
        for file, weight in zip(filter_files(model.spec, name), first_filters(model), strict=True):
            drawn[file] = lambda path, weight=weight: save_picture(filters(weight), path)  # type: ignore[misc]
    for name, each in found.items():
        _add(drawn, _ranked(name), best_and_worst(each))
        _add(drawn, _categories(name), best_by_category(each))
        drawn[_distribution(name)] = partial(save_distributions, distributions(each))
    for one, other in permutations(found, 2):
        _add(drawn, _beats(one, other), right_where_wrong(found[one], found[other], (one, other)))
    return drawn


def _add(drawn: dict[str, Callable[[Path], None]], file: str, rows: Sequence[Row]) -> None:
    if any(row.photographs for row in rows):
        drawn[file] = lambda path: save_picture(grid(rows), path)


def _ranked(name: str) -> str:
    return f"ranked-{safe(name)}.jpg"


def _categories(name: str) -> str:
    return f"categories-{safe(name)}.jpg"


def _distribution(name: str) -> str:
    return f"distribution-{safe(name)}.png"


def _beats(one: str, other: str) -> str:
    return f"{safe(one)}-beats-{safe(other)}.jpg"
