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
    """One view's path through EfficientNet-Lite's layers, which are never trained, and fully-connected layers, each followed by
    ReLU, which are.

    What the first layer of `fc` is given are means over the window: of the maps that the chosen `stages` leave (ascending from
    0) and, last, of the layer behind all of them. view, plane, window, dropout: as those of `Column`; with plane == window all
    windows of a photograph are the same one, which is computed once. A `frozen` column's `fc` is not trained either.
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
        """Of the pixels."""
        return len(LITE_MEAN)

    @property
    def mean(self) -> tuple[float, ...]:
        """Taken off the pixels, which enter as (pixel - mean) * scale: its weights were trained so."""
        return LITE_MEAN

    @property
    def scale(self) -> float:
        """Multiplies the pixels less their mean."""
        return LITE_SCALE

    @property
    def outputs(self) -> int:
        """Numbers that the label layer is given."""
        return self.fc[-1]

    @property
    def features(self) -> int:
        """Numbers that the first fully-connected layer is given."""
        stages = lite_stages(self.lite)
        return sum(stages[stage][-1].filters for stage in self.stages) + HEAD
