"""The recipe: the compact double-column network, its pre-training on faults, its teaching, and its evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from dcnn_fast.nets import MultiColumn
from dcnn_fast.spec import Block, Column, CrossMapNorm, Network, Pool, View
from dcnn_fast.training import Batch, fit
from tools.default_model import faults
from tools.default_model.pictures import Crops, Picture, crops, views

PLANE, WINDOW = 72, 64
BATCH = 32
COMPONENTS = 64  # of the teacher's features


def network(mean: tuple[float, ...]) -> Network:
    """The compact DCNN: Arch 1 with 32 filters first, conv1 stride 4, 64-pixel windows and fc 256, 256."""

    def column(view: View) -> Column:
        norm = CrossMapNorm()
        blocks = (
            Block(32, 11, stride=4, pool=Pool(), norm=norm),
            Block(64, 5, padding=2, pool=Pool(), norm=norm),
            Block(64, 3, padding=1),
            Block(64, 3, padding=1),
        )
        return Column(view, blocks, (256, 256), plane=PLANE, window=WINDOW, mean=mean, scale=1 / 64, dropout=0.1)

    return Network("dcnn-compact", (column("local"), column("warp")))


def channel_mean(pictures: Sequence[Picture]) -> tuple[float, float, float]:
    """Mean of each channel over pictures, in levels, to one decimal."""
    red, green, blue = np.mean([picture.pixels.reshape(-1, 3).mean(axis=0) for picture in pictures], axis=0)
    return round(float(red), 1), round(float(green), 1), round(float(blue), 1)


def joined_features(net: MultiColumn, batch: Batch) -> Tensor:
    """Both columns' last fc outputs, [N, 512]."""
    return torch.cat([column(windows) for column, windows in zip(net.columns, batch.windows, strict=True)], dim=1)


def _batches(source: Crops, chosen: np.ndarray, targets: Sequence[Tensor], rng: np.random.Generator) -> Iterator[Batch]:
    for rows in np.array_split(rng.permutation(chosen), max(1, len(chosen) // BATCH)):
        windows = views(source, rows, WINDOW, rng, flip=True)
        yield Batch(windows, tuple(target[torch.from_numpy(rows)] for target in targets))


@dataclass(frozen=True)
class FaultTask:
    """Photographs and faulty twins: the crops, 1.0 for a clean one, and which picture each belongs to."""

    source: Crops
    clean: Tensor


def fault_task(pictures: Sequence[Picture], variants: int, seed: int) -> FaultTask:
    """`variants` pairs of every picture."""
    rng = np.random.default_rng(seed)
    images, labels, owners = [], [], []
    for index, picture in enumerate(pictures):
        for _ in range(variants):
            images += faults.pair(picture.pixels, rng)
            labels += [1.0, 0.0]
            owners += [index, index]
    whole = crops([Picture(image, float("nan"), "") for image in images], 1, PLANE, seed)
    return FaultTask(Crops(whole.pixels, whole.planes, np.array(owners)), torch.tensor(labels))


def pretrain(net: MultiColumn, task: FaultTask, held_out: np.ndarray, epochs: int, seed: int) -> float:
    """Teach `net` to tell photographs from faulty ones; returns its accuracy on the pictures in `held_out`."""
    rng = np.random.default_rng(seed)
    held = np.isin(task.source.picture, held_out)
    chosen = np.flatnonzero(~held)

    def loss(batch: Batch) -> Tensor:
        return F.cross_entropy(net(*batch.windows), batch.targets[0].long())

    steps = epochs * max(1, len(chosen) // BATCH)
    fit(net, (_batches(task.source, chosen, [task.clean], rng) for _ in range(epochs)), loss, steps=steps)
    rows = np.flatnonzero(held)
    high = predict(net, task.source, rows, 16, seed)
    return float(((high > 0.5) == (task.clean[rows].numpy() > 0.5)).mean())


def teach(
    net: MultiColumn,
    source: Crops,
    pictures: Sequence[Picture],
    features: np.ndarray,
    chosen: np.ndarray,
    *,
    epochs: int,
    seed: int,
    rate: float = 2e-3,
    feature_weight: float = 0.1,
    own: float = 0.3,
) -> None:
    """Train `net` on the crops `chosen` to imitate the teacher and to rate as people did.

    features: [crops, 512] of the frozen ImageNet network. A ridge regression from them to the ratings, fitted on the chosen
    crops only, rates every chosen crop; a rated picture's target is that moved by `own` towards its own rating. A linear layer
    that is thrown away afterwards maps the joined features to the teacher's first principal components.
    """
    rng = np.random.default_rng(seed)
    ratings = np.array([picture.rating for picture in pictures])[source.picture]
    rated = chosen[np.isfinite(ratings[chosen])]
    centre, spread = np.median(ratings[rated]), ratings[rated].std()
    teacher = make_pipeline(StandardScaler(), Ridge(3000)).fit(features[rated], ratings[rated])
    guessed = teacher.predict(features)
    known = np.where(np.isfinite(ratings), ratings, guessed)
    wanted = 1 / (1 + np.exp(-2.0 * ((1 - own) * guessed + own * known - centre) / spread))
    components = make_pipeline(StandardScaler(), PCA(COMPONENTS, whiten=True, random_state=0)).fit(features[chosen])
    targets = [torch.from_numpy(values.astype(np.float32)) for values in (wanted, components.transform(features))]
    head = nn.Linear(net.label.in_features, COMPONENTS)
    trained = nn.ModuleList([net, head])

    def loss(batch: Batch) -> Tensor:
        joined = joined_features(net, batch)
        high = torch.stack([1 - batch.targets[0], batch.targets[0]], dim=1)
        return F.cross_entropy(net.label(joined), high) + feature_weight * F.mse_loss(head(joined), batch.targets[1])

    steps = epochs * max(1, len(chosen) // BATCH)
    fit(
        trained,
        (_batches(source, chosen, targets, rng) for _ in range(epochs)),
        loss,
        steps=steps,
        rate=rate,
    )


@torch.inference_mode()
def predict(net: MultiColumn, source: Crops, chosen: np.ndarray, count: int, seed: int) -> np.ndarray:
    """P(high) of the chosen crops, each averaged over `count` pairs of random windows: [len(chosen)]."""
    rng = np.random.default_rng(seed)
    net.eval()
    rows = np.repeat(chosen, count)
    parts = [
        net(*views(source, part, WINDOW, rng, flip=False)).softmax(dim=1)[:, 1]
        for part in np.array_split(rows, max(1, len(rows) // 256))
    ]
    return torch.cat(parts).numpy().reshape(len(chosen), count).mean(axis=1)
