"""The update rules of a run, and their state for each parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dcnn_fast.training.update_rule import ConvNetUpdate, undecorated

# Each rule's state tensors, by their names in `state` and in checkpoints.
_OF_CONVNET = ("increment",)
_OF_ADAMW = ("exp_avg", "exp_avg_sq", "step")


class DecoupledAdam(torch.optim.AdamW):
    """torch's AdamW with beta 0.9 and 0.999, without importing torch's compiler.

    A parameter's step count is float32 on the cpu, whatever the program's defaults are.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """As torch's."""
        for parameter in (each for group in self.param_groups for each in group["params"] if each.grad is not None):
            if not self.state[parameter]:
                self.state[parameter] = {
                    "step": _count(),
                    "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
                    "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
                }
        return super().step(closure)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As torch's."""
        undecorated(torch.optim.Optimizer.add_param_group)(self, param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As torch's."""
        undecorated(torch.optim.Optimizer.zero_grad)(self, set_to_none)


def optimiser_of(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """The rule of these groups (`learning.rate_groups`): AdamW where they have a weight decay of that name."""
    if groups and "weight_decay" in groups[0]:
        return DecoupledAdam(groups, foreach=False)
    return ConvNetUpdate(groups)


def remembered(optimiser: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """The rule's state tensors, keyed by "increment.NAME" and the like for the parameter NAME."""
    states = {name: optimiser.state[each] for name, each in parameters.items() if each in optimiser.state}
    return {f"{kind}.{name}": state[kind] for name, state in states.items() for kind in _kinds(optimiser) if kind in state}


def memory_like(optimiser: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Tensors with the shapes and dtypes of all state that the rule may have, keyed alike."""
    return {
        f"{kind}.{name}": _count() if kind == "step" else parameter
        for name, parameter in parameters.items()
        for kind in _kinds(optimiser)
    }


def remember(
    optimiser: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter], stored: Mapping[str, Tensor]
) -> None:  # fmt: skip
    """Restore the state that `remembered` gave. Raises ValueError where a parameter has only part of it."""
    for name, parameter in parameters.items():
        found = {kind: stored[f"{kind}.{name}"] for kind in _kinds(optimiser) if f"{kind}.{name}" in stored}
        if found and len(found) < len(_kinds(optimiser)):
            raise ValueError(f"must have all of {', '.join(_kinds(optimiser))} for {name}, got {', '.join(found)}")
        for kind, tensor in found.items():
            like = _count() if kind == "step" else torch.empty_like(parameter, requires_grad=False)
            optimiser.state[parameter][kind] = like.copy_(tensor)


def _count() -> Tensor:
    return torch.zeros((), dtype=torch.float32, device="cpu")


def _kinds(optimiser: torch.optim.Optimizer) -> tuple[str, ...]:
    return _OF_CONVNET if isinstance(optimiser, ConvNetUpdate) else _OF_ADAMW
