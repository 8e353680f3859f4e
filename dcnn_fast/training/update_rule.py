"""cuda-convnet's update rule as a torch optimiser: steps are remembered, not gradients (docs/cuda-convnet.md#formulas)."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from dcnn_fast import ops
from dcnn_fast.ops.update import increment_dtype, same_order

RATE, BIAS_RATE, MOMENTUM, DECAY = 0.001, 0.002, 0.9, 0.0005


class ConvNetUpdate(torch.optim.Optimizer):
    """increment <- momentum * increment - lr * gradient - decay * lr * W; W <- W + increment, all parameters in one launch.

    `state[parameter]["increment"]` is the last step, rate included, so that a change of the rate acts on the gradients to come
    only; torch.optim.SGD multiplies what it remembers by today's rate, and equals this while the rate is constant. An increment
    lies in memory as its parameter does, and is float32 for parameters in float16 or bfloat16 (whose own rounding swallows
    steps of less than half a unit in their last place). A parameter is left alone, and its increment too, when it has no
    gradient, asks for none (a frozen column), or its lr is 0. The gradient is that of a mini-batch's mean loss.

    Args:
        parameters: Tensors, or groups as torch's optimisers take them, with the entries "lr", "momentum" and "decay" (an entry
            that a group lacks is taken from the arguments); "inputs", with "size" and the same entries of each, stands for the
            group's own where a matrix's columns learn at rates of their own. `groups_of(net)` gives the weights and biases of a
            network groups of their own.
        lr: The learning rate, finite and not negative; named so that torch's schedulers find it.
        momentum: The share of the last increment that is kept, finite and not negative.
        decay: The weight decay, finite and not negative.

    Raises:
        ValueError: lr, momentum or decay is negative or not finite; the message names it.

    Source:
        docs/cuda-convnet.md#formulas, docs/design.md#update-rule
    """

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: float = RATE,
        momentum: float = MOMENTUM,
        decay: float = DECAY,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "decay": decay})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, as torch's optimisers do.

        Args:
            param_group: "params", and "lr", "momentum" and "decay" where they differ from the optimiser's own.

        Raises:
            ValueError: An entry is negative or not finite; the message names it.
        """
        for name in ("lr", "momentum", "decay"):
            value = param_group.get(name, self.defaults[name])
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name} must be finite and not negative, got {value}")
        undecorated(torch.optim.Optimizer.add_param_group)(self, param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients, as torch's optimisers do.

        Args:
            set_to_none: Whether gradients become None rather than zeros.
        """
        undecorated(torch.optim.Optimizer.zero_grad)(self, set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """As torch's."""
        return cast("dict[str, Any]", undecorated(torch.optim.Optimizer.state_dict)(self))

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient, once.

        Args:
            closure: Computes the gradients, if they are not there yet.

        Returns:
            The result of the closure, None without one.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        kinds: dict[tuple[torch.device, torch.dtype], list[tuple[Any, ...]]] = defaultdict(list)
        for group in self.param_groups:
            options = (float(group["lr"]), float(group["momentum"]), float(group["decay"]))
            for parameter in group["params"]:
                if group.get("inputs") and parameter.requires_grad and parameter.grad is not None:
                    self._update_inputs(parameter, parameter.grad, group["inputs"])
                    continue
                if parameter.requires_grad and parameter.grad is not None and options[0] != 0:
                    row = (parameter, parameter.grad, self.increment(parameter), *options)
                    kinds[parameter.device, parameter.dtype].append(row)
        for rows in kinds.values():
            parameters, gradients, increments, rates, momenta, decays = zip(*rows, strict=True)
            ops.update(parameters, gradients, increments, rates=rates, momenta=momenta, decays=decays)
        return loss

    def _update_inputs(self, weight: Tensor, gradient: Tensor, inputs: Sequence[Mapping[str, float]]) -> None:
        """Update each input's columns of a matrix through copies, since an update takes whole tensors."""
        increment, sizes = self.increment(weight), [int(each["size"]) for each in inputs]
        parts = zip(*(torch.split(tensor, sizes, dim=1) for tensor in (weight, gradient, increment)), inputs, strict=True)
        for mine, slope, moved, each in parts:
            if each["lr"]:
                copies = [tensor.contiguous() for tensor in (mine.detach(), slope, moved)]
                options = {"rates": [each["lr"]], "momenta": [each["momentum"]], "decays": [each["decay"]]}
                ops.update([copies[0]], [copies[1]], [copies[2]], **options)
                mine.copy_(copies[0])
                moved.copy_(copies[2])

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state, as torch's optimisers do, but keep the increments of parameters in float16 or bfloat16 in float32.

        torch would round those to the parameters' dtype.

        Args:
            state_dict: The result of `state_dict`.
        """
        undecorated(torch.optim.Optimizer.load_state_dict)(self, state_dict)
        for group, saved in zip(self.param_groups, state_dict["param_groups"], strict=True):
            for parameter, key in zip(group["params"], saved["params"], strict=True):
                if key in state_dict["state"]:
                    increment = state_dict["state"][key]["increment"]
                    self.state[parameter]["increment"] = _laid_like(parameter).copy_(increment)

    def increment(self, parameter: Tensor) -> Tensor:
        """The last increment of a parameter.

        Args:
            parameter: One of the optimiser's parameters.

        Returns:
            The increment itself, not a copy; zeros before the first update. It has the parameter's shape, lies in memory as the
            parameter does, and is float32 for a parameter in float16 or bfloat16.
        """
        state = self.state[parameter]
        increment: Tensor | None = state.get("increment")
        if increment is None:
            increment = state["increment"] = _laid_like(parameter).zero_()
        elif not same_order(increment, parameter):  # the parameter's layout has changed, as by net.to(memory_format=...)
            increment = state["increment"] = _laid_like(parameter).copy_(increment)
        return increment


def groups_of(
    net: nn.Module,
    *,
    rate: float = RATE,
    bias_rate: float = BIAS_RATE,
    momentum: float = MOMENTUM,
    bias_momentum: float = MOMENTUM,
    decay: float = DECAY,
) -> list[dict[str, Any]]:
    """The groups of a network's weights and of its biases, for `ConvNetUpdate`; biases do not decay.

    The defaults are those of docs/design.md#update-rule, and cuda-convnet's usual decay of 0.0005.

    Args:
        net: The network; its biases are the parameters whose name ends in "bias".
        rate: The learning rate of the weights.
        bias_rate: The learning rate of the biases.
        momentum: The momentum of the weights.
        bias_momentum: The momentum of the biases.
        decay: The decay of the weights.

    Returns:
        Two groups, the weights first.
    """
    biases = [parameter for name, parameter in net.named_parameters() if name.rpartition(".")[2] == "bias"]
    ours = set(map(id, biases))
    weights = [parameter for parameter in net.parameters() if id(parameter) not in ours]
    return [
        {"params": weights, "lr": rate, "momentum": momentum, "decay": decay},
        {"params": biases, "lr": bias_rate, "momentum": bias_momentum, "decay": 0.0},
    ]


def undecorated(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method of torch's optimiser without its decorator, so that torch's compiler is not imported.

    The decorator keeps the compiler out of these methods, but imports it to do so, which takes over a second.
    """
    if "torch._dynamo" in sys.modules:
        return method
    return cast("Callable[..., Any]", getattr(method, "__wrapped__", method))


def _laid_like(parameter: Tensor) -> Tensor:
    """Memory for an increment, with the parameter's strides; `empty_like` keeps those only without gaps."""
    return torch.empty_like(parameter, dtype=increment_dtype(parameter.dtype), requires_grad=False)
