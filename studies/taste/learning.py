"""Training of the layers above the frozen ones: from ratings, and from pairs of a photograph without and with a fault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from studies.taste.faults import FAULTS
from studies.taste.features import CLEAN, MIRRORED, Features

UNITS = 128  # in the layer between features and score
EPOCHS, BATCH, PAIRS = 60, 64, 96  # pairs: from each set, beside a batch of ratings
RATE, DECAY, DROPOUT = 1e-3, 0.05, 0.5
MARGIN, SOFTNESS = 0.1, 0.1  # for a pair's difference of scores, in deviations of the ratings
# The weight of each fault's pairs: higher for faults that are less visible to the layers.
WEIGHTS = {
    "defocus": 0.5, "shake": 0.9, "noise": 0.5, "compression": 0.4, "over-exposure": 2.4, "under-exposure": 1.3, "tilt": 1.7,
    "colour cast": 1.3, "clipped": 1.0, "enlarged": 0.4, "upside down": 3.0,
}  # fmt: skip


@dataclass(frozen=True)
class Pairs:
    """Rows of photographs, `better` and `worse`, with their difference in levels and their weight."""

    features: Tensor
    better: Tensor
    worse: Tensor
    levels: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Lesson:
    """ratings: [n], standardised. rated: [n, 2, features], each photograph and its mirror image. pairs: for each set."""

    ratings: np.ndarray
    rated: np.ndarray
    pairs: tuple[Pairs, ...]


@dataclass(frozen=True)
class Scale:
    """The offset and divisor of each feature."""

    middle: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, sets: Sequence[Features]) -> Scale:
        """The scale from all rows of these sets, without ratings."""
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
    """Pairs of each photograph without and with each fault, and of each strength and the next."""
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
    """The lesson from rated photographs with their `ratings`, and from unrated ones."""
    rated = np.stack([oasis.values[oasis.of(names, variant)] for variant in (CLEAN, MIRRORED)], axis=1)
    standard = (ratings - ratings.mean()) / ratings.std()
    return Lesson(standard, rated, (pairs_of(oasis, names), pairs_of(photos, unrated)))


def learn(lesson: Lesson, pressure: float, seed: int) -> Head:
    """A head trained to minimise squared errors on the ratings plus `pressure` times the loss of wrongly ordered pairs."""
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
