"""From planes and plans to probabilities, with bits that depend on nothing but the image, the windows and the weights.

Blocks run image by image, so that an image's maps stay in cache; the fully-connected layers, the head, run over all windows
of a batch, so that their weights are read once. `ops.linear` gives every row the same bits whatever its neighbours are.
What is copied here numpy copies: torch would do it on its own threads, which then spin for milliseconds beside the engine's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from dcnn_fast import ops
from dcnn_fast.nets import Block, Column, MultiColumn, WeightsError, network_with, weights_of
from dcnn_fast.ops.memory import copied
from dcnn_fast.ops.precision import Precision
from dcnn_fast.ops.views import ViewParams
from dcnn_fast.plan import ColumnPlan
from dcnn_fast.runtime.memory import Memory
from dcnn_fast.runtime.watch import Watch, require_float32_on_cpu, written

_MEMORY = Memory()


@dataclass(frozen=True)
class Job:
    """One image for one column: its plane, its windows' corners [views, 2] and the plan of them.

    plane: [H, W, 3] uint8; where `view` is given it is still to be made, and this is the photograph.
    """

    plane: np.ndarray
    windows: np.ndarray
    plan: ColumnPlan
    view: ViewParams | None = None


@dataclass(frozen=True)
class Maps:
    """What the blocks make of one image, for each column: [distinct windows, features], and which of them each view has.

    weights: what tells the network's weights from those after a change (`CpuNetwork`).
    """

    columns: tuple[Tensor, ...]
    window_of: tuple[np.ndarray, ...]
    weights: object = None

    @property
    def bytes(self) -> int:
        """What they hold in memory."""
        return sum(column.nbytes for column in self.columns)


class CpuNetwork:
    """A network on the cpu. precision: of the blocks' products; that of a fully-connected layer follows from its weights.

    In "ieee" the weights are the network's own, read anew for every image. In "bf16" the fully-connected weights are a copy,
    rounded; it is made again when the network's weights are no longer those it was made of. An image whose blocks saw other
    weights than the head would is refused (of writes that torch does not count, no one can tell).
    """

    def __init__(self, net: MultiColumn, precision: Precision) -> None:
        self._net, self._precision = net, precision
        self._rounded = _Rounded(net) if precision == "bf16" else None

    def blocks(self, jobs: Sequence[Job]) -> Maps:
        """The blocks of one image: a Job for each column of the network. Raises WeightsError."""
        weights = weights_of(self._net)
        require_float32_on_cpu(weights)
        if self._rounded is None:
            return replace(blocks(self._net, jobs, self._precision), weights=written(weights))
        rounded = self._rounded
        if rounded.watch.changed(weights):
            rounded = self._rounded = _Rounded(self._net)
        return replace(blocks(rounded.net, jobs, self._precision), weights=rounded)

    def head(self, images: Sequence[Maps]) -> list[np.ndarray]:
        """Each image's [views, labels] float64 probabilities, of all images together. Raises WeightsError."""
        rounded = self._rounded
        weights = written(weights_of(self._net)) if rounded is None else rounded
        if any(maps.weights != weights for maps in images):
            raise WeightsError("the model's weights were changed while a picture was being scored: change them between scores")
        return head(self._net if rounded is None else rounded.net, images)


class _Rounded:
    """A copy of a network with its fully-connected weights rounded, and what watches over those that it was made of."""

    def __init__(self, net: MultiColumn) -> None:
        require_float32_on_cpu(weights_of(net))
        self.watch = Watch(net)
        self.net = with_bf16_layers(net)

    def __eq__(self, other: object) -> bool:
        """Whether both were made of the same weights, as two workers may at a time."""
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
def blocks(net: MultiColumn, jobs: Sequence[Job], precision: Precision = "ieee") -> Maps:
    """The blocks of one image: a Job for each column of the network.

    precision: of the blocks' products; that of a fully-connected layer follows from its weights' dtype (`ops.linear`).
    """
    columns = tuple(
        column_maps(column, job, precision)  # type: ignore[arg-type]
        for column, job in zip(net.columns, jobs, strict=True)
    )
    return Maps(columns, tuple(job.plan.window_of for job in jobs))


@torch.no_grad()
def head(net: MultiColumn, images: Sequence[Maps]) -> list[np.ndarray]:
    """Each image's [views, labels] float64 probabilities, of all images together."""
    if not images:
        return []
    features = [
        column_features(column, [maps.columns[i] for maps in images], [maps.window_of[i] for maps in images]).numpy()  # type: ignore[arg-type]
        for i, column in enumerate(net.columns)
    ]
    logits = _linear(torch.from_numpy(np.concatenate(features, axis=1)), net.label, relu=False).numpy().astype(np.float64)
    counts = [len(maps.window_of[0]) for maps in images]
    return np.split(_softmax(logits), np.cumsum(counts)[:-1])


def _softmax(logits: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):  # infinite logits give NaN, which the scorer reports
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        result: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return result


def column_features(column: Column, maps: Sequence[Tensor], window_of: Sequence[np.ndarray]) -> Tensor:
    """The last fc layer's activations of every view of every image: [sum of views, fc[-1]]."""
    x = torch.from_numpy(np.concatenate([of.numpy() for of in maps])) if len(maps) > 1 else maps[0]
    for layer in column.fc:
        x = _linear(x, layer, relu=True)
    first = np.cumsum([0] + [len(rows) for rows in maps])
    rows = np.concatenate([of + start for of, start in zip(window_of, first, strict=False)])
    return torch.from_numpy(x.numpy()[rows])


def column_maps(column: Column, job: Job, precision: Precision = "ieee") -> Tensor:
    """The last block's output of every distinct window, as `spec.Column.reduce` says: [windows, features]."""
    sources = [torch.from_numpy(job.plane).permute(2, 0, 1)[None]]
    mean, scale = column.spec.mean, column.spec.scale
    for number, (block, regions) in enumerate(zip(column.blocks, job.plan.blocks, strict=True)):
        assert isinstance(block, Block)
        b = block.spec
        # A block reads what the one before wrote: two sets of buffers take turns.
        out = [
            _MEMORY.channels_last(f"{number % 2}.{i}", (images, b.filters, rows, cols))
            for i, (images, rows, cols) in enumerate(regions.outputs)
        ]
        sources = ops.block_regions(
            sources, regions, block.weight, block.bias, stride=b.stride, padding=b.padding, groups=b.groups,
            rounding=block.rounding, pool=b.pool, norm=b.norm, order=b.order, mean=mean, scale=scale, precision=precision,
            out=out,
        )  # fmt: skip
        mean, scale = (), 1.0
    # A copy, as the buffer is used again.
    maps = torch.from_numpy(np.array(sources[0].numpy(), order="C"))
    return maps.flatten(1) if column.spec.reduce == "flatten" else averaged(maps)


def averaged(maps: Tensor) -> Tensor:
    """The mean of each map, [N, C, H, W] or [N, C, H * W] -> [N, C], with bits that depend on the map alone."""
    count, channels = maps.shape[:2]
    rows = maps.reshape(count * channels, -1)
    share = torch.full((1, rows.shape[1]), 1 / rows.shape[1], dtype=maps.dtype, device=maps.device)
    return ops.linear(rows, share, share.new_zeros(1)).reshape(count, channels)


def _linear(x: Tensor, layer: nn.Module, *, relu: bool) -> Tensor:
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor) and isinstance(bias, Tensor), "weights_of refuses others"
    return ops.linear(x, weight, bias, relu=relu)
