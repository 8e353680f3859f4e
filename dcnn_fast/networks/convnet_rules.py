"""Learning rates and initial weights of layers in cuda-convnet's parameter files (docs/cuda-convnet.md#layer-files)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dcnn_fast.networks.layers import require_finite

_SCHEDULE = re.compile(r"const|(linear|exp)\[tgtFactor=[0-9.e+-]+\]|dexp\[tgtFactor=[0-9.e+-]+;numSteps=\d+\]")


@dataclass(frozen=True)
class InputRule:
    """Learning rates and initial weights for one input of a layer whose inputs differ in them.

    Args:
        size: The number of the input's values.
        rate: As in `LayerRule`.
        momentum: As in `LayerRule`.
        decay: As in `LayerRule`.
        schedule: As in `LayerRule`.
        deviation: As in `LayerRule`.
    """

    size: int
    rate: float
    momentum: float
    decay: float
    schedule: str
    deviation: float


@dataclass(frozen=True)
class LayerRule:
    """One layer's learning rates and initial weights; the defaults are the paper's rates and cuda-convnet's usual weights.

    Args:
        layer: The layer's name in the file.
        rate: The learning rate of the weights, epsW; 0 leaves them unchanged.
        bias_rate: The learning rate of the biases, epsB; 0 leaves them unchanged.
        momentum: The momentum of the weights, momW.
        bias_momentum: The momentum of the biases, momB.
        decay: The decay of the weights, wc; biases do not decay.
        schedule: The schedule of `rate` over the training, in cuda-convnet2's notation without the base, "const" or
            "dexp[tgtFactor=250;numSteps=4]".
        bias_schedule: The schedule of `bias_rate`, likewise.
        deviation: The deviation of the normal initial weights, initW.
        bias: The initial bias, initB; it may be negative.
        inputs: The rule of each input where a layer's inputs differ, while its weights are one matrix here; the first rule is
            the layer's own.

    Raises:
        ValueError: A number is not finite, or one other than `bias` is negative, or a schedule is not in the notation.

    Source:
        docs/cuda-convnet.md#layer-files
    """

    layer: str = ""
    rate: float = 0.001
    bias_rate: float = 0.002
    momentum: float = 0.9
    bias_momentum: float = 0.9
    decay: float = 0.0005
    schedule: str = "const"
    bias_schedule: str = "const"
    deviation: float = 0.01
    bias: float = 0.0
    inputs: tuple[InputRule, ...] = ()

    def __post_init__(self) -> None:
        made = (each if isinstance(each, InputRule) else InputRule(**each) for each in self.inputs)  # dicts come from JSON
        object.__setattr__(self, "inputs", tuple(made))
        for name in ("rate", "bias_rate", "momentum", "bias_momentum", "decay", "deviation", "bias"):
            require_finite("LayerRule", name, getattr(self, name))
            if name != "bias" and getattr(self, name) < 0:
                raise ValueError(f"LayerRule: {name} must not be negative, got {getattr(self, name)}")
        for name in ("schedule", "bias_schedule"):
            if not _SCHEDULE.fullmatch(getattr(self, name)):
                raise ValueError(f"LayerRule: {name} must be const, linear, exp or dexp, got {getattr(self, name)!r}")

    def require_one_rate(self) -> None:
        """Raise ValueError where the layer's inputs have different learning rates.

        Raises:
            ValueError: Rates, schedules, momenta or decays differ; the message names the file's keys.
        """
        keys = {"epsW": ("rate", "schedule"), "momW": ("momentum",), "wc": ("decay",)}
        differing = [key for key, names in keys.items() if len({tuple(getattr(i, n) for n in names) for i in self.inputs}) > 1]
        if differing:
            raise ValueError(
                f"[{self.layer}] {', '.join(differing)}: must be the same for all inputs to be trained here, as the label "
                f"layer's weights are one matrix"
            )

    @property
    def fixed(self) -> bool:
        """Whether neither weights nor biases are trained."""
        return self.rate == 0 and self.bias_rate == 0
