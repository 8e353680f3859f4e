"""Training of the study's networks: faults first, then ratings, all from the same crops and targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcnn_fast.nets import MultiColumn
from dcnn_fast.networks import View
from dcnn_fast.training import Batch, fit
from studies.oasis import faults
from studies.oasis.networks import PLANE, SEMANTIC_UNITS, WINDOW
from studies.oasis.pictures import Crops, Picture, crops, windows

BATCH = 32
STEEPNESS = 2.0  # of the targets: for a rating one deviation above the median, P(high) is 0.88


@dataclass(frozen=True)
class Lesson:
    """Crops with their targets of P(high). high: [crops] float32. rows: those to learn from."""

    source: Crops
    high: Tensor
    rows: np.ndarray

    def of(self, rows: np.ndarray) -> Lesson:
        """The lesson with other rows."""
        return Lesson(self.source, self.high, rows)


def rating_lesson(source: Crops, ratings: np.ndarray, pictures: np.ndarray) -> Lesson:
    """Every crop of the chosen `pictures`. ratings: those of all. A target is a smooth step at the chosen ones' median."""
    middle, spread = np.median(ratings[pictures]), ratings[pictures].std()
    high = 1 / (1 + np.exp(-STEEPNESS * (ratings - middle) / spread))
    return Lesson(
        source,
        torch.from_numpy(high[source.picture].astype(np.float32)),
        np.flatnonzero(np.isin(source.picture, pictures)),
    )


def _loss(logits: Tensor, high: Tensor) -> Tensor:
    return F.cross_entropy(logits, torch.stack([1 - high, high], dim=1))


def _epochs(lesson: Lesson, views: Sequence[View], epochs: int, seed: int) -> tuple[Iterator[Iterator[Batch]], int]:
    """Batches of windows, with the targets and each row's index and flip; and the number of batches."""
    rng = np.random.default_rng(seed)
    parts = max(1, len(lesson.rows) // BATCH)

    def epoch() -> Iterator[Batch]:
        for rows in np.array_split(rng.permutation(lesson.rows), parts):
            flips = rng.random(len(rows)) < 0.5
            seen = windows(lesson.source, rows, views, WINDOW, rng, flips)
            index = torch.from_numpy(rows)
            yield Batch(seen, (lesson.high[index], index, torch.from_numpy(flips)))

    return (epoch() for _ in range(epochs)), epochs * parts


def learn(net: MultiColumn, lesson: Lesson, *, epochs: int, seed: int, rate: float = 1e-3) -> None:
    """Train a network of compact columns."""
    torch.manual_seed(seed)  # dropout
    batches, steps = _epochs(lesson, [column.view for column in net.spec.columns], epochs, seed)
    fit(net, batches, lambda batch: _loss(net(*batch.windows), batch.targets[0]), steps=steps, rate=rate)


def fault_lesson(pictures: Sequence[Picture], variants: int, seed: int) -> Lesson:
    """`variants` pairs of every picture, clean and with a fault; a picture's crops are all of its pairs."""
    rng = np.random.default_rng(seed)
    images: list[np.ndarray] = []
    clean: list[float] = []
    owners: list[int] = []
    for index, picture in enumerate(pictures):
        for _ in range(variants):
            images += faults.pair(picture.pixels, rng)
            clean += [1.0, 0.0]
            owners += [index, index]
    whole = crops([Picture(image, float("nan"), "", "") for image in images], 1, PLANE, seed)
    source = Crops(whole.pixels, whole.planes, np.array(owners))
    return Lesson(source, torch.tensor(clean), np.arange(len(images)))


@torch.inference_mode()
def fault_accuracy(net: MultiColumn, lesson: Lesson, seed: int, count: int = 16) -> float:
    """The share of the lesson's rows on which `net` is right, each averaged over `count` windows."""
    rng = np.random.default_rng(seed)
    net.eval()
    views = [column.view for column in net.spec.columns]
    rows = np.repeat(lesson.rows, count)
    parts = [
        net(*windows(lesson.source, part, views, WINDOW, rng, np.zeros(len(part), bool))).softmax(dim=1)[:, 1]
        for part in np.array_split(rows, max(1, len(rows) // 256))
    ]
    high = torch.cat(parts).numpy().reshape(-1, count).mean(axis=1)
    return float(((high > 0.5) == (lesson.high[lesson.rows].numpy() > 0.5)).mean())


class Attributes(nn.Module):
    """fc256 and a label layer behind frozen features (paper III-E: fine-tuned to the ratings, then frozen).

    The layer is trained on features standardised over the training rows; `folded` is the equivalent layer for raw features.
    """

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.middle: Tensor
        self.spread: Tensor
        self.register_buffer("middle", features.mean(dim=0))
        self.register_buffer("spread", features.std(dim=0) + 1e-3)
        self.fc = nn.Linear(features.shape[1], SEMANTIC_UNITS)
        self.label = nn.Linear(SEMANTIC_UNITS, 2)

    def forward(self, features: Tensor) -> Tensor:
        hidden = self.fc((features - self.middle) / self.spread).relu()
        logits: Tensor = self.label(F.dropout(hidden, 0.5, self.training))
        return logits

    @torch.no_grad()
    def folded(self) -> nn.Linear:
        """fc256 for raw features."""
        layer = nn.Linear(self.fc.in_features, self.fc.out_features)
        layer.weight.copy_(self.fc.weight / self.spread)
        layer.bias.copy_(self.fc.bias - layer.weight @ self.middle)
        return layer


def learn_attributes(features: Tensor, lesson: Lesson, *, epochs: int, seed: int) -> Attributes:
    """features: [crops, 2, 512], for each crop and its mirror image."""
    torch.manual_seed(seed)
    rows = torch.from_numpy(lesson.rows)
    net = Attributes(features[rows].flatten(0, 1))
    rng = np.random.default_rng(seed)
    parts = max(1, len(lesson.rows) // BATCH)

    def epoch() -> Iterator[Batch]:
        for chosen in np.array_split(rng.permutation(lesson.rows), parts):
            index = torch.from_numpy(chosen)
            flips = torch.from_numpy(rng.integers(0, 2, len(chosen)))
            yield Batch((features[index, flips],), (lesson.high[index],))

    loss: Callable[[Batch], Tensor] = lambda batch: _loss(net(batch.windows[0]), batch.targets[0])  # noqa: E731
    fit(net, (epoch() for _ in range(epochs)), loss, steps=epochs * parts, rate=1e-3, decay=3.0)
    return net


def learn_beside(
    net: MultiColumn, attributes: Tensor, start: nn.Linear, lesson: Lesson, *, epochs: int, seed: int, rate: float = 1e-3
) -> nn.Linear:
    """Train the columns of `net` beside frozen attributes [crops, 2, 256] (RDCNN, paper eq. 4); returns their label layer.

    start: the label layer of the attributes alone, which initialises the joint one.
    """
    torch.manual_seed(seed)
    width = net.label.in_features
    label = nn.Linear(width + SEMANTIC_UNITS, 2)
    with torch.no_grad():
        label.weight.zero_()
        label.weight[:, width:].copy_(start.weight)
        label.bias.copy_(start.bias)
    trained = nn.ModuleList([*net.columns, label])
    batches, steps = _epochs(lesson, [column.view for column in net.spec.columns], epochs, seed)

    def loss(batch: Batch) -> Tensor:
        high, rows, flips = batch.targets
        joined = [column(seen) for column, seen in zip(net.columns, batch.windows, strict=True)]
        beside = F.dropout(attributes[rows, flips.long()], 0.5, label.training)
        return _loss(label(torch.cat([*joined, beside], dim=1)), high)

    fit(trained, batches, loss, steps=steps, rate=rate)
    return label
