"""Layers as read from cuda-convnet's files, and errors in their keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dcnn_fast.networks.layers import View
from dcnn_fast.printable import shortened

NUL = "\0"


class ConvNetError(ValueError):
    """A cuda-convnet file is faulty or no `Network` can express it; the message names the layer, the key and the reason."""


@dataclass(frozen=True)
class Layer:
    """One layer of cuda-convnet with its keys and values.

    kind: data, conv, local, fc, pool, cmrnorm, rnorm, cnorm, neuron, dropout, concat, pass, eltsum, eltmax, softmax or
    cost.logreg. A conv or local layer's `each` holds the values for each of its inputs; the first input's are also the layer's
    own. A norm's `scale` is not divided by its size; its `k` is 1 or minDiv. A neuron layer's `neuron` is its name and, in
    brackets, its numbers. dropout: the share dropped from the layer's output.
    keeps: outputs are multiplied by 1 - dropout in tests, instead of by 1 / (1 - dropout) in training.
    """

    name: str
    kind: str
    inputs: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    dropout: float = 0.0
    keeps: bool = True


@dataclass(frozen=True)
class Preprocessing:
    """The settings of cuda-convnet's data provider.

    Args:
        views: One view for each column, or one for all of them.
        plane: The side of the normalised input, in pixels.
        window: The side of the network's input, in pixels.
        mean: The mean of each channel, subtracted from the pixels.
        scale: The factor of the pixels minus their mean.
    """

    views: tuple[View, ...] = ("warp",)
    plane: int = 256
    window: int = 224
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    scale: float = 1.0


def preprocessing(
    views: Sequence[View] = ("warp",),
    plane: int | None = None,
    window: int | None = None,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
) -> Preprocessing:
    """The data provider's settings; an omitted side follows from the other in the ratio 256 : 224.

    Args:
        views: One view for each column, or one for all of them.
        plane: The side of the normalised input, in pixels.
        window: The side of the network's input, in pixels; 224 where both are omitted.
        mean: The mean of each channel, subtracted from the pixels.

    Returns:
        The settings, with a scale of 1.

    Example:
        >>> preprocessing(window=28).plane
        32
    """
    if window is None:
        window = 224 if plane is None else max(1, plane * 224 // 256)
    return Preprocessing(tuple(views), round(window * 256 / 224) if plane is None else plane, window, tuple(mean))


def refuse(layer: str, key: str, why: str) -> ConvNetError:
    """The error for one key of a layer; the part of a name after a NUL is the reader's own."""
    return ConvNetError(f"[{shortened([layer.partition(NUL)[0]])}] {key}: {why}")
