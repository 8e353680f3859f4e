"""The examples that a run trains on and is judged by: the usable ones, their windows and their targets."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from dcnn_fast.data import DataSet, Example
from dcnn_fast.nets import AnyColumn, Column, Input, MultiColumn
from dcnn_fast.training import checkpoint as runs
from dcnn_fast.training.aims import Aim, aim_of
from dcnn_fast.training.learning_layers import columns_of, multi_column
from dcnn_fast.training.mini_batches import Draws
from dcnn_fast.training.model_history import summary_of
from dcnn_fast.training.photographs import Pictures
from dcnn_fast.training.settings import Settings


@dataclass(frozen=True)
class Lesson:
    """The examples of a run and their windows.

    train: the training examples. draws: their windows. aim: their targets. validation: the windows of the examples that choose
    the best epoch, none where the set has no such part. held_out: the windows of the test examples. summary: the set's, for
    model files. fingerprint, identity: those of set and network, by which a resumed run is recognised.
    """

    train: tuple[Example, ...]
    draws: Draws
    validation: Draws
    held_out: Draws
    aim: Aim
    summary: dict[str, Any]
    fingerprint: str
    identity: dict[str, str]

    @property
    def judge(self) -> str:
        """The part of the set by which the best epoch is chosen: "val" where it has one, else "test"."""
        return "val" if len(self.validation.pictures) else "test"


def lesson_of(
    net: nn.Module, data: DataSet, settings: Settings, *, decoded: bool, origin: str = "", seen: Collection[str] = ()
) -> Lesson:
    """The lesson of a set for a network.

    decoded: leave photographs without views, for a device that makes the planes. origin, seen: as in `train`.
    Raises ValueError when there is nothing to learn from, or the labels differ.
    """
    inputs: tuple[Input, ...] = net.inputs  # type: ignore[assignment]
    train, test = _usable(multi_column(net), data)
    val = tuple(example for example in validation_of(data) if example.label >= 0)
    _require_of_use(train, val or test, settings, len(data.labels))
    if settings.patience and not val:
        raise ValueError("patience must not be given without photographs of the split val, by which to judge; the set has none")
    shape = _architecture(columns_of(net))
    seed = settings.seed
    more = _more_of(val, train, data, settings)
    return Lesson(
        train,
        Draws(Pictures(train, inputs, decoded=decoded), seed=seed, flip=settings.flip),
        Draws(Pictures(val, inputs, decoded=decoded), seed=seed, samples=settings.test_samples),
        Draws(Pictures(test, inputs, decoded=decoded), seed=seed, samples=settings.test_samples),
        aim_of(data, train, settings),
        summary_of(data, train, seen),
        " ".join([runs.fingerprint_of(data, inputs, shape), *more.values()]),
        {**runs.identity_of(data, inputs, shape, origin), **more},
    )


def _usable(net: MultiColumn | None, data: DataSet) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """The labelled examples of train and test. Raises ValueError when none can be learnt from, or the labels differ."""
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


def _require_of_use(train: Sequence[Example], judged: Sequence[Example], settings: Settings, labels: int) -> None:
    """Raise ValueError naming a setting that has no effect or no meaning with these examples.

    judged: the examples that choose the best epoch.
    """
    steps = math.ceil(len(train) / settings.batch)
    if settings.warmup and settings.warmup * steps <= 1:
        raise ValueError(
            f"warmup must be longer than one of the {steps} mini-batches of an epoch, got {settings.warmup:g} epochs"
        )
    two = labels == 2 and len({example.label for example in judged}) == 2
    if settings.best_by == "auc" and settings.evaluate_every and judged and not two:
        raise ValueError("best_by must not be auc where the photographs to judge by have none, of two labels that both occur")


def validation_of(data: DataSet) -> tuple[Example, ...]:
    """The set's own part of the split "val", none where it has none."""
    return data.val


def _more_of(
    val: Sequence[Example], train: Sequence[Example], data: DataSet, settings: Settings
) -> dict[str, str]:  # fmt: skip
    """Further entries of a run's identity: its validation examples, and the ratings or votes that targets are made of."""
    found = {}
    if val:
        found["validation photographs"] = f"{len(val)} ({_digest([(e.key, e.label, e.truth) for e in val])})"
    if settings.targets != "labels":
        found["ratings"] = _digest([(example.rating, example.votes) for example in train])
        found["threshold"] = repr(data.threshold)
    return found


def _digest(values: object) -> str:
    return hashlib.sha256(repr(values).encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _architecture(columns: Sequence[AnyColumn]) -> list[Any]:
    """The columns' specs, without the means, which a run changes."""
    return [
        replace(column.spec, mean=(0.0,) * column.spec.channels) if isinstance(column, Column) else column.spec
        for column in columns
    ]
