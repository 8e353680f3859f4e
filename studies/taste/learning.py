"""How the layers above the frozen ones learn: from ratings, and from pairs of a photograph and the same one with a fault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from studies.taste.faults import FAULTS
from studies.taste.features import CLEAN, MIRRORED, Features

UNITS = 128  # of the layer between features and score
EPOCHS, BATCH, PAIRS = 60, 64, 96  # pairs: of each set, beside a batch of ratings
RATE, DECAY, DROPOUT = 1e-3, 0.05, 0.5
MARGIN, SOFTNESS = 0.1, 0.1  # of a pair's difference of scores; scores are in deviations of the ratings
# How much a pair of each fault weighs: more for those that the layers see less of.
WEIGHTS = {
    "defocus": 0.5, "shake": 0.9, "noise": 0.5, "compression": 0.4, "over-exposure": 2.4, "under-exposure": 1.3, "tilt": 1.7,
    "colour cast": 1.3, "clipped": 1.0, "enlarged": 0.4, "upside down": 3.0,
}  # fmt: skip


@dataclass(frozen=True)
class Pairs:
    """Rows of photographs, `better` and `worse`, and by how many levels and with how much weight."""

    features: Tensor
    better: Tensor
    worse: Tensor
    levels: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Lesson:
    """ratings: [n], standardised. rated: [n, 2, features], each photograph and its mirror image. pairs: of each set."""

    ratings: np.ndarray
    rated: np.ndarray
    pairs: tuple[Pairs, ...]


@dataclass(frozen=True)
class Scale:
    """What is taken off each feature, and what it is divided by."""

    middle: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, sets: Sequence[Features]) -> Scale:
        """Of all rows of these sets: no rating is looked at."""
        values = np.concatenate([each.values for each in sets])
        return cls(values.mean(axis=0), values.std(axis=0) + 1e-6)

    def __call__(self, features: Features) -> Features:
        """The features standardised."""
        return Features(((features.values - self.middle) / self.spread).astype(np.float32), features.rows)


class Head(nn.Module):
    """A layer with ReLU and a score: [n, features] -> [n]."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.hidden, self.score = nn.Linear(features, UNITS), nn.Linear(UNITS, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(x, DROPOUT, self.training)
        found: Tensor = self.score(F.dropout(self.hidden(x).relu(), DROPOUT, self.training))
        return found[:, 0]


def pairs_of(features: Features, names: Sequence[str]) -> Pairs:
    """Each photograph against it with each fault, and each strength against the next."""
    better, worse, levels, weights = [], [], [], []
    for name in names:
        for fault in FAULTS:
            before = features.rows[name, CLEAN, 0]
            for level, _ in fault.levels():
                row = features.rows[name, fault.name, level]
                found = [(features.rows[name, CLEAN, 0], float(level))]
                if before != features.rows[name, CLEAN, 0]:
                    found.append((before, 0.5))
                for other, apart in found:
                    better.append(other)
                    worse.append(row)
                    levels.append(apart)
                    weights.append(WEIGHTS[fault.name])
                before = row
    return Pairs(
        torch.from_numpy(features.values), torch.tensor(better), torch.tensor(worse), torch.tensor(levels),
        torch.tensor(weights),
    )  # fmt: skip


def lesson_of(oasis: Features, names: Sequence[str], ratings: np.ndarray, photos: Features, unrated: Sequence[str]) -> Lesson:
    """The lesson of these rated photographs, whose ratings are given, and these without ratings."""
    rated = np.stack([oasis.values[oasis.of(names, variant)] for variant in (CLEAN, MIRRORED)], axis=1)
    standard = (ratings - ratings.mean()) / ratings.std()
    return Lesson(standard, rated, (pairs_of(oasis, names), pairs_of(photos, unrated)))


def learn(lesson: Lesson, pressure: float, seed: int) -> Head:
    """A head whose squared errors on the ratings are small, and `pressure` times as much its pairs in the wrong order."""
    torch.manual_seed(seed)
    rated, ratings = torch.from_numpy(lesson.rated), torch.from_numpy(lesson.ratings.astype(np.float32))
    head = Head(rated.shape[-1])
    steps = EPOCHS * max(1, len(rated) // BATCH)
    optimiser = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for _ in range(steps):
        chosen = torch.randint(len(rated), (BATCH,))
        drawn = [torch.randint(len(pairs.better), (PAIRS,)) for pairs in lesson.pairs]
        x = [rated[chosen, torch.randint(2, (BATCH,))]]
        for pairs, rows in zip(lesson.pairs, drawn, strict=True):
            x += [pairs.features[pairs.better[rows]], pairs.features[pairs.worse[rows]]]
        found, *sides = head(torch.cat(x)).split([BATCH, *[PAIRS] * (2 * len(drawn))])
        loss = F.mse_loss(found, ratings[chosen])
        for pairs, rows, better, worse in zip(lesson.pairs, drawn, sides[::2], sides[1::2], strict=True):
            missing = (MARGIN * pairs.levels[rows] - (better - worse)) / SOFTNESS
            ranking = (pairs.weights[rows] * F.softplus(missing) * SOFTNESS).mean()
            loss = loss + pressure / len(drawn) * ranking
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return head.eval()


@torch.no_grad()
def scores(heads: Sequence[Head], values: np.ndarray) -> np.ndarray:
    """The mean of the heads' scores of [n, features]."""
    found = torch.stack([head(torch.from_numpy(values)) for head in heads]).mean(dim=0)
    return np.asarray(found.double().numpy())
