"""The head for scoring: columns' last layers, label layer, softmax, and the mean and deviation over each image's samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dcnn_fast.ops.backend import choose
from dcnn_fast.ops.head import cpu, reference, triton
from dcnn_fast.ops.head.backend import HeadBackend, Operands
from dcnn_fast.ops.head.params import HeadParams
from dcnn_fast.ops.registry import register, require_tensors

BACKENDS: Mapping[str, HeadBackend] = {"triton": triton.BACKEND, "cpu": cpu.BACKEND, "reference": reference.BACKEND}

_WEIGHTS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def head(
    features: Sequence[Tensor],
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    label_weight: Tensor,
    label_bias: Tensor,
    counts: Sequence[int],
    *,
    window_of: Sequence[Tensor | None] | None = None,
    out_dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Every sample's probabilities, and their mean and standard deviation over each image's samples.

    A sample's logits are label_weight @ joined + label_bias; joined holds ReLU(weight @ row + bias) of one row of each column,
    one column after the other. The deviation is the standard deviation of the population, as in `scoring.Score`.

    Weights are all in float32 (precision "ieee"), or in float16 or bfloat16: features, in float32 or the weights' dtype, are
    rounded to it, and products summed in float32, the dtype of biases, label layer and results. Or everything is in float64.
    The bits of a sample's probabilities depend on its rows alone, not on other samples, images or its place; those of a mean
    and deviation on the image's own samples, in their order. Not differentiable.

    Args:
        features: [rows, inputs] for each column.
        weights: [outputs, inputs] for each column.
        biases: [outputs] for each column.
        label_weight: [labels, sum of outputs].
        label_bias: [labels].
        counts: How many samples each image has, at least 1; images lie one after the other.
        window_of: For each column the row that each sample has, [samples] int64, or None where row i is sample i's (then there
            are as many rows as samples); samples may share rows, whose products are computed once. A sample whose row does not
            exist gets NaN. None: no column has a table.
        out_dtype: The results' dtype: float64 beside float32 sums for the probabilities of the logits as they are; None: the
            sums' dtype.

    Returns:
        Probabilities [samples, labels], means [images, labels] and standard deviations [images, labels].

    Raises:
        RuntimeError: A gradient is asked for.
        ValueError: An argument breaks a rule; the message names it.
        TypeError: An argument has the wrong type or dtype; the message names it.
        BackendError: No backend can run it.

    Source:
        docs/design.md#scores, docs/design.md#data-flow
    """
    rows = [None] * len(features) if window_of is None else list(window_of)
    _require(features, weights, biases, label_weight, label_bias, counts, rows)
    tensors = (*features, *weights, *biases, label_weight, label_bias)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        raise RuntimeError("head has no backward: call it under torch.no_grad()")
    _require_results(label_weight.dtype, out_dtype)
    operands = (list(features), list(weights), list(biases), label_weight, label_bias, list(counts), rows, out_dtype)
    result: tuple[Tensor, Tensor, Tensor] = torch.ops.dcnn_fast.head(*operands)
    return result


def _run(
    features: list[Tensor],
    weights: list[Tensor],
    biases: list[Tensor],
    label_weight: Tensor,
    label_bias: Tensor,
    counts: list[int],
    window_of: list[Tensor | None],
    out_dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    _require(features, weights, biases, label_weight, label_bias, counts, window_of)
    _require_results(label_weight.dtype, out_dtype)
    params = HeadParams(
        tuple(x.shape[0] for x in features), tuple(x.shape[1] for x in features), tuple(w.shape[0] for w in weights),
        sum(counts), len(counts), label_weight.shape[0], weights[0].dtype, label_weight.dtype,
        None if out_dtype == label_weight.dtype else out_dtype,
    )  # fmt: skip
    operands = Operands(features, weights, biases, label_weight, label_bias, counts, window_of)
    return BACKENDS[choose(BACKENDS, params, label_weight.device)].forward(params, operands)


def _fake(
    features: list[Tensor],
    weights: list[Tensor],
    biases: list[Tensor],
    label_weight: Tensor,
    label_bias: Tensor,
    counts: list[int],
    window_of: list[Tensor | None],
    out_dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    labels = label_weight.shape[0]
    probs, mean, std = (
        label_weight.new_empty(rows, labels, dtype=out_dtype) for rows in (sum(counts), len(counts), len(counts))
    )
    return probs, mean, std


def _require_columns(
    features: Sequence[Tensor],
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    window_of: Sequence[Tensor | None],
    samples: int,
) -> None:
    if not features:
        raise ValueError("features must be of at least one column, got none")
    for name, values in (("weights", weights), ("biases", biases), ("window_of", window_of)):
        if len(values) != len(features):
            raise ValueError(f"{name} must be one for each of {len(features)} columns, got {len(values)}")
    for i, (x, weight, bias, rows) in enumerate(zip(features, weights, biases, window_of, strict=True)):
        require_tensors(**{f"features[{i}]": x, f"weights[{i}]": weight, f"biases[{i}]": bias})
        if x.ndim != 2:
            raise ValueError(f"features[{i}] must have shape [rows, inputs], got {list(x.shape)}")
        if weight.ndim != 2 or weight.shape[1] != x.shape[1]:
            raise ValueError(f"weights[{i}] must have shape [outputs, {x.shape[1]}], got {list(weight.shape)}")
        if bias.shape != weight.shape[:1]:
            raise ValueError(f"biases[{i}] must have shape [{weight.shape[0]}], got {list(bias.shape)}")
        if weight.dtype not in _WEIGHTS or weight.dtype != weights[0].dtype:
            raise TypeError(f"weights must have one floating dtype, got {weight.dtype} beside {weights[0].dtype}")
        if x.dtype not in (weight.dtype, _wide(weight.dtype)) or x.dtype != features[0].dtype:
            raise TypeError(
                f"features[{i}] must have dtype {_wide(weight.dtype)} or that of the weights, {weight.dtype}, and all of them "
                f"the same, got {x.dtype}"
            )
        _require_rows(i, rows, samples, x)


def _require_rows(i: int, rows: Tensor | None, samples: int, x: Tensor) -> None:
    if rows is None:
        if x.shape[0] != samples:
            raise ValueError(f"features[{i}] must have a row for each of {samples} samples, got {x.shape[0]} rows")
        return
    require_tensors(**{f"window_of[{i}]": rows})
    if tuple(rows.shape) != (samples,) or rows.dtype != torch.int64:
        raise ValueError(f"window_of[{i}] must be int64 [{samples}], got {rows.dtype} {list(rows.shape)}")
    if rows.device != x.device:
        raise ValueError(f"window_of[{i}] must be on {x.device}, as the features are, got {rows.device}")


def _require(
    features: Sequence[Tensor], weights: Sequence[Tensor], biases: Sequence[Tensor], label_weight: Tensor, label_bias: Tensor,
    counts: Sequence[int], window_of: Sequence[Tensor | None],
) -> None:  # fmt: skip
    _require_columns(features, weights, biases, window_of, sum(counts))
    _require_labels(weights, label_weight, label_bias, counts)
    others = {"label_weight": label_weight, "label_bias": label_bias}
    _require_alike(features, weights, {**{f"biases[{i}]": bias for i, bias in enumerate(biases)}, **others})


def _require_labels(weights: Sequence[Tensor], label_weight: Tensor, label_bias: Tensor, counts: Sequence[int]) -> None:
    require_tensors(label_weight=label_weight, label_bias=label_bias)
    joined = sum(weight.shape[0] for weight in weights)
    if label_weight.ndim != 2 or label_weight.shape[1] != joined or not label_weight.shape[0]:
        raise ValueError(f"label_weight must have shape [labels, {joined}], got {list(label_weight.shape)}")
    if label_bias.shape != label_weight.shape[:1]:
        raise ValueError(f"label_bias must have shape [{label_weight.shape[0]}], got {list(label_bias.shape)}")
    if any(count < 1 for count in counts):
        raise ValueError(f"counts must be at least 1 each, got {list(counts)}")


def _require_results(sums: torch.dtype, results: torch.dtype | None) -> None:
    if results not in (None, sums, torch.float64):
        raise TypeError(f"out_dtype must be {sums}, as the sums are, or torch.float64, got {results}")


def _require_alike(features: Sequence[Tensor], weights: Sequence[Tensor], others: dict[str, Tensor]) -> None:
    """Raise unless biases and label layer have the sums' dtype and everything is on one device."""
    wide, device = _wide(weights[0].dtype), features[0].device
    for name, tensor in others.items():
        if tensor.dtype != wide:
            raise TypeError(f"{name} must have dtype {wide} beside weights in {weights[0].dtype}, got {tensor.dtype}")
    everything = {
        **{f"features[{i}]": x for i, x in enumerate(features)},
        **{f"weights[{i}]": w for i, w in enumerate(weights)},
    }
    for name, tensor in {**everything, **others}.items():
        if tensor.device != device:
            raise ValueError(f"{name} must be on {device}, as features[0] is, got {tensor.device}")


def _wide(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which products of `dtype` are summed."""
    return torch.promote_types(dtype, torch.float32)


register(
    "head(Tensor[] features, Tensor[] weights, Tensor[] biases, Tensor label_weight, Tensor label_bias, int[] counts, "
    "Tensor?[] window_of, ScalarType? out_dtype=None) -> (Tensor, Tensor, Tensor)",
    _run,
    _fake,
)

__all__ = ["BACKENDS", "HeadParams", "head"]
