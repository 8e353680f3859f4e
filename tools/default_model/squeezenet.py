"""SqueezeNet v1.0, the frozen ImageNet network that teaches the columns (torchvision's layout of weights)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from tools.default_model.pictures import warped

_SIDE = 160
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_POOL_BEFORE = (3, 7, 12)  # positions in torchvision's `features` after which fires follow a pool
_FIRES = (3, 4, 5, 7, 8, 9, 10, 12)


def features(weights: Path, images: Sequence[np.ndarray], batch: int = 32) -> np.ndarray:
    """Mean of the last fire module's maps over each image: [n, 512] float32; images are warped to 160 x 160 first."""
    state = {name: value.float() for name, value in load_file(weights / "squeezenet1_0.safetensors").items()}
    rows = [_forward(state, _input(images[i : i + batch])) for i in range(0, len(images), batch)]
    return torch.cat(rows).numpy()


def _input(images: Sequence[np.ndarray]) -> Tensor:
    pixels = torch.from_numpy(np.stack([warped(image, _SIDE) for image in images])).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (_MEAN, _STD))
    return ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def _forward(state: dict[str, Tensor], x: Tensor) -> Tensor:
    x = F.conv2d(x, state["features.0.weight"], state["features.0.bias"], stride=2).relu()
    for position in _FIRES:
        if position in _POOL_BEFORE:
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        x = _conv(state, f"features.{position}.squeeze", x)
        x = torch.cat([_conv(state, f"features.{position}.expand{k}x{k}", x, k // 2) for k in (1, 3)], dim=1)
    return x.mean(dim=(2, 3))


def _conv(state: dict[str, Tensor], name: str, x: Tensor, padding: int = 0) -> Tensor:
    return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=padding).relu()
