"""The study: its networks, their training data, and the results that are kept."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import Tensor

from dcnn_fast.nets import Column, Model, MultiColumn, build, load_model, save_model
from dcnn_fast.networks import Network
from dcnn_fast.scoring import Scorer
from studies.oasis import learning, pictures
from studies.oasis.learning import Lesson
from studies.oasis.networks import PLANE, Semantic, compact_network, with_columns
from studies.oasis.pictures import Crops, Picture
from studies.oasis.statistics import statistics

CROPS = 4  # training crops of each picture
VARIANTS = 3  # pairs of each unrated picture
FOLDS = 5
FAULT_EPOCHS, EPOCHS, ADAPT_EPOCHS, ATTRIBUTE_EPOCHS = 10, 10, 3, 20
ADAPT_RATE = 3e-4  # for adapting the generic network


@dataclass(frozen=True)
class Prepared:
    """The data. ratings, themes, categories: of the rated pictures. source: their crops. features: [crops, 2, 512], for each
    crop and its mirror image. shown: [n, 26] statistics.
    """

    rated: list[Picture]
    unrated: list[Picture]
    source: Crops
    features: Tensor
    shown: np.ndarray
    semantic: Semantic

    @property
    def ratings(self) -> np.ndarray:
        return np.array([picture.rating for picture in self.rated])

    @property
    def high(self) -> np.ndarray:
        """Whether each rating is above the median of all."""
        return np.asarray(self.ratings > np.median(self.ratings))

    @property
    def themes(self) -> np.ndarray:
        return np.array([picture.theme for picture in self.rated])

    @property
    def categories(self) -> np.ndarray:
        return np.array([picture.category for picture in self.rated])


def prepare(data: Path, out: Path) -> Prepared:
    """Read everything; frozen features are computed once and stored in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    rated, unrated = pictures.rated(data), pictures.unrated(data)
    source = pictures.crops(rated, CROPS, PLANE, seed=0)
    semantic = Semantic(data / "squeezenet" / "squeezenet1_0.safetensors")
    kept = out / "features.npy"
    if not kept.exists():
        both = [semantic.features([pixels[:, ::step] for pixels in source.pixels]) for step in (1, -1)]
        np.save(kept, torch.stack(both, dim=1).numpy())
    features = torch.from_numpy(np.load(kept))
    return Prepared(rated, unrated, source, features, statistics([picture.pixels for picture in rated]), semantic)


def folds(prepared: Prepared, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Training and held-out pictures, stratified by label; no theme is in both."""
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    yield from splitter.split(prepared.ratings, prepared.high, prepared.themes)


def pretrained(prepared: Prepared, seed: int, out: Path) -> tuple[MultiColumn, float]:
    """A double-column network trained for faults on four fifths of the unrated photographs, and its accuracy on the others."""
    path = out / f"faults{seed}.safetensors"
    if not path.exists():
        net = build(compact_network(("local", "warp"), pictures.channel_mean(prepared.unrated)), seed=seed)
        lesson = learning.fault_lesson(prepared.unrated, VARIANTS, seed)
        unseen = np.random.default_rng(seed).permutation(len(prepared.unrated))[: len(prepared.unrated) // 5]
        held = np.isin(lesson.source.picture, unseen)
        learning.learn(net, lesson.of(np.flatnonzero(~held)), epochs=FAULT_EPOCHS, seed=seed)
        accuracy = learning.fault_accuracy(net, lesson.of(np.flatnonzero(held)), seed)
        save_model(Model(net, {"fault accuracy": accuracy}), path)
    model = load_model(path)
    return model.net, float(model.provenance["fault accuracy"])


def held_out(prepared: Prepared, base: MultiColumn, train: np.ndarray, test: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """P(high) of the held-out pictures by every model trained on the others: [len(test)] each."""
    lesson = learning.rating_lesson(prepared.source, prepared.ratings, train)
    unseen = [prepared.rated[i] for i in test]
    found = _baselines(prepared, train, test)
    local, warp = _columns(base)
    nets = {"SCNN local": [local], "SCNN global": [warp], "DCNN": [local, warp]}
    trained = {}
    for name, columns in nets.items():
        trained[name] = _learnt(columns, lesson, seed)
        found[name] = _scores(trained[name], unseen)
    found["AVG_SCNN"] = (found["SCNN local"] + found["SCNN global"]) / 2
    attributes = learning.learn_attributes(prepared.features, lesson, epochs=ATTRIBUTE_EPOCHS, seed=seed)
    found["semantic column"] = _scores(_alone(prepared, attributes), unseen)
    found["RDCNN"] = _scores(_regularised(prepared, base, attributes, lesson, seed), unseen)
    found |= _adapted(prepared, base, trained["DCNN"], lesson, unseen, found["DCNN"], seed)
    return found


def _columns(net: MultiColumn) -> list[Column]:
    return [column for column in net.columns if isinstance(column, Column)]


def _learnt(columns: Sequence[Column], lesson: Lesson, seed: int) -> MultiColumn:
    net = with_columns(columns)
    learning.learn(net, lesson, epochs=EPOCHS, seed=seed)
    return net


def _alone(prepared: Prepared, attributes: learning.Attributes) -> MultiColumn:
    net = with_columns([prepared.semantic.column(attributes.folded())])
    net.label.load_state_dict(attributes.label.state_dict())
    return net


def _regularised(
    prepared: Prepared, base: MultiColumn, attributes: learning.Attributes, lesson: Lesson, seed: int
) -> MultiColumn:
    """RDCNN: the two columns, trained beside the frozen one."""
    columns = with_columns(_columns(base))
    layer = attributes.folded()
    with torch.no_grad():
        frozen = layer(prepared.features).relu()
    label = learning.learn_beside(columns, frozen, attributes.label, lesson, epochs=EPOCHS, seed=seed)
    semantic: Column = prepared.semantic.column(layer)
    trained: list[Column] = [*columns.columns, semantic]
    net = MultiColumn(Network("rdcnn-compact", tuple(column.spec for column in trained)))
    for mine, theirs in zip(net.columns, trained, strict=True):
        mine.load_state_dict(theirs.state_dict())
    net.label.load_state_dict(label.state_dict())
    return net.eval()


def _adapted(
    prepared: Prepared, base: MultiColumn, generic: MultiColumn, lesson: Lesson, unseen: Sequence[Picture],
    generic_scores: np.ndarray, seed: int,
) -> dict[str, np.ndarray]:  # fmt: skip
    """The three methods for a category's pictures (paper III-C), each picture by its category's networks.

    cats: trained on the category alone. generic: on all. adapt: the generic network after a few more epochs on the category.
    """
    cats, adapt = np.empty(len(unseen)), np.empty(len(unseen))
    for category in np.unique(prepared.categories):
        rows = lesson.rows[prepared.categories[prepared.source.picture[lesson.rows]] == category]
        mine = [i for i, picture in enumerate(unseen) if picture.category == category]
        if not mine:
            continue
        own = lesson.of(rows)
        cats[mine] = _scores(_learnt(_columns(base), own, seed), [unseen[i] for i in mine])
        further = copy.deepcopy(generic)
        learning.learn(further, own, epochs=ADAPT_EPOCHS, seed=seed, rate=ADAPT_RATE)
        adapt[mine] = _scores(further, [unseen[i] for i in mine])
    return {"cats": cats, "generic": generic_scores, "adapt": adapt}


def _baselines(prepared: Prepared, train: np.ndarray, test: np.ndarray) -> dict[str, np.ndarray]:
    inputs = {
        "majority": (np.zeros((len(prepared.rated), 1)), StandardScaler()),
        "colour and sharpness": (prepared.shown, StandardScaler()),
        "category": (prepared.categories[:, None], OneHotEncoder(handle_unknown="ignore")),
    }
    found = {}
    for name, (values, scaled) in inputs.items():
        linear = make_pipeline(scaled, LogisticRegression(C=0.1, max_iter=1000))
        found[name] = linear.fit(values[train], prepared.high[train]).predict_proba(values[test])[:, 1]
    return found


def _scores(net: MultiColumn, photographs: Sequence[Picture]) -> np.ndarray:
    """P(high) by the users' protocol: 50 samples, seed 0."""
    scorer = Scorer(Model(net.eval()))
    return np.array([score.mean for score in scorer.score_many(picture.pixels for picture in photographs)])
