"""A quick look at the held-out examples while a network trains; `dcnn_fast.evaluation` is the thorough one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing

import numpy as np
import torch
from torch import Tensor, nn

from dcnn_fast.data import Example
from dcnn_fast.ops.plain_torch import plain_torch
from dcnn_fast.training.distributed import World
from dcnn_fast.training.losses import layers_of
from dcnn_fast.training.mini_batches import Draws, Request, load


@torch.no_grad()
def look(
    net: nn.Module, draws: Draws, world: World, device: torch.device, *, batch: int, workers: int = 0
) -> tuple[dict[str, float], dict[str, str]]:
    """The `measures` of the examples of `draws`, each by the mean probability of its samples, and the failures.

    batch: windows at a time. Processes share the work. Unreadable photographs are left out and returned, reasons by key;
    without a readable one there are no measures.
    """
    was_training = net.training
    net.eval()
    at_a_time = max(1, batch // draws.samples)
    numbers = range(world.rank, len(draws.pictures), world.size)
    requests = [Request(None, tuple(numbers[i : i + at_a_time])) for i in range(0, len(numbers), at_a_time)]
    found: list[tuple[int, list[float], int]] = []
    bad: list[tuple[int, str]] = []
    with closing(load(draws, requests, workers)) as loaded:
        for cases in loaded:
            bad += cases.bad
            if cases.numbers:
                with plain_torch(device):
                    layers = layers_of(net(*cases.on(device, draws.pictures.inputs)))
                probs, *second = (_averaged(logits, draws.samples) for logits in layers)
                named = second[0].argmax(dim=1).tolist() if second else [-1] * len(cases.numbers)
                found += zip(cases.numbers, probs.tolist(), named, strict=True)
    net.train(was_training)
    gathered = world.gather((found, bad))
    everyones = sorted(row for part, _ in gathered for row in part)
    examples = draws.pictures.examples
    reasons = {examples[number].key: reason for _, part in gathered for number, reason in part}
    if not everyones:
        return {}, reasons
    shown = [examples[number] for number, *_ in everyones]
    measured = measures(np.array([probs for _, probs, _ in everyones]), shown)
    return {**measured, **_second_task([named for *_, named in everyones], shown)}, reasons


def _averaged(logits: Tensor, samples: int) -> Tensor:
    """[n * samples, labels] logits -> [n, labels] probabilities, the mean of the samples."""
    return logits.double().softmax(dim=1).reshape(len(logits) // samples, samples, -1).mean(dim=1)


def _second_task(named: Sequence[int], examples: Sequence[Example]) -> dict[str, float]:
    """attribute_accuracy and attribute_majority of the examples that have an attribute, where a network names attributes."""
    pairs = [(name, e.attribute) for name, e in zip(named, examples, strict=True) if name >= 0 and e.attribute >= 0]
    if not pairs:
        return {}
    truth = np.array([attribute for _, attribute in pairs])
    right = float(np.mean([name == attribute for name, attribute in pairs]))
    return {"attribute_accuracy": right, "attribute_majority": float(np.bincount(truth).max() / len(truth))}


def measures(probs: np.ndarray, examples: Sequence[Example]) -> dict[str, float]:
    """count, loss, accuracy, balanced_accuracy, majority and, for two labels, auc of probabilities [n, labels].

    A prediction is right when it is the label or, where several are right, one of `truth`; majority: the accuracy of always
    naming the commonest label. auc is NaN where only one label occurs.
    """
    from sklearn.metrics import recall_score, roc_auc_score  # noqa: PLC0415 - optional dependency

    labels, named = np.array([example.label for example in examples]), probs.argmax(axis=1)
    right = [name == example.label or name in example.truth for name, example in zip(named, examples, strict=True)]
    taken = np.where(right, named, labels)  # where several labels are right, the one that was named
    balanced = float(recall_score(taken, named, labels=np.unique(taken), average="macro"))  # of the labels that occur
    result = {
        "count": len(examples),
        "loss": float(-np.log(probs[np.arange(len(labels)), labels].clip(1e-300)).mean()),
        "accuracy": float(np.mean(right)),
        "balanced_accuracy": balanced,
        "majority": float(np.bincount(labels).max() / len(labels)),
    }
    if probs.shape[1] == 2:
        both = len(set(labels.tolist())) == 2
        result["auc"] = float(roc_auc_score(labels, probs[:, 1])) if both else math.nan
    return result
