"""A column of EfficientNet-Lite's layers as data."""

from __future__ import annotations

from dataclasses import dataclass

from dcnn_fast.networks.efficientnet import HEAD, LITE_MEAN, LITE_SCALE, LITES, Lite, lite_stages
from dcnn_fast.networks.layers import (
    VIEWS,
    View,
    require_bool,
    require_choice,
    require_dropout,
    require_fc,
    require_integer,
    require_window,
)
from dcnn_fast.printable import quoted


@dataclass(frozen=True)
class BackboneColumn:
    """One view's path through EfficientNet-Lite's layers, which are never trained, and fully-connected layers, which are.

    The input of the first layer of `fc` is means over the window: of the maps after the chosen stages and, last, of the final
    layer's maps. With plane == window all windows of a photograph are equal and computed once.

    Args:
        lite: The variant, "lite0", "lite1" or "lite2".
        view: As in `Column`.
        stages: The stages whose maps' means are features, too, ascending from 0.
        fc: The sizes of the fully-connected layers, each followed by ReLU; at least one.
        plane: As in `Column`, in pixels.
        window: As in `Column`, in pixels.
        dropout: As in `Column`.
        frozen: Whether `fc` is not trained either.

    Raises:
        ValueError: An argument breaks a rule, or the column exceeds `networks.bounds`.
    """

    lite: Lite
    view: View = "warp"
    stages: tuple[int, ...] = ()
    fc: tuple[int, ...] = (64,)
    plane: int = 224
    window: int = 224
    dropout: float = 0.5
    frozen: bool = False

    def __post_init__(self) -> None:
        require_choice("BackboneColumn", "lite", self.lite, LITES)
        require_choice("BackboneColumn", "view", self.view, VIEWS)
        require_window("BackboneColumn", self.plane, self.window)
        require_fc("BackboneColumn", self.fc)
        require_dropout("BackboneColumn", self.dropout)
        require_bool("BackboneColumn", "frozen", self.frozen)
        count = len(lite_stages(self.lite))
        for stage in self.stages:
            require_integer("BackboneColumn", "stages", stage, 0)
        if list(self.stages) != sorted(set(self.stages)) or any(stage >= count for stage in self.stages):
            raise ValueError(
                f"BackboneColumn: stages must ascend from 0 to {count - 1} at most, got {quoted(list(self.stages))}"
            )
        from dcnn_fast.networks.cost import require_affordable  # noqa: PLC0415 - it imports this module

        require_affordable("BackboneColumn", (self,))

    @property
    def channels(self) -> int:
        """The number of the pixels' channels."""
        return len(LITE_MEAN)

    @property
    def mean(self) -> tuple[float, ...]:
        """The mean subtracted from the pixels, which enter as (pixel - mean) * scale, as in the training of the weights."""
        return LITE_MEAN

    @property
    def scale(self) -> float:
        """The factor for the pixels minus their mean."""
        return LITE_SCALE

    @property
    def outputs(self) -> int:
        """The number of the label layer's inputs from this column."""
        return self.fc[-1]

    @property
    def features(self) -> int:
        """The number of the first fully-connected layer's inputs."""
        stages = lite_stages(self.lite)
        return sum(stages[stage][-1].filters for stage in self.stages) + HEAD
