"""Imports AlexNet's weights from torchvision's layout into a column (`networks.torchvision_alexnet_column`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from dcnn_fast import networks
from dcnn_fast.nets.column import Column
from dcnn_fast.nets.errors import ModelError
from dcnn_fast.nets.header import read_header
from dcnn_fast.nets.torch_state import read_torch_state
from dcnn_fast.networks.squeezenet import IMAGENET_DEVIATION, IMAGENET_MEAN
from dcnn_fast.printable import quoted

_LARGEST_HEADER = 2**23  # bytes of a safetensors file's header
_CONVOLUTIONS = (0, 3, 6, 8, 10)  # indices in torchvision's `features`
_LINEAR = (1, 4)  # indices in its `classifier`, below the layer of ImageNet's labels


def import_torchvision_alexnet(
    weights: str | Path | Mapping[str, Tensor], view: networks.View = "warp", *, fc: tuple[int, ...] = (), seed: int = 0
) -> Column:
    """A column with the convolutions and the two layers of 4096 of torchvision's AlexNet.

    The first filters are divided by torchvision's deviation of each channel.

    Args:
        weights: torchvision's state dict, or a file with it, .safetensors or by torch.save, from which only tensors are read.
        view: The view that the column sees.
        fc: The sizes of further layers, such as the 256 of the paper's semantic column.
        seed: The seed from which these are drawn.

    Returns:
        The column.

    Raises:
        ModelError: A file cannot be read, or a tensor is missing or has another shape.
    """
    state = weights if isinstance(weights, Mapping) else read_state(Path(weights))
    described = networks.torchvision_alexnet_column(view, fc=(4096, 4096, *fc))
    column = Column(replace(described, mean=IMAGENET_MEAN, scale=1 / 255))
    column.initialise(torch.Generator("cpu").manual_seed(seed))
    names = [*(f"features.{i}" for i in _CONVOLUTIONS), *(f"classifier.{i}" for i in _LINEAR)]
    with torch.no_grad():
        for name, layer in zip(names, (*column.blocks, *column.fc), strict=False):
            for kind in ("weight", "bias"):
                mine = getattr(layer, kind)
                mine.copy_(_tensor(state, f"{name}.{kind}", tuple(mine.shape)))
        first = column.blocks[0].weight
        assert isinstance(first, Tensor)
        first /= torch.tensor(IMAGENET_DEVIATION, dtype=first.dtype, device=first.device).reshape(1, 3, 1, 1)
    return column


def read_state(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a .safetensors file or a file by torch.save. Raises ModelError for any other file."""
    if path.exists() and not path.is_file():
        raise ModelError(f"{path}: not a regular file")
    try:
        if path.suffix == ".safetensors":
            read_header(path, _LARGEST_HEADER)
            return load_file(str(path))
        return read_torch_state(path)
    except Exception as error:  # a foreign file can make a library's reader fail in any way
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"{path}: not a readable state dict: {why[:200]}") from None


def weight_named(state: Mapping[str, Tensor], name: str, shape: tuple[int, ...], whose: str) -> Tensor:
    """A weight of a state dict, unchanged: finite floating-point values in the memory of a plain tensor.

    Raises ModelError naming the weight, the fault and the expected model.
    """
    value = state.get(name)
    if not isinstance(value, Tensor):
        raise ModelError(f"weights must be those of {whose}, got none named {name}")
    if tuple(value.shape) != shape:
        raise ModelError(f"{name} must have shape {list(shape)}, got {quoted(list(value.shape))}")
    if not value.is_floating_point() or value.layout != torch.strided or value.is_meta:
        kind = f"{str(value.dtype).removeprefix('torch.')}, {str(value.layout).removeprefix('torch.')}, on {value.device.type}"
        raise ModelError(f"{name} must be a floating tensor of shape {list(shape)} with its values, got {kind}")
    if not value.isfinite().all():
        raise ModelError(f"{name} holds values that are no finite numbers")
    return value


def _tensor(state: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    return weight_named(state, name, shape, "torchvision's AlexNet").float()
