"""A network from another task as a column for this one: its layers, further trained layers, and a label layer (paper III-E)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from dcnn_fast import networks
from dcnn_fast.nets.column import AnyColumn
from dcnn_fast.nets.efficientnet import import_lite, lite_column, lite_of
from dcnn_fast.nets.errors import ModelError
from dcnn_fast.nets.importing import import_torchvision_alexnet, read_state
from dcnn_fast.nets.modelfile import Model
from dcnn_fast.nets.network import build
from dcnn_fast.nets.squeezenet import import_squeezenet

_LABELS = ("low", "high")


def import_column(
    path: str | Path, view: networks.View = "warp", *, fc: tuple[int, ...] = (256,), stages: Sequence[int] = (), seed: int = 0
) -> AnyColumn:
    """A column of a file's ImageNet weights and freshly drawn layers.

    Args:
        path: A state dict, .safetensors or by torch.save, from which only tensors are read: of torchvision's AlexNet or
            SqueezeNet v1.0, or of EfficientNet-Lite of the package efficientnet_lite_pytorch.
        view: The view that the column sees.
        fc: The sizes of the drawn fully-connected layers.
        stages: EfficientNet-Lite's stages whose maps' means are features, too.
        seed: The seed of the drawn layers.

    Returns:
        The column.

    Raises:
        ModelError: It is another file, or stages are given for another network's weights.
    """
    state = read_state(Path(path))
    if stages and "_conv_stem.weight" not in state:
        raise ModelError(f"{path}: stages are EfficientNet-Lite's, which these weights are not")
    if "features.3.squeeze.weight" in state:
        return import_squeezenet(state, view, fc=fc, seed=seed)
    if "classifier.1.weight" in state and "features.10.weight" in state:
        return import_torchvision_alexnet(state, view, fc=fc, seed=seed)
    if "_conv_stem.weight" in state:
        lite = lite_of(state)
        return lite_column(import_lite(state, lite), lite, view, stages=stages, fc=fc, seed=seed)
    raise ModelError(
        f"{path}: must hold weights of AlexNet or SqueezeNet v1.0 as torchvision names them, or of EfficientNet-Lite"
    )


def for_another_task(
    columns: Iterable[nn.Module],
    fc: Sequence[int] = (),
    *,
    labels: Sequence[str] = _LABELS,
    name: str = "semantic",
    seed: int = 0,
) -> Model:
    """A network of columns of other networks, all trained, each with further layers above its own.

    Args:
        columns: The columns; their weights are copied.
        fc: The sizes of each column's further layers.
        labels: The labels' names.
        name: The network's name.
        seed: The seed of the further layers and of the label layer.

    Returns:
        The network, in evaluation mode.

    Raises:
        ValueError: `fc` is given for a column of single layers.
    """
    taken = [column for column in columns if isinstance(column, AnyColumn)]
    described = tuple(_learning(column.spec, tuple(fc)) for column in taken)
    net = build(networks.Network(name, described, tuple(labels)), seed=seed)
    for mine, theirs in zip(net.columns, taken, strict=True):
        mine.load_state_dict(theirs.state_dict(), strict=False)
    return Model(net.eval(), {})


def _learning(column: networks.AnyColumn, fc: tuple[int, ...]) -> networks.AnyColumn:
    """The column with further layers above its own, not frozen."""
    if not isinstance(column, networks.GraphColumn):
        return replace(column, fc=(*column.fc, *fc), frozen=False)
    if fc:
        raise ValueError("fc must not be given for a column of single layers, which has no further layers above its own")
    return replace(column, frozen=False)
