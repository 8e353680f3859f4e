"""EfficientNet-Lite as data (Tan and Le 2019; Google's Lite variants: no excitation, ReLU6, stem and head of fixed width)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

Lite = Literal["lite0", "lite1", "lite2"]
LITES: tuple[Lite, ...] = get_args(Lite)
STEM, HEAD = 32, 1280  # filters
LITE_MEAN, LITE_SCALE = (127.0, 127.0, 127.0), 1 / 128  # for pixels in levels: (p - mean) * scale
_STEP = 8  # widths are multiples of it


@dataclass(frozen=True)
class InvertedResidual:
    """`expansion` times the channels, each filtered with `size` x `size`, `stride` apart, projected to `filters` maps, to which
    the input is added where `residual`. expansion 1: no expansion layer.
    """

    channels: int
    filters: int
    size: int
    stride: int
    expansion: int

    @property
    def expanded(self) -> int:
        """Channels of the wide maps."""
        return self.expansion * self.channels

    @property
    def residual(self) -> bool:
        """Whether the input is added to the result."""
        return self.stride == 1 and self.channels == self.filters


@dataclass(frozen=True)
class _Stage:
    """A stage of Lite0: blocks that differ only in the first one's channels and stride."""

    filters: int
    blocks: int
    size: int
    stride: int
    expansion: int = 6


_STAGES = (
    _Stage(16, 1, 3, 1, expansion=1), _Stage(24, 2, 3, 2), _Stage(40, 2, 5, 2), _Stage(80, 3, 3, 2), _Stage(112, 3, 5, 1),
    _Stage(192, 4, 5, 2), _Stage(320, 1, 3, 1),
)  # fmt: skip
_MULTIPLES = {"lite0": (1.0, 1.0, 224), "lite1": (1.0, 1.1, 240), "lite2": (1.1, 1.2, 260)}  # width, depth, window


def lite_window(lite: Lite) -> int:
    """The side in pixels of the square images on which the weights were trained."""
    return _multiples(lite)[2]


def lite_stages(lite: Lite) -> tuple[tuple[InvertedResidual, ...], ...]:
    """The blocks between stem and head, stage by stage. Raises ValueError for an unknown variant."""
    width, depth, _ = _multiples(lite)
    stages, channels = [], STEM
    for number, stage in enumerate(_STAGES):
        fixed = number in (0, len(_STAGES) - 1)  # the first and the last stage are not repeated
        filters = _widened(stage.filters, width)
        blocks = []
        for i in range(stage.blocks if fixed else math.ceil(depth * stage.blocks)):
            blocks.append(InvertedResidual(channels, filters, stage.size, 1 if i else stage.stride, stage.expansion))
            channels = filters
        stages.append(tuple(blocks))
    return tuple(stages)


def lite_shapes(lite: Lite) -> dict[str, tuple[int, ...]]:
    """The shape of every layer's weight and bias, in order, batch norms folded in: "stem.weight", "blocks.0.depthwise.bias"."""
    shapes: dict[str, tuple[int, ...]] = {"stem.weight": (STEM, len(LITE_MEAN), 3, 3), "stem.bias": (STEM,)}
    filters = STEM
    for number, block in enumerate(block for stage in lite_stages(lite) for block in stage):
        layers: dict[str, tuple[int, ...]] = {}
        if block.expansion > 1:
            layers["expand"] = block.expanded, block.channels
        layers |= {"depthwise": (block.expanded, block.size, block.size), "project": (block.filters, block.expanded)}
        for layer, shape in layers.items():
            shapes[f"blocks.{number}.{layer}.weight"], shapes[f"blocks.{number}.{layer}.bias"] = shape, shape[:1]
        filters = block.filters
    return shapes | {"head.weight": (HEAD, filters), "head.bias": (HEAD,)}


def _multiples(lite: str) -> tuple[float, float, int]:
    if lite not in _MULTIPLES:
        raise ValueError(f"lite must be one of {', '.join(_MULTIPLES)}; got {lite!r}")
    return _MULTIPLES[lite]


def _widened(filters: int, width: float) -> int:
    """The nearest multiple of eight that is not more than a tenth below the widened number."""
    wanted = filters * width
    found = max(_STEP, int(wanted + _STEP / 2) // _STEP * _STEP)
    return found + _STEP if found < 0.9 * wanted else found
