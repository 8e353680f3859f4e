"""How the weights learn, of what `dcnn-fast train` is given: what is left open, and what would do nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dcnn_fast.cli.train_run import numbers
from dcnn_fast.training.settings import USUAL


@dataclass(frozen=True)
class Rule:
    """The options of the update rule as they are given, None where they are left open.

    said: whether the command line says rate and bias rate itself, not a file.
    """

    optimiser: str
    rate: float | None = None
    bias_rate: float | None = None
    momentum: float | None = None
    decay: float | None = None
    schedule: str | None = None
    said: tuple[bool, bool] = (False, False)

    def decided(self, *, layer_files: bool) -> dict[str, Any]:
        """The options with what is left open, by their names.

        layer_files: whether cuda-convnet's files say how each layer learns; then none is left. Raises ValueError naming an
        option that would do nothing.
        """
        open_ = ("rate", "bias_rate", "momentum", "decay", "schedule")
        given = {name: getattr(self, name) for name in open_ if getattr(self, name) is not None}
        if layer_files:
            if given:
                name, value = next(iter(given.items()))
                raise ValueError(f"{name} must not be given for layer files, which say it of each layer, got {value}")
            return {}
        if self.optimiser not in USUAL:
            raise ValueError(f"optimiser must be one of {', '.join(USUAL)}; got {self.optimiser!r}")
        if self.optimiser == "adamw" and self.momentum is not None:
            raise ValueError(f"momentum must not be given for adamw, which has its own, got {self.momentum}")
        found = {"schedule": "const", **USUAL[self.optimiser], **given}
        found.setdefault("bias_rate", found["rate"])
        return found

    def lowered(self, before: Mapping[str, Any]) -> Rule:
        """For a run that is resumed: the biases' rate keeps its proportion to one that is said anew, unless it is said, too.

        before: the options that the run was started with.
        """
        rate, said = self.rate, self.said
        if not said[0] or said[1] or not before.get("rate") or "bias_rate" not in before or rate is None:
            return self
        return Rule(
            self.optimiser, rate, before["bias_rate"] * rate / before["rate"], self.momentum, self.decay, self.schedule, said
        )


def class_weights(text: str) -> tuple[float, ...] | str:
    """Weights of the labels, of "balanced" or "1,2.5". Raises ValueError naming the option."""
    return text if text == "balanced" else numbers("class-weights", text)
