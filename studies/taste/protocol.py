"""The measurements: folds with unseen themes, choices by inner folds, calibrated probabilities, and faults."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from studies.taste.faults import FAULTS
from studies.taste.features import CLEAN, Features, Rated
from studies.taste.learning import Head, Lesson, Scale, learn, lesson_of, scores

SEEDS, FOLDS, INNER_FOLDS, HEADS = (0, 1, 2), 5, 3, 3
PRESSURES = (1.0, 1.5, 2.0)  # weights of the pairs, chosen by the inner folds
MISSED = 3.0  # the penalty in AUC, in that choice, for missing the bars by 1, averaged over the faults


@dataclass(frozen=True)
class Study:
    """The data, standardised."""

    rated: Rated
    oasis: Features
    photos: Features
    scale: Scale

    @classmethod
    def of(cls, rated: Rated, oasis: Features, photos: Features) -> Study:
        """The study from raw features."""
        scale = Scale.of((oasis, photos))
        return cls(rated, scale(oasis), scale(photos), scale)


@dataclass(frozen=True)
class Taught:
    """Heads, the mapping of their scores to P(high), and their chosen pressure."""

    heads: list[Head]
    slope: float
    offset: float
    pressure: float

    def probabilities(self, values: np.ndarray) -> np.ndarray:
        """P(high) of [n, features]."""
        return 1 / (1 + np.exp(-(self.slope * scores(self.heads, values) + self.offset)))


@dataclass(frozen=True)
class Fold:
    """P(high) by a model that saw neither the themes nor the photographs: for the rated photographs `test` and for their and
    the unrated photographs' variants, [photographs] by (fault, level); clean ones are under (CLEAN, 0).
    """

    seed: int
    pressure: float
    test: np.ndarray
    oasis: dict[tuple[str, int], np.ndarray]
    photos: dict[tuple[str, int], np.ndarray]


def folds(rated: Rated, rows: np.ndarray, count: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The rows split into training and held-out ones, stratified by label; no theme is in both."""
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    for train, test in splitter.split(rows, rated.high[rows], rated.themes[rows]):
        yield rows[train], rows[test]


def teach(study: Study, rows: np.ndarray, unrated: Sequence[str], seed: int) -> Taught:
    """A model trained on these photographs alone. Inner folds choose the pressure and give the scores for fitting P(high)."""
    found = {pressure: _inner(study, rows, unrated, pressure, seed) for pressure in PRESSURES}
    pressure = max(found, key=lambda each: found[each][0])
    held_out = found[pressure][1]
    fitted = LogisticRegression(C=1e6).fit(held_out[:, None], study.rated.high[rows])
    lesson = _lesson(study, rows, unrated)
    heads = [learn(lesson, pressure, 100 * seed + number) for number in range(HEADS)]
    return Taught(heads, float(fitted.coef_[0, 0]), float(fitted.intercept_[0]), pressure)


def _parts(names: Sequence[str], count: int, seed: int) -> list[list[str]]:
    """The photographs divided into `count` parts, in an order drawn by the seed."""
    order = np.random.default_rng(seed).permutation(len(names))
    return [[names[row] for row in part] for part in np.array_split(order, count)]


def _lesson(study: Study, rows: np.ndarray, unrated: Sequence[str]) -> Lesson:
    names = [study.rated.names[row] for row in rows]
    return lesson_of(study.oasis, names, study.rated.ratings[rows], study.photos, unrated)


def _inner(study: Study, rows: np.ndarray, unrated: Sequence[str], pressure: float, seed: int) -> tuple[float, np.ndarray]:
    """The merit of a pressure, its AUC minus the penalty for missed bars, and every row's score by a head that had not seen its
    theme.
    """
    held_out, lower = np.zeros(len(study.rated.names)), []
    parts = _parts(unrated, INNER_FOLDS, seed)
    for number, (train, test) in enumerate(folds(study.rated, rows, INNER_FOLDS, seed)):
        seen = [name for other, part in enumerate(parts) if other != number for name in part]
        head = learn(_lesson(study, train, seen), pressure, seed)
        held_out[test] = scores([head], study.oasis.values[study.oasis.of([study.rated.names[row] for row in test])])
        lower.append(_lower(head, study.photos, parts[number]))
    missed = sum(max(0.0, fault.bar - share) for fault, share in zip(FAULTS, np.mean(lower, axis=0), strict=True))
    value = roc_auc_score(study.rated.high[rows], held_out[rows]) - MISSED * missed / len(FAULTS)
    return float(value), held_out[rows]


def _lower(head: Head, photos: Features, names: Sequence[str]) -> list[float]:
    """The share of these photographs that score lower with each fault at its visible strength."""
    clean = scores([head], photos.values[photos.of(names)])
    return [float((scores([head], photos.values[photos.of(names, fault.name, 2)]) < clean).mean()) for fault in FAULTS]


def measure(study: Study, workers: int) -> list[Fold]:
    """Measure every fold of every seed."""
    seeds, numbers = zip(*((seed, number) for seed in SEEDS for number in range(FOLDS)), strict=True)
    with ProcessPoolExecutor(workers, get_context("spawn"), _begin, (study,)) as pool:
        return list(pool.map(_fold, seeds, numbers))


_STUDY: list[Study] = []  # this process's, so that it receives the features once


def _begin(study: Study) -> None:
    torch.set_num_threads(1)
    _STUDY.append(study)


def _fold(seed: int, number: int) -> Fold:
    (study,) = _STUDY
    everything = np.arange(len(study.rated.names))
    train, test = list(folds(study.rated, everything, FOLDS, seed))[number]
    parts = _parts(study.photos.names, FOLDS, seed)
    seen = [name for other, part in enumerate(parts) if other != number for name in part]
    taught = teach(study, train, seen, seed)
    names = [study.rated.names[row] for row in test]
    return Fold(
        seed, taught.pressure, test, _variants(taught, study.oasis, names), _variants(taught, study.photos, parts[number])
    )


def _variants(taught: Taught, features: Features, names: Sequence[str]) -> dict[tuple[str, int], np.ndarray]:
    variants = [(CLEAN, 0), *((fault.name, level) for fault in FAULTS for level, _ in fault.levels())]
    return {each: taught.probabilities(features.values[features.of(names, *each)]) for each in variants}
