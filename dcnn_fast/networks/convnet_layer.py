"""What is read of cuda-convnet's files before it is a network: its layers, and the errors of their keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dcnn_fast.networks.layers import View
from dcnn_fast.printable import shortened

NUL = "\0"


class ConvNetError(ValueError):
    """A file of cuda-convnet's that is wrong or that no `Network` can say; the message names the layer, the key and why."""


@dataclass(frozen=True)
class Layer:
    """One layer of cuda-convnet, its keys as values under their own names.

    kind: data, conv, local, fc, pool, cmrnorm, rnorm, cnorm, neuron, dropout, concat, pass, eltsum, eltmax, softmax or
    cost.logreg. A conv or local layer's `each` holds the values of each of its inputs, the first one's are its own values too.
    A norm's `scale` is not divided by its size; its `k` is 1 or minDiv. A neuron layer's `neuron` is its name and, in brackets,
    its numbers. dropout: of the layer's own output.
    keeps: with the outputs multiplied by 1 - dropout when the network is tested, not by 1 / (1 - dropout) when it is trained.
    """

    name: str
    kind: str
    inputs: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    dropout: float = 0.0
    keeps: bool = True


@dataclass(frozen=True)
class Preprocessing:
    """What cuda-convnet leaves to its data provider. views: one for each column, or one for all of them."""

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
    """What is known of the data provider; a side that is not said follows from the other as 256 from 224.

    Example: `preprocessing(window=28).plane` is 32.
    """
    if window is None:
        window = 224 if plane is None else max(1, plane * 224 // 256)
    return Preprocessing(tuple(views), round(window * 256 / 224) if plane is None else plane, window, tuple(mean))


def refuse(layer: str, key: str, why: str) -> ConvNetError:
    """The error of one key of one layer; what follows a NUL in a name is the reader's own."""
    return ConvNetError(f"[{shortened([layer.partition(NUL)[0]])}] {key}: {why}")
