"""Tensors that show what a kernel touches: outputs between canaries, inputs cut out of poisoned buffers."""

from __future__ import annotations

import torch
from torch import Tensor

_MARGIN = 64


def output(shape, dtype=torch.float32, offset=0) -> tuple[Tensor, Tensor]:
    """A channels_last tensor (or one of any other rank) full of NaN, or of ones bits, and the buffer with margins around it.

    offset: values past an aligned address.
    """
    count = torch.Size(shape).numel()
    buffer = torch.full((count + 2 * _MARGIN + offset,), fill(dtype), dtype=dtype)
    body = buffer[_MARGIN + offset : -_MARGIN]
    if len(shape) != 4:
        return body.view(shape), buffer
    n, c, h, w = shape
    return body.view(n, h, w, c).permute(0, 3, 1, 2), buffer


def between(tensor: Tensor, offset=0) -> tuple[Tensor, Tensor]:
    """The tensor's values in the same order of memory, without gaps, and the buffer with margins of NaN around them."""
    like = torch.empty_like(tensor)
    buffer = torch.full((like.numel() + 2 * _MARGIN + offset,), fill(tensor.dtype), dtype=tensor.dtype)
    body = buffer.as_strided(like.shape, like.stride(), _MARGIN + offset)
    return body.copy_(tensor), buffer


def assert_untouched(*buffers: Tensor) -> None:
    """Assert that the margins of these buffers are unchanged."""
    for buffer in buffers:
        margins = torch.cat([buffer[:_MARGIN], buffer[-_MARGIN:]])
        assert (margins.isnan() if buffer.is_floating_point() else margins == fill(buffer.dtype)).all()


def poisoned(tensor: Tensor) -> Tensor:
    """The tensor inside a larger buffer of NaN (of 255 for uint8), channels_last."""
    n, c, h, w = tensor.shape
    buffer = torch.full((n + 2, h + 2, w + 3, c), fill(tensor.dtype), dtype=tensor.dtype)
    buffer[1:-1, 1:-1, 1:-2] = tensor.permute(0, 2, 3, 1)
    return buffer[1:-1, 1:-1, 1:-2].permute(0, 3, 1, 2)


def fill(dtype: torch.dtype) -> float:
    """The value that fills untouched memory: NaN, or all bits one for integers."""
    if dtype.is_floating_point:
        return float("nan")
    return 255 if dtype == torch.uint8 else -1
