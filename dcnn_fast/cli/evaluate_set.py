"""The examples on which `dcnn-fast evaluate` measures models: labelled as for the models, without their training examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dcnn_fast.cli.evaluate import MeasuredSet
from dcnn_fast.data import DataSet, Example
from dcnn_fast.data.label_names import with_labels
from dcnn_fast.data.sets import is_rated
from dcnn_fast.evaluation.histograms import are_ratings
from dcnn_fast.nets import Model, second_task
from dcnn_fast.printable import shortened
from dcnn_fast.training.model_history import Learnt, learnt_by

PARTS = ("test", "val", "train", "all")


@dataclass(frozen=True)
class Measured:
    """The set, the models for its labels, the examples to measure, and notes on their choice for the user."""

    data: DataSet
    models: dict[str, Model]
    examples: tuple[Example, ...]
    notes: tuple[str, ...]


def measured_on(path: Path, wanted: MeasuredSet, models: Mapping[str, Model]) -> Measured:
    """The examples that the models are measured on.

    A set without a split of its own is taken whole, unless a part is requested. Ratings are high above the models' threshold,
    unless one is given. Examples that a model has learnt from are left out of a set without a training part. Raises ValueError
    where the models disagree with each other or the set.
    """
    if wanted.part not in PARTS:
        raise ValueError(f"--split must be one of {', '.join(PARTS)}; got {wanted.part!r}")
    notes = list[str]()
    learnt = {name: learnt_by(model.provenance) for name, model in models.items()}
    whole = all(part is None for part in (wanted.fold, wanted.folds, wanted.split_seed, wanted.val))
    if wanted.threshold is None and is_rated(path, wanted.kind, wanted.columns, wanted.by):
        wanted = replace(wanted, threshold=_threshold(learnt))
        if wanted.threshold is not None:
            notes.append(f"{wanted.threshold:g} is the threshold that the model learnt with")
    data = wanted.opened(path, quiet=True, unsplit="test" if whole else "fold")
    data, suited = _suited(data, models)
    examples = {**dict.fromkeys(PARTS, ()), **data.parts, "all": data.examples}[wanted.part]
    if not examples:
        hint = "; --fold N deals it into parts" if wanted.part == "train" and whole else ""
        hint = "; --val SHARE draws some" if wanted.part == "val" else hint
        raise ValueError(f"the {wanted.part} part of the set has no photographs{hint}")
    left, told = _unseen(wanted.part, data, examples, learnt)
    return Measured(data, suited, left, (*notes, *told))


def _threshold(learnt: Mapping[str, Learnt]) -> float | None:
    """The models' threshold, None where no model has one. Raises ValueError where they differ."""
    found = {each.threshold for each in learnt.values() if each.threshold is not None}
    if len(found) > 1:
        said = ", ".join(f"{name} with {each.threshold:g}" for name, each in learnt.items() if each.threshold is not None)
        raise ValueError(f"models must have learnt with one threshold, got {said}; --threshold says which ratings are high")
    return next(iter(found), None)


def _suited(data: DataSet, models: Mapping[str, Model]) -> tuple[DataSet, dict[str, Model]]:
    """The set, relabelled with the models' labels, and for each model the task that predicts these labels."""
    suited = {name: second_task(model) if model.spec.attributes == data.labels else model for name, model in models.items()}
    of_labels = {name: model for name, model in suited.items() if not are_ratings(model.spec.labels)}  # others predict ratings
    labels = {each.spec.labels for each in of_labels.values()} - {data.labels}
    relabelled = data
    for name, model in of_labels.items():
        try:
            relabelled = with_labels(data, model.spec.labels)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        if len(labels) > 1 or (labels and model.spec.labels not in labels):
            raise ValueError(f"models must have the same labels, {name} has {shortened(model.spec.labels)}")
    return relabelled, suited


def _unseen(
    part: str, data: DataSet, examples: Sequence[Example], learnt: Mapping[str, Learnt]
) -> tuple[tuple[Example, ...], list[str]]:
    """The examples without any that a model has learnt from. If the set has a training part, they stay and a note is added."""
    seen = {example.key for each in learnt.values() for example in each.seen_of(data, examples)} if part == "test" else set()
    if not seen:
        return tuple(examples), []
    said = f"{len(seen)} of {len(examples)} photographs are some that a model has learnt from"
    if data.train:
        return tuple(examples), [said]
    left = tuple(example for example in examples if example.key not in seen)
    if not left:
        raise ValueError(f"{said}: nothing is left to measure; --split all measures them all the same")
    return left, [f"{said} and are left out; --split all takes them too"]
