"""A run's demands on the machine, checked before the run begins, and the device's generators."""

from __future__ import annotations

from importlib.util import find_spec

import torch

_EXTRAS = {"sklearn": "train", "matplotlib": "train", "tomli_w": "train", "tensorboard": "tensorboard"}


def require_machine(device: torch.device, *, tensorboard: bool = False) -> None:
    """Raise ValueError naming a missing device or a missing package."""
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device must be one that is there, got {device}: torch finds no CUDA GPU")
    for module, extra in _EXTRAS.items():
        if find_spec(module) is None and (module != "tensorboard" or tensorboard):
            raise ValueError(f"{module} must be installed: pip install 'dcnn-fast[{extra}]'")


def generator_of(device: torch.device) -> torch.Generator:
    """The default generator of torch's operations on `device`, and of no other device's."""
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        found: torch.Generator = torch.cuda.default_generators[index]
        return found
    return torch.default_generator
