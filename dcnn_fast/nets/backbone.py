"""A column of EfficientNet-Lite's layers as a torch module. `ops.backbone` computes the layers; they are never trained."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from dcnn_fast import engine, networks
from dcnn_fast.nets.column import AnyColumn, draw, fc_layers, require_windows
from dcnn_fast.nets.errors import WeightsError
from dcnn_fast.nets.kept import Keeper
from dcnn_fast.nets.kept_digest import digest_of
from dcnn_fast.nets.seen import Seen
from dcnn_fast.networks.efficientnet import HEAD, LITE_MEAN, LITE_SCALE, STEM, Lite, lite_shapes, lite_stages
from dcnn_fast.ops import backbone
from dcnn_fast.ops.backbone import BackboneParams, BackboneWeights, BlockShape, PreparedBackbone, Stem
from dcnn_fast.ops.mbconv import MbConvWeights
from dcnn_fast.ops.precision import Precision

BACKBONE = ".backbone"  # suffix of the name of a column's buffer of layers in `weights_of`


class BackboneColumn(AnyColumn, Keeper):
    """A column of EfficientNet-Lite's layers, batch norms folded in.

    `backbone` holds all their weights, layer by layer in one float32 buffer (`layers_of` names them). They are not parameters:
    no optimiser sees them, and no gradient reaches them or the pixels.

    Args:
        column: The column as data; all weights are zero at first.
    """

    backbone: Tensor

    def __init__(self, column: networks.BackboneColumn) -> None:
        super().__init__(column)
        self.spec: networks.BackboneColumn = column
        self.register_buffer(
            "backbone", torch.zeros(backbone_size(column.lite), dtype=torch.float32, device=torch.get_default_device())
        )
        self.fc = fc_layers(column)
        self.requires_grad_(not column.frozen)
        self._prepared: _Prepared | None = None

    def forward(self, windows: Tensor) -> Tensor:
        """Compute the column.

        Args:
            windows: [N, 3, window, window] pixels 0-255, uint8 or floating point.

        Returns:
            [N, fc[-1]].

        Raises:
            ValueError: The windows do not fit the column.
            BackendError: The device has no backend for these layers.
            WeightsError: The layers have no weights.
        """
        require_windows(self.spec, windows)
        pixels = windows if windows.dtype == torch.uint8 else windows.float()
        return self._above(self.means(pixels).to(self.fc[0].weight.dtype))  # type: ignore[arg-type]

    @torch.no_grad()
    def means(self, windows: Tensor, precision: Precision | None = None) -> Tensor:
        """The input of the first fully-connected layer.

        Args:
            windows: [N, 3, window, window] uint8 or float32.
            precision: The precision of the layers' products; the column's own by default.

        Returns:
            [N, features] float32.
        """
        layers = self._ready(self.precision if precision is None else precision, windows.device)
        if self.kept is None or windows.dtype != torch.uint8 or windows.device.type != "cpu":
            return layers.features(windows)
        return self.kept.of(layers, windows)

    @property
    def sees_all(self) -> bool:
        """Whether its windows are whole views."""
        return self.spec.view != "local" and self.spec.window == self.spec.plane

    def features_digest(self) -> str:
        """A digest of the layers' weights, the layers that give features, and the backend that computes them."""
        return digest_of((self.spec.lite, self.spec.stages, self.precision), [self.backbone])

    def features_form(self) -> tuple[tuple[int, ...], torch.dtype]:
        """Means in float32, whatever the weights' dtype."""
        return (self.spec.features,), torch.float32

    @property
    def stem(self) -> Tensor:
        """The first layer's filters, [32, 3, 3, 3]."""
        return layers_of(self.backbone, self.spec.lite)["stem.weight"]

    @property
    def keeps_mean(self) -> bool:
        """True, as the layers were trained with their mean."""
        return True

    def set_mean(self, mean: Sequence[float]) -> None:
        """Accept only the mean with which the layers were trained.

        Args:
            mean: One value per channel.

        Raises:
            ValueError: It is another mean.
        """
        if tuple(mean) != self.spec.mean:
            raise ValueError(f"mean must be {self.spec.mean}, with which {self.spec.lite} was trained, got {tuple(mean)}")

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the fully-connected layers' weights; the other layers do not change.

        Args:
            generator: The source of random numbers, on the cpu.
        """
        for layer in self.fc:
            draw(layer, generator)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_prepared": None, "kept": None}  # a copy prepares its own weights

    def require_weights(self) -> None:
        """Raise WeightsError where the layers have no weights yet."""
        if self.backbone.device.type == "cpu" and not self.backbone.numpy().any():  # not by torch, which would use its threads
            raise WeightsError(f"{self.spec.lite}'s layers have no weights yet: load them, as nets.load_columns does")

    def _ready(self, precision: Precision, device: torch.device) -> PreparedBackbone:
        """The layers in the backend's form, rebuilt after a change of weights or backend."""
        made, settings = self._prepared, (precision, device, "" if engine.reason() else engine.isa())
        if made is None or made.settings != settings or not made.weights.is_still(self.backbone):
            self.require_weights()
            seen = Seen.of(self.backbone)
            params = params_of(self.spec.lite, self.spec.stages, precision)
            made = _Prepared(
                settings, seen, backbone.prepare(params, backbone_weights(self.backbone.float(), self.spec.lite), device)
            )
            self._prepared = made
        return made.layers


@dataclass(frozen=True)
class _Prepared:
    """layers: prepared with these settings from the weights as then seen."""

    settings: tuple[object, ...]
    weights: Seen
    layers: PreparedBackbone


def params_of(lite: Lite, stages: Sequence[int] = (), precision: Precision = "ieee", side: int = 1) -> BackboneParams:
    """The problem of one image of `side` x `side`. stages: ascending numbers of stages whose last blocks' means are features,
    too.
    """
    described = lite_stages(lite)
    last = list(accumulate(map(len, described)))
    blocks = tuple(
        BlockShape(b.channels, b.expanded, b.filters, b.size, b.stride, b.expansion > 1, b.residual)
        for stage in described
        for b in stage
    )
    stem = Stem(STEM, 3, 2, LITE_MEAN, LITE_SCALE)
    return BackboneParams(1, side, side, stem, blocks, HEAD, tuple(last[stage] - 1 for stage in stages), precision=precision)


def backbone_size(lite: Lite) -> int:
    """The number of values in all layers' weights and biases."""
    return sum(map(math.prod, lite_shapes(lite).values()))


def layers_of(values: Tensor, lite: Lite) -> dict[str, Tensor]:
    """The weights and biases by name, views of [backbone_size(lite)] values."""
    shapes = lite_shapes(lite)
    parts = torch.split(values, [math.prod(shape) for shape in shapes.values()])
    return {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def flattened(weights: BackboneWeights) -> Tensor:
    """All layers' weights and biases concatenated, [backbone_size(lite)]: the inverse of `layers_of`."""
    blocks = [layer for block in weights.blocks for layer in (block.expand, block.depthwise, block.project)]
    layers = [layer for layer in (weights.stem, *blocks, weights.head) if layer is not None]
    return torch.cat([part.flatten() for layer in layers for part in layer])


def backbone_weights(values: Tensor, lite: Lite) -> BackboneWeights:
    """[backbone_size(lite)] values as `ops.backbone` takes them, in the same memory."""
    layers = layers_of(values, lite)

    def layer(name: str) -> tuple[Tensor, Tensor]:
        return layers[f"{name}.weight"], layers[f"{name}.bias"]

    def blocks() -> Iterator[MbConvWeights]:
        for number in range(sum(map(len, lite_stages(lite)))):
            name = f"blocks.{number}"
            expand = layer(f"{name}.expand") if f"{name}.expand.weight" in layers else None
            yield MbConvWeights(expand, layer(f"{name}.depthwise"), layer(f"{name}.project"))

    return BackboneWeights(layer("stem"), tuple(blocks()), layer("head"))
