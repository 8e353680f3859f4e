"""A column whose layers are a graph as data, for networks of cuda-convnet that blocks cannot express."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dcnn_fast.networks import bounds
from dcnn_fast.networks.graph_layers import AnyLayer, Shape
from dcnn_fast.networks.layers import (
    VIEWS,
    View,
    require_bool,
    require_choice,
    require_finite,
    require_integer,
    require_window,
)


@dataclass(frozen=True)
class GraphColumn:
    """One view's path through single layers, each of which may have several others as inputs.

    The column has no fully-connected layers besides those among its layers, and its windows share no work.

    Args:
        layers: The layers in topological order; the last one's result, in (C, H, W) order, is the column's input to the label
            layer. A layer names its inputs by number, 0 for the pixels and 1 for the first layer.
        view: As in `Column`.
        plane: As in `Column`, in pixels.
        window: As in `Column`, in pixels.
        channels: As in `Column`.
        mean: As in `Column`.
        scale: As in `Column`.
        frozen: As in `Column`.

    Raises:
        ValueError: A layer does not fit its inputs, another argument breaks a rule, or the column exceeds `networks.bounds`.

    Example:
        >>> from dcnn_fast.networks.graph_layers import ConvLayer, NeuronLayer, PoolLayer
        >>> layers = ConvLayer((0,), 8, 5), PoolLayer((1,), "avg"), NeuronLayer((2,), "tanh", (1.0, 1.0))
        >>> GraphColumn(layers, window=32).shapes()
        ((3, 32, 32), (8, 28, 28), (8, 14, 14), (8, 14, 14))
    """

    layers: tuple[AnyLayer, ...]
    view: View = "warp"
    plane: int = 256
    window: int = 224
    channels: int = 3
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    scale: float = 1.0
    frozen: bool = False

    def __post_init__(self) -> None:
        require_choice("GraphColumn", "view", self.view, VIEWS)
        require_integer("GraphColumn", "channels", self.channels, 1, bounds.CHANNELS)
        require_window("GraphColumn", self.plane, self.window)
        require_bool("GraphColumn", "frozen", self.frozen)
        if not self.layers:
            raise ValueError("GraphColumn: layers must hold at least one layer, got none")
        bounds.require_count("GraphColumn", "layers", self.layers, bounds.LAYERS)
        if len(self.mean) != self.channels:
            raise ValueError(f"GraphColumn: mean must have {self.channels} entries, one per channel, got {len(self.mean)}")
        for value in (*self.mean, self.scale):
            require_finite("GraphColumn", "mean and scale", value)
        self._require_order()
        from dcnn_fast.networks.cost import require_affordable  # noqa: PLC0415 - it imports this module

        require_affordable("GraphColumn", (self,))

    def _require_order(self) -> None:
        used: set[int] = set()
        for number, layer in enumerate(self.layers, 1):
            if any(below >= number for below in layer.inputs):
                raise ValueError(f"GraphColumn: layer {number}'s inputs must come before it, got {list(layer.inputs)}")
            used.update(layer.inputs)
        if idle := set(range(1, len(self.layers))) - used:
            raise ValueError(f"GraphColumn: layer {min(idle)}'s result is used by no layer")
        self.shapes()

    def shapes(self) -> tuple[Shape, ...]:
        """The shapes of the input and of each layer's result.

        Returns:
            (maps, side, side) of each, the input first.

        Raises:
            ValueError: A layer does not fit its inputs.
        """
        found: list[Shape] = [(self.channels, self.window, self.window)]
        for number, layer in enumerate(self.layers, 1):
            try:
                found.append(layer.output([found[below] for below in layer.inputs]))
            except ValueError as error:
                raise ValueError(f"GraphColumn: layer {number} {error}") from None
        return tuple(found)

    def parameters(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the parameters.

        Returns:
            The shape of each parameter by its name in the column: "layers.0.weight".
        """
        shapes = self.shapes()
        return {
            f"layers.{index}.{name}": shape
            for index, layer in enumerate(self.layers)
            for name, shape in layer.parameters([shapes[below] for below in layer.inputs]).items()
        }

    @property
    def fc(self) -> tuple[int, ...]:
        """Empty, as fully-connected layers are among the layers."""
        return ()

    @property
    def features(self) -> int:
        """The number of values in the column's result."""
        return math.prod(self.shapes()[-1])

    @property
    def outputs(self) -> int:
        """The number of the label layer's inputs from this column."""
        return self.features
