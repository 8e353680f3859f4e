"""A model fitted to the ratings of one person: tens to hundreds of them, in closed form, beside the model's own score.

A photograph is described by the features of a backbone, whose layers never change. A ridge regression of the ratings on these
features and the model's own score becomes two further units in the next layer, since ReLU(x) - ReLU(-x) = x.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from dcnn_fast.data import DataSet, Example
from dcnn_fast.nets import BackboneColumn, Model, MultiColumn, Percentiles
from dcnn_fast.networks.efficientnet import HEAD, lite_stages
from dcnn_fast.training.model_history import learnt_by, summary_of
from dcnn_fast.training.photographs import Pictures

FEWEST = 10  # ratings
_STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # of the ridge; leave-one-out errors choose
_OWN_SCORE = 3.0  # scale of the model's own score, in deviations, against all features together
_INTERCEPT = 100.0  # prior variance of the intercept, in variances of the ratings: nearly unpenalised
_LOGISTIC = 1.702  # logistic(1.702 x) is the normal distribution function of x within 0.01
_LEAST_DOUBT = 0.2  # smallest deviation assumed of a prediction's error, in deviations of the ratings


@dataclass(frozen=True)
class Personal:
    """model: the fitted model. ratings: their number. strength: the ridge's. before, after: Spearman correlation of the ratings
    with the scores of the starting model, and with leave-one-out predictions of the fit. skipped:
    photographs that could not be read, by key.
    """

    model: Model
    ratings: int
    strength: float
    before: float
    after: float
    skipped: tuple[str, ...]


def why_not(model: Model) -> str | None:
    """None, or one sentence that says why a model cannot be fitted to ratings in closed form."""
    columns, labels = model.spec.columns, model.spec.labels
    found = [column for column in model.net.columns if isinstance(column, BackboneColumn)]
    if len(found) != 1 or len(columns) != 1:
        return f"its features must be those of one column of layers that never change, it has {len(columns)} columns"
    (column,) = found
    if column.spec.window != column.spec.plane or column.spec.view == "local":
        return "its column must see the whole view"
    if len(column.spec.fc) != 1 or len(labels) != 2 or model.spec.attributes:
        return "it must have one layer behind its features, two labels and no attributes"
    return None


def fit_ratings(
    model: Model, examples: Sequence[Example], *, threads: int = 1, advance: Callable[[], object] = lambda: None
) -> Personal:
    """The model fitted to the examples' ratings; P(high) is the probability of a rating above their median.

    threads: threads that read photographs. advance: called for each one read. The percentiles are those of these photographs,
    each scored by a fit without its rating. Raises ValueError for a model that `why_not` rejects, for examples without
    ratings, fewer than ten of them or all the same.
    """
    if why := why_not(model):
        raise ValueError(f"the model cannot be fitted to ratings: {why}")
    pictures = Pictures(examples, model.net.inputs)
    column = _column(model.net)
    found: dict[int, np.ndarray] = {}
    for number, picture in pictures.readable(range(len(pictures)), threads):
        plane = torch.from_numpy(picture.plane(column.spec.view, column.spec.plane)).permute(2, 0, 1)[None]
        found[number] = column.means(plane)[0].double().numpy()
        advance()
    ratings = np.array([examples[number].rating for number in found])
    if len(ratings) < FEWEST or not np.isfinite(ratings).all() or not np.ptp(ratings):
        raise ValueError(f"the examples must have ratings, {FEWEST} or more and not all the same, got {len(ratings)}")
    values = np.stack(list(found.values()))
    fit = _fit(values, _own_scores(model.net, values), (ratings - ratings.mean()) / ratings.std(), _spreads(column, values))
    middle = float(np.median(fit.targets))
    slope = _LOGISTIC / max(_LEAST_DOUBT, float((fit.left_out - fit.targets).std()))
    net = _extended(model.net, fit, slope, middle)
    percentiles = Percentiles.of(
        f"{len(ratings)} photographs that were rated", (1 / (1 + np.exp(-slope * (fit.left_out - middle)))).tolist()
    )
    made = Model(net.eval(), {**model.provenance, **_provenance(model, [examples[number] for number in found])}, percentiles)
    skipped = tuple(example.key for number, example in enumerate(examples) if number not in found)
    return Personal(
        made, len(ratings), fit.strength, _spearman(fit.own, ratings), _spearman(fit.left_out, ratings), skipped
    )  # fmt: skip


def _provenance(model: Model, examples: Sequence[Example]) -> dict[str, Any]:
    """The fitted model's provenance: its threshold is the ratings' median, and it has seen the rated photographs."""
    median = float(np.median([example.rating for example in examples]))
    data = DataSet(model.spec.labels, tuple(examples), (), threshold=median)
    learnt = summary_of(data, examples, learnt_by(model.provenance).seen)
    return {"fitted to": f"{len(examples)} ratings", "training": {"data": learnt}}


@dataclass(frozen=True)
class _Fit:
    """The prediction is values @ weights + own * own_weight + offset, in deviations of the ratings.

    own, targets: the model's own scores and the standardised ratings. left_out: each target's prediction by a fit to all
    others.
    """

    weights: np.ndarray
    own_weight: float
    offset: float
    strength: float
    own: np.ndarray
    targets: np.ndarray
    left_out: np.ndarray


def _fit(values: np.ndarray, own: np.ndarray, targets: np.ndarray, spreads: np.ndarray) -> _Fit:
    middle, center, width = values.mean(axis=0), own.mean(), max(float(own.std()), 1e-9)
    scales = 1 / (spreads * np.sqrt(values.shape[1]))
    design = np.concatenate([(values - middle) * scales, _OWN_SCORE / width * (own - center)[:, None]], axis=1)
    # Centred values and targets sum to zero: without a separate intercept, a fit to all photographs but one would know the
    # omitted rating from the others.
    kernel = design @ design.T + _INTERCEPT
    best: tuple[float, float, np.ndarray, np.ndarray] | None = None
    for strength in _STRENGTHS:
        inverse = np.linalg.inv(kernel + strength * np.eye(len(targets)))
        dual = inverse @ targets
        left_out = targets - dual / np.diag(inverse)  # leave-one-out predictions, in closed form
        error = float(((left_out - targets) ** 2).mean())
        if best is None or error < best[0]:
            best = error, strength, dual, left_out
    assert best is not None
    _, strength, dual, left_out = best
    weights = design.T @ dual
    features, own_weight = weights[:-1] * scales, float(weights[-1]) * _OWN_SCORE / width
    offset = _INTERCEPT * dual.sum() - features @ middle - own_weight * center
    return _Fit(features, own_weight, float(offset), strength, own, targets, left_out)


def _spreads(column: BackboneColumn, values: np.ndarray) -> np.ndarray:
    """The deviation of each feature, shared by a stage's maps so that a map that varies more counts for more."""
    stages = lite_stages(column.spec.lite)
    sizes = [*(stages[stage][-1].filters for stage in column.spec.stages), HEAD]
    parts = np.split(values, np.cumsum(sizes)[:-1], axis=1)
    found = [np.sqrt(part.var(axis=0).mean()) for part in parts]
    return np.concatenate([np.full(size, max(float(each), 1e-9)) for size, each in zip(sizes, found, strict=True)])


def _own_scores(net: MultiColumn, values: np.ndarray) -> np.ndarray:
    """The logit of "high", else of the second label, minus the other logit."""
    layer, (weight, bias) = _column(net).fc[0], _difference(net)
    hidden = np.maximum(values @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy(), 0)  # type: ignore[operator]
    return np.asarray(hidden @ weight + bias)


def _difference(net: MultiColumn) -> tuple[np.ndarray, float]:
    high = _high(net)
    weight, bias = net.label.weight.detach().double().numpy(), net.label.bias.detach().double().numpy()
    return weight[high] - weight[1 - high], float(bias[high] - bias[1 - high])


def _high(net: MultiColumn) -> int:
    return net.spec.labels.index("high") if "high" in net.spec.labels else 1


def _extended(net: MultiColumn, fit: _Fit, slope: float, middle: float) -> MultiColumn:
    """The network with two further units, which carry the features' part of the prediction."""
    column = _column(net)
    (units,) = column.spec.fc
    described = replace(column.spec, fc=(units + 2,))
    made = MultiColumn(replace(net.spec, columns=(described,)))
    mine, (weight, bias) = _column(made), _difference(net)
    features = torch.from_numpy(fit.weights).float()
    signs = np.concatenate([fit.own_weight * weight, [1.0, -1.0]])
    offset = slope * (fit.own_weight * bias + fit.offset - middle)
    with torch.no_grad():
        mine.backbone.copy_(column.backbone)
        mine.fc[0].weight.copy_(torch.cat([column.fc[0].weight, features[None], -features[None]]))  # type: ignore[operator,list-item]
        mine.fc[0].bias.copy_(torch.cat([column.fc[0].bias, torch.zeros(2, dtype=torch.float32, device="cpu")]))  # type: ignore[operator,list-item]
        for label, sign in ((_high(net), 0.5), (1 - _high(net), -0.5)):
            made.label.weight[label] = torch.from_numpy(sign * slope * signs).float()
            made.label.bias[label] = sign * offset
    return made


def _column(net: MultiColumn) -> BackboneColumn:
    (column,) = net.columns
    assert isinstance(column, BackboneColumn), "why_not refuses others"
    return column


def _spearman(scores: np.ndarray, ratings: np.ndarray) -> float:
    """Spearman's rank correlation; equal values share their mean rank."""

    def ranks(values: np.ndarray) -> np.ndarray:
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        return np.asarray((np.cumsum(counts) - (counts + 1) / 2)[inverse])

    return float(np.corrcoef(ranks(scores), ranks(ratings))[0, 1])
