"""What a run learns from and is looked at with: the examples that can be used, their windows, and what is said of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from dcnn_fast.data import DataSet, Example
from dcnn_fast.nets import AnyColumn, Column, Input, MultiColumn
from dcnn_fast.training import checkpoint as runs
from dcnn_fast.training.learning import columns_of, multi_column
from dcnn_fast.training.learnt import summary_of
from dcnn_fast.training.loading import Draws
from dcnn_fast.training.pictures import Pictures
from dcnn_fast.training.settings import Settings


@dataclass(frozen=True)
class Lesson:
    """The examples of a run and their windows.

    train: what is learnt from. draws: their windows. held_out: the windows of those that are only looked at. summary: of the
    set, for model files. fingerprint, identity: of set and network, by which a run is known again.
    """

    train: tuple[Example, ...]
    draws: Draws
    held_out: Draws
    summary: dict[str, Any]
    fingerprint: str
    identity: dict[str, str]


def lesson_of(
    net: nn.Module, data: DataSet, settings: Settings, *, decoded: bool, origin: str = "", seen: Collection[str] = ()
) -> Lesson:
    """The lesson of a set for a network.

    decoded: leave photographs without views, for a device that makes the planes itself. origin, seen: as `train` has them.
    Raises ValueError when there is nothing to learn from, or the labels differ.
    """
    inputs: tuple[Input, ...] = net.inputs  # type: ignore[assignment]
    train, test = _usable(multi_column(net), data)
    shape = _architecture(columns_of(net))
    seed = settings.seed
    return Lesson(
        train,
        Draws(Pictures(train, inputs, decoded=decoded), seed=seed, flip=settings.flip),
        Draws(Pictures(test, inputs, decoded=decoded), seed=seed, views=settings.test_views),
        summary_of(data, train, seen),
        runs.fingerprint_of(data, inputs, shape),
        runs.identity_of(data, inputs, shape, origin),
    )


def _usable(net: MultiColumn | None, data: DataSet) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """The examples that have what is learnt or looked at. Raises ValueError when there is none, or the labels differ."""
    if net is not None:
        for name, ours, theirs in (
            ("labels", net.spec.labels, data.labels),
            ("attributes", net.spec.attributes, data.attributes if net.spec.attributes else ()),
        ):
            if ours != theirs:
                raise ValueError(f"the network's {name} must be the data's, {list(theirs)}; got {list(ours)}")
    second = net is None or bool(net.spec.attributes)
    trained = tuple(example for example in data.train if example.label >= 0 or (second and example.attribute >= 0))
    if not trained:
        raise ValueError(f"data.train must hold labelled examples, got none of {len(data.train)}")
    return trained, tuple(example for example in data.test if example.label >= 0)


def _architecture(columns: Sequence[AnyColumn]) -> list[Any]:
    """What the columns are, without what a run itself changes in them."""
    return [
        replace(column.spec, mean=(0.0,) * column.spec.channels) if isinstance(column, Column) else column.spec
        for column in columns
    ]
