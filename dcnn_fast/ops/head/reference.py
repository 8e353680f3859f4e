"""The head in plain PyTorch; softmax, mean and standard deviation in float64, on the cpu with the cpu backend's softmax."""

from __future__ import annotations

import torch
from torch import Tensor

from dcnn_fast.ops.head.backend import HeadBackend, Operands, Results
from dcnn_fast.ops.head.params import HeadParams
from dcnn_fast.ops.head.softmax import softmax
from dcnn_fast.ops.linear import reference as linear
from dcnn_fast.ops.linear.params import LinearParams
from dcnn_fast.ops.plain_torch import plainly


class ReferenceHead(HeadBackend):
    """The head stated plainly."""

    def can_run(self, params: HeadParams, device: torch.device) -> str | None:
        """The reference runs everything, everywhere."""
        return None

    def forward(self, params: HeadParams, operands: Operands) -> Results:
        """Probabilities [samples, labels], their means and standard deviations [images, labels]."""
        return forward(params, operands)


@plainly
def forward(params: HeadParams, operands: Operands) -> Results:
    """Probabilities [samples, labels], their means and standard deviations [images, labels]."""
    columns = []
    for x, weight, bias, rows in zip(operands.features, operands.weights, operands.biases, operands.window_of, strict=True):
        rounded = x.to(weight.dtype).to(params.dtype)
        hidden = _linear(rounded, weight.to(params.dtype), bias, relu=True)
        columns.append(hidden if rows is None else _taken(hidden, rows))
    logits = _linear(torch.cat(columns, dim=1), operands.label_weight, operands.label_bias, relu=False)
    probs = _softmax(logits)
    images = torch.split(probs, list(operands.counts))
    mean = torch.stack([image.mean(0) for image in images]) if images else probs
    std = torch.stack([image.std(0, correction=0) for image in images]) if images else probs
    return Results(probs.to(params.results), mean.to(params.results), std.to(params.results))


def _linear(x: Tensor, weight: Tensor, bias: Tensor, *, relu: bool) -> Tensor:
    # The order of summation depends on the matrix's memory layout.
    return linear.forward(LinearParams(x.shape[0], x.shape[1], weight.shape[0], relu, x.dtype), x, weight.contiguous(), bias)


def _softmax(logits: Tensor) -> Tensor:
    if logits.device.type != "cpu":
        return logits.double().softmax(dim=1)
    return torch.from_numpy(softmax(logits.numpy()))  # the same exponential as the cpu backend's


def _taken(hidden: Tensor, rows: Tensor) -> Tensor:
    inside = (rows >= 0) & (rows < len(hidden))
    padded = torch.cat([hidden, hidden.new_full((1, hidden.shape[1]), torch.nan)])
    return padded[torch.where(inside, rows, len(hidden))]


BACKEND = ReferenceHead()
