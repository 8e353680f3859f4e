"""The two response norms and their gradients, stated plainly in PyTorch (docs/cuda-convnet.md#formulas).

y = x * d**-power, d = k + s * (sum of squares over the window); s = scale / size across maps, scale / size**2 within a map.
dx = g * d**-power - 2 * s * power * x * (sum of g * y / d over the transposed window).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dcnn_fast.networks import CrossMapNorm, Norm


def forward(x: Tensor, norm: Norm) -> Tensor:
    """The normalised x: [N, C, H, W]."""
    return x * _denominator(x, norm) ** -norm.power


def backward(grad: Tensor, x: Tensor, norm: Norm) -> Tensor:
    """Gradient of x: [N, C, H, W] from `grad` of the normalised result."""
    denominator = _denominator(x, norm)
    inverse = denominator**-norm.power
    spread = _window_sum(grad * x * inverse / denominator, norm, transposed=True)
    return grad * inverse - 2 * _per_term(norm) * norm.power * x * spread


def _per_term(norm: Norm) -> float:
    return norm.scale / (norm.size if isinstance(norm, CrossMapNorm) else norm.size**2)


def _denominator(x: Tensor, norm: Norm) -> Tensor:
    k = norm.k if isinstance(norm, CrossMapNorm) else 1.0
    return k + _per_term(norm) * _window_sum(x * x, norm)


def _window_sum(x: Tensor, norm: Norm, transposed: bool = False) -> Tensor:
    """Sum over each window, which starts size // 2 before its element; transposed, over the windows that hold the element."""
    dims = (1,) if isinstance(norm, CrossMapNorm) else (2, 3)
    before = norm.size // 2
    after = norm.size - 1 - before
    if transposed:
        before, after = after, before
    for dim in dims:
        pad = [0, 0] * (x.ndim - 1 - dim) + [before, after]
        padded, extent = F.pad(x, pad), x.shape[dim]
        x = padded.narrow(dim, 0, extent)
        for shift in range(1, norm.size):
            x = x + padded.narrow(dim, shift, extent)  # not in place: torch.export lowers only functional operations
    return x
