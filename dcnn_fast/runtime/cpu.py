"""A network on the cpu; its results' bits depend on the image, the windows and the weights alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from dcnn_fast import ops
from dcnn_fast.nets import AnyColumn, GraphColumn, MultiColumn, WeightsError, network_with, weights_of
from dcnn_fast.ops.memory import copied
from dcnn_fast.ops.precision import Precision
from dcnn_fast.runtime.column import column_maps, head_rows
from dcnn_fast.runtime.executor import Intake, Job, Maps, PlaneJob, require_kind
from dcnn_fast.runtime.watch import Watch, require_float32_on_cpu, written

RESULTS = torch.float64  # the head's out_dtype


@dataclass(frozen=True)
class CpuMaps(Maps):
    """Maps in (C, H, W) order. weights: an object that compares unequal once the network's weights have changed."""

    weights: object


class CpuNetwork:
    """A network on the cpu. precision: of the blocks' products; a fully-connected layer's follows from its weights' dtype.

    In "ieee" the network's own weights are read anew for every image. In "bf16" the fully-connected weights are a rounded copy,
    made again when the network's weights have changed. An image whose blocks used other weights than the head would is refused
    (writes that torch does not count go unnoticed).
    """

    def __init__(self, net: MultiColumn, precision: Precision) -> None:
        self._net, self._intake = net, Intake("cpu", precision)
        self._rounded = _Rounded(net) if precision == "bf16" else None

    @property
    def intake(self) -> Intake:
        """Takes finished planes."""
        return self._intake

    def begin(self) -> None:
        """Does nothing: the weights are checked for every image."""

    def blocks(self, jobs: Sequence[Job]) -> CpuMaps:
        """The blocks of one image: a PlaneJob for each column of the network. Raises WeightsError and TypeError."""
        planes = require_kind("jobs", jobs, PlaneJob)
        weights = weights_of(self._net)
        require_float32_on_cpu(weights)
        if self._rounded is None:
            return self._maps(self._net, planes, written(weights))
        rounded = self._rounded
        if rounded.watch.changed(weights):
            rounded = self._rounded = _Rounded(self._net)
        return self._maps(rounded.net, planes, rounded)

    def _maps(self, net: MultiColumn, jobs: Sequence[PlaneJob], weights: object) -> CpuMaps:
        columns = tuple(
            column_maps(column, job, self._intake.precision) for column, job in zip(_columns(net), jobs, strict=True)
        )
        return CpuMaps(columns, tuple(job.plan.window_of for job in jobs), weights)

    def head(self, images: Sequence[Maps]) -> list[np.ndarray]:
        """Each image's [samples, labels] float64 probabilities, of all images together. Raises WeightsError and TypeError."""
        found, (net, weights) = require_kind("images", images, CpuMaps), self._in_use()
        if any(maps.weights != weights for maps in found):
            raise WeightsError("the model's weights were changed while a picture was being scored: change them between scores")
        return _probabilities(net, found)

    def current(self, maps: Maps) -> bool:
        """Whether the weights that made the maps are those that `head` would use. Raises TypeError for another executor's."""
        (found,), (_, weights) = require_kind("maps", [maps], CpuMaps), self._in_use()
        return found.weights == weights

    def _in_use(self) -> tuple[MultiColumn, object]:
        """The network that the head reads, and the `CpuMaps.weights` of its present weights."""
        rounded = self._rounded
        return (self._net, written(weights_of(self._net))) if rounded is None else (rounded.net, rounded)


class _Rounded:
    """A copy of a network with its fully-connected weights rounded, and a watch on the original weights."""

    def __init__(self, net: MultiColumn) -> None:
        require_float32_on_cpu(weights_of(net))
        self.watch = Watch(net)
        self.net = with_bf16_layers(net)

    def __eq__(self, other: object) -> bool:
        """Whether both are copies of the same weights, as two workers may make at a time."""
        return self is other or (isinstance(other, _Rounded) and self.watch == other.watch)

    __hash__ = None  # type: ignore[assignment]


def with_bf16_layers(net: MultiColumn) -> MultiColumn:
    """A copy of `net` whose columns' fully-connected weights are bfloat16: half the memory to read for each batch."""
    state: dict[str, Tensor] = {}
    for name, tensor in weights_of(net).items():
        half = ".fc." in name and name.endswith(".weight")
        state[name] = copied(tensor, torch.bfloat16 if half else torch.float32)
    return network_with(net.spec, state).requires_grad_(False)


@torch.no_grad()
def _probabilities(net: MultiColumn, images: Sequence[CpuMaps]) -> list[np.ndarray]:
    """Each image's [samples, labels] float64 probabilities, of all images together."""
    if not images:
        return []
    columns, counts = _columns(net), [maps.samples for maps in images]
    features, window_of = [], []
    for i, column in enumerate(columns):
        maps = [image.columns[i] for image in images]
        features.append(head_rows(column, maps))
        first = accumulate((len(each) for each in maps), initial=0)
        window_of.append(np.concatenate([image.window_of[i] + start for image, start in zip(images, first, strict=False)]))
    if any(isinstance(column, GraphColumn) for column in columns):
        return np.split(_of_single_layers(net, columns, features, window_of), np.cumsum(counts)[:-1])
    weights, biases = zip(*(_weight_and_bias(column.fc[-1]) for column in columns), strict=True)
    probs, _, _ = ops.head(
        features, weights, biases, *_weight_and_bias(net.label), counts, window_of=[torch.from_numpy(of) for of in window_of],
        out_dtype=RESULTS,
    )  # fmt: skip
    return np.split(probs.numpy(), np.cumsum(counts)[:-1])


def _of_single_layers(
    net: MultiColumn, columns: Sequence[AnyColumn], features: Sequence[Tensor], window_of: Sequence[np.ndarray]
) -> np.ndarray:
    """The probabilities [samples, labels], float64, of a network in which some column has no last layer for `ops.head`."""
    joined = []
    for column, rows, of in zip(columns, features, window_of, strict=True):
        last = None if isinstance(column, GraphColumn) else _weight_and_bias(column.fc[-1])
        joined.append((rows if last is None else ops.linear(rows, *last, relu=True)).numpy()[of])
    weight, bias = _weight_and_bias(net.label)
    logits = ops.linear(torch.from_numpy(np.concatenate(joined, 1)), weight, bias).numpy().astype(np.float64)
    terms = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs: np.ndarray = terms / terms.sum(axis=1, keepdims=True)
    return probs


def _columns(net: MultiColumn) -> list[AnyColumn]:
    return cast("list[AnyColumn]", list(net.columns))


def _weight_and_bias(layer: nn.Module) -> tuple[Tensor, Tensor]:
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor) and isinstance(bias, Tensor), "weights_of refuses others"
    return weight, bias
