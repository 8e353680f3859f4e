"""Networks as torch modules: one or more columns, concatenated and mapped to the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from dcnn_fast import networks
from dcnn_fast.nets.backbone import BackboneColumn
from dcnn_fast.nets.column import AnyColumn, Column, drawn, zero_linear
from dcnn_fast.nets.graph import GraphColumn
from dcnn_fast.ops.plain_torch import apart


@dataclass(frozen=True)
class Input:
    """A network's input for one of its columns: rectangles of a view.

    Attributes:
        key: The column's name for the view generator (`networks.Network.column_keys`).
        view: The view that the column sees.
        plane: The side of the view's plane, in pixels.
        window: The side of the rectangles, in pixels.
        long_side: The long side to which photographs are reduced before the view is made (`data.reduced`), in pixels, or None.
    """

    key: str
    view: networks.View
    plane: int
    window: int
    long_side: int | None = None


def module_of(column: networks.AnyColumn) -> AnyColumn:
    """The torch module of one column, filled with zeros."""
    if isinstance(column, networks.GraphColumn):
        return GraphColumn(column)
    return BackboneColumn(column) if isinstance(column, networks.BackboneColumn) else Column(column)


class MultiColumn(nn.Module):
    """SCNN, DCNN, RDCNN, quad-column: columns whose last outputs are concatenated and mapped to the labels (paper II).

    Args:
        network: The network as data; all weights are zero at first.
    """

    def __init__(self, network: networks.Network) -> None:
        super().__init__()
        self._network = network
        self.columns = nn.ModuleList(map(module_of, network.columns))
        joined = sum(column.outputs for column in network.columns)
        self.label = zero_linear(joined, len(network.labels))
        self.attribute = zero_linear(joined, len(network.attributes)) if network.attributes else None

    @property
    def spec(self) -> networks.Network:
        """The network as data, with its columns' present state."""
        columns = tuple(column.spec for column in self.columns if isinstance(column, AnyColumn))
        if any(now is not then for now, then in zip(columns, self._network.columns, strict=True)):
            self._network = replace(self._network, columns=columns)
        return self._network

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The inputs of `forward`, in order."""
        keyed = zip(self.spec.column_keys(), self.spec.columns, strict=True)
        long_side = self.spec.long_side
        return tuple(Input(key, column.view, column.plane, column.window, long_side) for key, column in keyed)

    def forward(self, *windows: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Compute the network; row i joins window i of every column.

        Args:
            *windows: One batch of windows per column, [N, C, window, window] pixels 0-255 each.

        Returns:
            Logits [N, labels]; for a network with attributes, their logits [N, attributes] as a second result.

        Raises:
            ValueError: The number of batches is not the number of columns, or windows do not fit their column.
        """
        if len(windows) != len(self.columns):
            raise ValueError(f"windows must be one batch for each of {len(self.columns)} columns, got {len(windows)}")
        features = [column(batch) for column, batch in zip(self.columns, windows, strict=True)]
        joined = torch.cat(features, dim=1)
        logits: Tensor = self.label(joined)
        return logits if self.attribute is None else (logits, self.attribute(joined))

    def set_means(self, means: Sequence[Sequence[float]]) -> None:
        """Set each column's mean, which is subtracted from its pixels; the spec records them.

        Args:
            means: One value per channel for each column.

        Raises:
            ValueError: They are not one for each column, or a column accepts only the mean of its training.
        """
        for column, mean in zip(self.columns, means, strict=True):
            assert isinstance(column, AnyColumn)
            column.set_mean(mean)

    @torch.no_grad()
    def initialise(self, seed: int = 0) -> MultiColumn:
        """Draw fresh weights, the same for the same seed.

        Args:
            seed: The seed.

        Returns:
            The network itself.
        """
        generator = torch.Generator("cpu").manual_seed(seed)
        for column in self.columns:
            assert isinstance(column, AnyColumn)
            column.initialise(generator)
        for layer in (self.label, *([] if self.attribute is None else [self.attribute])):
            weight = layer.weight
            weight.copy_(drawn(weight.shape, generator) * weight.shape[1] ** -0.5)
            layer.bias.zero_()
        return self


def build(network: networks.Network | str, geometry: networks.Geometry = "convnet", *, seed: int = 0) -> MultiColumn:
    """Make the torch module of a network.

    Args:
        network: The network as data, or a preset's name.
        geometry: The geometry of a preset, as in `networks.preset`.
        seed: The seed of the initial weights.

    Returns:
        The module, freshly initialised.

    Raises:
        ValueError: There is no such preset or geometry.
    """
    if isinstance(network, str):
        network = networks.preset(network, geometry)
    described = network
    return apart(lambda: MultiColumn(described).initialise(seed))
