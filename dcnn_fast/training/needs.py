"""The machine that a run is on: whether it has what is needed, said before the run begins, and its generators."""

from __future__ import annotations

from importlib.util import find_spec

import torch

_EXTRAS = {"sklearn": "train", "matplotlib": "train", "tomli_w": "train", "tensorboard": "tensorboard"}


def require_machine(device: torch.device, *, tensorboard: bool = False) -> None:
    """Raises ValueError naming a device that is not there, or what is to be installed."""
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device must be one that is there, got {device}: torch finds no CUDA GPU")
    for module, extra in _EXTRAS.items():
        if find_spec(module) is None and (module != "tensorboard" or tensorboard):
            raise ValueError(f"{module} must be installed: pip install 'dcnn-fast[{extra}]'")


def generator_of(device: torch.device) -> torch.Generator:
    """The generator that torch's operations on `device` draw from by default; no other device's."""
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        found: torch.Generator = torch.cuda.default_generators[index]
        return found
    return torch.default_generator
