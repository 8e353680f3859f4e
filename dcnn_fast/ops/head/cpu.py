"""The head on the cpu: products by the C++ engine's fully-connected layer, the rest by numpy on the calling thread.

A row of the layer has the same bits on any number of threads, whatever its neighbours are, and later steps are computed row by
row. Torch copies and computes nothing: its threads would spin beside the engine's, and a forked process has none.
"""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from dcnn_fast.ops.head.backend import HeadBackend, Operands, Results
from dcnn_fast.ops.head.params import HeadParams
from dcnn_fast.ops.head.softmax import softmax
from dcnn_fast.ops.linear import cpu as linear
from dcnn_fast.ops.linear.params import LinearParams
from dcnn_fast.ops.memory import copied, empty


class CpuHead(HeadBackend):
    """The head on the C++ engine."""

    def can_run(self, params: HeadParams, device: torch.device) -> str | None:
        """None, or one sentence that says why not."""
        layer = LinearParams(params.samples, params.joined, params.labels, dtype=params.dtype)
        if why := linear.BACKEND.can_run(layer, device):
            return why
        if params.weight_dtype not in (torch.float32, torch.bfloat16):
            return f"the C++ engine multiplies weights in float32 or bfloat16, not in {params.weight_dtype}"
        return None

    def forward(self, params: HeadParams, operands: Operands) -> Results:
        """Probabilities [samples, labels], their means and standard deviations [images, labels]."""
        joined, first = empty((params.samples, params.joined)), 0
        of = operands
        for x, weight, bias, rows in zip(of.features, of.weights, of.biases, of.window_of, strict=True):
            hidden = _linear(x, weight, bias, relu=True).numpy()
            last = first + hidden.shape[1]
            _take(hidden, None if rows is None else rows.numpy(), joined.numpy()[:, first:last])
            first = last
        probs = softmax(_linear(joined, of.label_weight, of.label_bias, relu=False).numpy())
        mean, std = (np.empty((params.images, params.labels)) for _ in range(2))
        with np.errstate(all="ignore"):
            for i, last in enumerate(accumulate(of.counts)):
                samples = probs[last - of.counts[i] : last]
                mean[i], std[i] = samples.mean(axis=0), samples.std(axis=0)
            return Results(_given(probs, params), _given(mean, params), _given(std, params))


BACKEND = CpuHead()


def _linear(x: Tensor, weight: Tensor, bias: Tensor, *, relu: bool) -> Tensor:
    """The layer's outputs in float32; with bfloat16 weights, rows are rounded to bfloat16."""
    bf16 = weight.dtype == torch.bfloat16
    params = LinearParams(x.shape[0], x.shape[1], weight.shape[0], relu, precision="bf16" if bf16 else "ieee")
    return linear.BACKEND.forward(params, x if x.dtype == torch.float32 else copied(x, torch.float32), weight, bias)


def _take(hidden: np.ndarray, rows: np.ndarray | None, out: np.ndarray) -> None:
    """Write each sample's row to `out`; NaN for a row that does not exist."""
    if rows is None:
        out[...] = hidden
        return
    inside = (rows >= 0) & (rows < len(hidden))
    if inside.all():
        out[...] = hidden[rows]
        return
    out[...] = np.nan
    out[inside] = hidden[rows[inside]]


def _given(values: np.ndarray, params: HeadParams) -> Tensor:
    return torch.from_numpy(values if params.results == torch.float64 else values.astype(np.float32))
