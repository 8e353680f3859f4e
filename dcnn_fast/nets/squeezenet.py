"""Imports SqueezeNet's weights from torchvision's layout into a column (`networks.squeezenet_column`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from dcnn_fast import networks
from dcnn_fast.nets.column import Block, Column
from dcnn_fast.nets.importing import read_state, weight_named
from dcnn_fast.networks.squeezenet import FIRES, IMAGENET_DEVIATION


def import_squeezenet(
    weights: str | Path | Mapping[str, Tensor],
    view: networks.View = "warp",
    *,
    plane: int = 227,
    window: int = 227,
    fc: tuple[int, ...] = (256,),
    seed: int = 0,
) -> Column:
    """A frozen column with the convolutions of a SqueezeNet v1.0.

    The first filters are divided by torchvision's deviation of each channel.

    Args:
        weights: torchvision's state dict, or a file with it, .safetensors or by torch.save.
        view: The view that the column sees.
        plane: The planes' side, in pixels.
        window: The windows' side, in pixels; odd.
        fc: The sizes of the fully-connected layers.
        seed: The seed from which these are drawn.

    Returns:
        The column.

    Raises:
        ModelError: A file cannot be read, or a tensor is missing or has another shape.
        ValueError: The window is even.
    """
    state = weights if isinstance(weights, Mapping) else read_state(Path(weights))
    column = Column(networks.squeezenet_column(view, plane=plane, window=window, fc=fc))
    column.initialise(torch.Generator("cpu").manual_seed(seed))
    first, *rest = column.blocks
    deviation = torch.tensor(IMAGENET_DEVIATION, dtype=torch.float32, device="cpu").reshape(1, 3, 1, 1)
    _fill(first, _tensor(state, "features.0.weight", (96, 3, 7, 7)) / deviation, _tensor(state, "features.0.bias", (96,)))
    channels = 96
    for fire, squeeze, expand in zip(FIRES, rest[::2], rest[1::2], strict=True):
        _fill(squeeze, *_convolution(state, f"{fire.name}.squeeze", fire.squeeze, channels, 1))
        small, small_bias = _convolution(state, f"{fire.name}.expand1x1", fire.expand, fire.squeeze, 1)
        large, large_bias = _convolution(state, f"{fire.name}.expand3x3", fire.expand, fire.squeeze, 3)
        middle = torch.nn.functional.pad(small, (1, 1, 1, 1))
        _fill(expand, torch.cat([middle, large]), torch.cat([small_bias, large_bias]))
        channels = 2 * fire.expand
    return column


def _convolution(state: Mapping[str, Tensor], name: str, filters: int, channels: int, size: int) -> tuple[Tensor, Tensor]:
    weight = _tensor(state, f"{name}.weight", (filters, channels, size, size))
    return weight, _tensor(state, f"{name}.bias", (filters,))


def _tensor(state: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    return weight_named(state, name, shape, "SqueezeNet v1.0").float()


@torch.no_grad()
def _fill(block: torch.nn.Module, weight: Tensor, bias: Tensor) -> None:
    assert isinstance(block, Block)
    block.weight.copy_(weight)
    block.bias.copy_(bias)
