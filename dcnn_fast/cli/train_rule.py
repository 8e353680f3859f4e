"""The update rule of `dcnn-fast train`: defaults for options left open, and refusal of options without effect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import typer

SCHEDULE = (
    "How the rates change: const, linear, exp, dexp, e.g. dexp[tgtFactor=100;numSteps=3], or cosine, half a period down to 0; "
    "default: const."
)


@dataclass(frozen=True)
class Rule:
    """The options of the update rule as given, None where they are left open.

    said: whether rate and bias rate come from the command line, not from a file.
    """

    optimiser: Annotated[
        str, typer.Option(help="The update rule: convnet, cuda-convnet's with momentum, or adamw, Adam with decoupled decay.")
    ] = "convnet"
    rate: Annotated[float | None, typer.Option(help="Learning rate of the weights; default: 0.001.")] = None
    bias_rate: Annotated[
        float | None, typer.Option(help="Learning rate of the biases; default: 0.002, with adamw the weights' rate.")
    ] = None
    momentum: Annotated[
        float | None, typer.Option(help="Momentum for weights and biases, only with convnet; default: 0.9.")
    ] = None
    decay: Annotated[
        float | None, typer.Option(help="Decay of the weights but not the biases; default: 0.0005, with adamw 0.01.")
    ] = None
    schedule: Annotated[str | None, typer.Option(help=SCHEDULE)] = None
    said: tuple[bool, bool] = (False, False)

    def decided(self, *, layer_files: bool) -> dict[str, Any]:
        """The options by name, with defaults for those left open.

        layer_files: cuda-convnet's files set each layer's rule; the result is then empty. Raises ValueError naming an option
        that would have no effect.
        """
        from dcnn_fast.training.settings import USUAL  # noqa: PLC0415 - imports torch

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
        """The rule of a resumed run: with a new rate alone, the biases' rate keeps its proportion to the rate.

        before: the options that the run was started with.
        """
        rate, said = self.rate, self.said
        if not said[0] or said[1] or not before.get("rate") or "bias_rate" not in before or rate is None:
            return self
        return replace(self, bias_rate=before["bias_rate"] * rate / before["rate"])


def class_weights(text: str) -> tuple[float, ...] | str:
    """The weights of the labels from "balanced" or "1,2.5". Raises ValueError naming the option."""
    from dcnn_fast.cli.train_run import numbers  # noqa: PLC0415 - imports torch

    return text if text == "balanced" else numbers("class-weights", text)
