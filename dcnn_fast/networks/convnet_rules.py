"""Rates and first weights of a layer, as cuda-convnet's layer-parameter files say them (docs/cuda-convnet.md#layer-files)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dcnn_fast.networks.layers import require_finite

_SCHEDULE = re.compile(r"const|(linear|exp)\[tgtFactor=[0-9.e+-]+\]|dexp\[tgtFactor=[0-9.e+-]+;numSteps=\d+\]")


@dataclass(frozen=True)
class InputRule:
    """How the weights of one input of a layer learn and start, of a layer whose inputs differ in that.

    size: numbers that the input gives. The others: as those of `LayerRule`.
    """

    size: int
    rate: float
    momentum: float
    decay: float
    schedule: str
    deviation: float


@dataclass(frozen=True)
class LayerRule:
    """How one layer learns and starts; the defaults are the paper's rates and cuda-convnet's usual start.

    layer: its name in the file. rate, bias_rate: epsW and epsB; 0 leaves the weights or biases as they are. momentum,
    bias_momentum: momW and momB. decay: wc, of the weights only. schedule, bias_schedule: of the rate over the training, in
    cuda-convnet2's notation without the base, "const" or "dexp[tgtFactor=250;numSteps=4]". deviation: initW, of the normal
    distribution that weights start from. bias: initB. inputs: the rules of each input of a layer whose inputs differ in them,
    while its weights are one matrix here; the first one's are the layer's own.

    Raises ValueError for numbers that are not finite or are negative (bias may be).
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
        made = (each if isinstance(each, InputRule) else InputRule(**each) for each in self.inputs)  # JSON has dicts
        object.__setattr__(self, "inputs", tuple(made))
        for name in ("rate", "bias_rate", "momentum", "bias_momentum", "decay", "deviation", "bias"):
            require_finite("LayerRule", name, getattr(self, name))
            if name != "bias" and getattr(self, name) < 0:
                raise ValueError(f"LayerRule: {name} must not be negative, got {getattr(self, name)}")
        for name in ("schedule", "bias_schedule"):
            if not _SCHEDULE.fullmatch(getattr(self, name)):
                raise ValueError(f"LayerRule: {name} must be const, linear, exp or dexp, got {getattr(self, name)!r}")

    def require_one_rate(self) -> None:
        """Raise ValueError where the layer's inputs learn otherwise than one another."""
        keys = {"epsW": ("rate", "schedule"), "momW": ("momentum",), "wc": ("decay",)}
        differing = [key for key, names in keys.items() if len({tuple(getattr(i, n) for n in names) for i in self.inputs}) > 1]
        if differing:
            raise ValueError(
                f"[{self.layer}] {', '.join(differing)}: must be the same for all inputs to be trained here, as the label "
                f"layer's weights are one matrix"
            )

    @property
    def fixed(self) -> bool:
        """Whether the layer does not learn at all."""
        return self.rate == 0 and self.bias_rate == 0
