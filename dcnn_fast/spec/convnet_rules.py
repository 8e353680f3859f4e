"""What cuda-convnet's layer-parameter files say of a layer with weights: its rates and how it starts (facts.md 2.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dcnn_fast.spec.layers import require_finite

_SCHEDULE = re.compile(r"const|(linear|exp)\[tgtFactor=[0-9.e+-]+\]|dexp\[tgtFactor=[0-9.e+-]+;numSteps=\d+\]")


@dataclass(frozen=True)
class LayerRule:
    """How one layer learns and starts; the defaults are the paper's rates and cuda-convnet's usual start.

    layer: its name in the file. rate, bias_rate: epsW and epsB; 0 leaves the weights or biases as they are. momentum,
    bias_momentum: momW and momB. decay: wc, of the weights only. schedule, bias_schedule: of the rate over the training, in
    cuda-convnet2's notation without the base, "const" or "dexp[tgtFactor=250;numSteps=4]". deviation: initW, of the normal
    distribution that weights start from. bias: initB. deviations: of a layer of several inputs whose weights are one matrix
    here, the inputs' sizes and deviations, where they differ. differing: the keys in which its inputs learn otherwise than one
    another, which one matrix cannot. ValueError for numbers that are not finite or are negative (bias may be).
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
    deviations: tuple[tuple[int, float], ...] = ()
    differing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # as tuples, also of what JSON had as lists
        object.__setattr__(self, "deviations", tuple((int(size), float(each)) for size, each in self.deviations))
        object.__setattr__(self, "differing", tuple(self.differing))
        for name in ("rate", "bias_rate", "momentum", "bias_momentum", "decay", "deviation", "bias"):
            require_finite("LayerRule", name, getattr(self, name))
            if name != "bias" and getattr(self, name) < 0:
                raise ValueError(f"LayerRule: {name} must not be negative, got {getattr(self, name)}")
        for name in ("schedule", "bias_schedule"):
            if not _SCHEDULE.fullmatch(getattr(self, name)):
                raise ValueError(f"LayerRule: {name} must be const, linear, exp or dexp, got {getattr(self, name)!r}")

    def require_one_rate(self) -> None:
        """Raise ValueError where the layer's inputs learn at rates of their own."""
        if self.differing:
            raise ValueError(
                f"[{self.layer}] {', '.join(self.differing)}: must be the same for all inputs to be trained here, as the label "
                f"layer's weights are one matrix"
            )

    @property
    def fixed(self) -> bool:
        """Whether the layer does not learn at all."""
        return self.rate == 0 and self.bias_rate == 0
