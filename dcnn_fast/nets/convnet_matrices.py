"""cuda-convnet's weight matrices as this project's parameters (docs/cuda-convnet.md#matrices)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dcnn_fast import networks
from dcnn_fast.nets.convnet_entry import listed_of
from dcnn_fast.networks.convnet_graph import Assembly
from dcnn_fast.networks.convnet_layer import refuse

Matrix = np.ndarray[Any, np.dtype[np.float32]]


def tensors_of(assembly: Assembly, entries: Mapping[str, dict[str, Any]], suffix: str) -> dict[str, Tensor]:
    """Weights, or with "Inc" their increments, as our parameters. entries: the checkpoint's entry for each layer."""
    tensors: dict[str, Tensor] = {}
    for matrix, part in assembly.parts.items():
        layer, index = _matrix_of(matrix, entries)
        entry = entries[layer]
        if suffix and f"weights{suffix}" not in entry:
            return {}
        listed = listed_of(entry.get(f"weights{suffix}"))
        if len(listed) != len(listed_of(entry.get("inputs"))):
            raise refuse(layer, f"weights{suffix}", f"must be a matrix for each input, got {len(listed)}")
        taken = listed if part == "label" else listed[index : index + 1]
        matrices = [_matrix(layer, f"weights{suffix}", value) for value in taken]
        values = np.concatenate(matrices) * _factors(assembly, part, sum(map(len, matrices)))
        shapes = _single_shapes(assembly.network, part)
        tensors[f"{part}.weight"] = _weight(values, shapes.get("weight") or _block_shape(assembly.network, part), layer, suffix)
        if "bias" in shapes or not shapes:
            bias = _matrix(layer, f"biases{suffix}", entry.get(f"biases{suffix}")).reshape(-1)
            tensors[f"{part}.bias"] = torch.from_numpy(_places(bias, shapes.get("bias"), layer, suffix))
    return tensors


def _matrix_of(matrix: str, entries: Mapping[str, dict[str, Any]]) -> tuple[str, int]:
    """The layer and input number for weights named like "fc[1]"; a layer itself may have such a name."""
    if matrix in entries:
        return matrix, 0
    layer, _, number = matrix.rpartition("[")
    return layer, int(number[:-1])


def _single_shapes(network: networks.Network, part: str) -> dict[str, tuple[int, ...]]:
    """The shapes of a single layer's weight and bias; none for another part."""
    pieces = part.split(".")
    if len(pieces) != 4 or pieces[2] != "layers":
        return {}
    column = network.columns[int(pieces[1])]
    assert isinstance(column, networks.GraphColumn)
    shapes = column.shapes()
    layer = column.layers[int(pieces[3])]
    return layer.parameters([shapes[below] for below in layer.inputs])


def _block_shape(network: networks.Network, part: str) -> tuple[int, ...]:
    """The shape of a block's filters, -1 for the number of maps read; none for another part."""
    pieces = part.split(".")
    if len(pieces) != 4 or pieces[2] != "blocks":
        return ()
    column = network.columns[int(pieces[1])]
    assert isinstance(column, networks.Column)
    block = column.blocks[int(pieces[3])]
    return block.filters, -1, block.size, block.size


def _weight(matrix: Matrix, shape: tuple[int, ...], layer: str, suffix: str) -> Tensor:
    """[inputs, outputs] as [outputs, inputs], filters [F, C, S, S] or filters for each place [places, F, C, S, S]."""
    key = f"weights{suffix}"
    if len(shape) == 5:
        places, outputs, *kernel = shape
        rows = places * math.prod(kernel)
        if matrix.shape != (rows, outputs):
            raise refuse(layer, key, f"must have {rows} rows and {outputs} columns, got {list(matrix.shape)}")
        values = matrix.reshape(places, -1, outputs).transpose(0, 2, 1)
        return torch.from_numpy(np.ascontiguousarray(values)).reshape(shape)
    weight = torch.from_numpy(np.ascontiguousarray(matrix.T))
    if len(shape) != 4:
        return weight
    taps = shape[2] * shape[3]
    if matrix.shape[0] % taps:
        raise refuse(layer, key, f"must have {taps} rows a channel, got {matrix.shape[0]}")
    filters = weight.reshape(weight.shape[0], -1, *shape[2:])
    return filters.contiguous(memory_format=torch.channels_last)


def _places(bias: Matrix, shape: tuple[int, ...] | None, layer: str, suffix: str) -> Matrix:
    """A bias, split by place where `shape` says so."""
    if shape is None or len(shape) == 1:
        return bias.copy()
    if bias.size != math.prod(shape):
        raise refuse(layer, f"biases{suffix}", f"must be {math.prod(shape)} numbers, got {bias.size}")
    return bias.reshape(shape).copy()


def _factors(assembly: Assembly, part: str, rows: int) -> Matrix:
    """The factor for each row of a part's matrix, [rows, 1]."""
    if part != "label":
        return np.full((rows, 1), assembly.shrink.get(part, 1.0), np.float32)
    widths = [column.outputs for column in assembly.network.columns]
    if sum(widths) != rows:
        raise ValueError(f"the label layer must have {sum(widths)} rows of weights, got {rows}")
    return np.repeat(np.array(assembly.label_shrink, np.float32), widths)[:, None]


def _matrix(layer: str, key: str, value: Any) -> Matrix:
    if not isinstance(value, np.ndarray) or value.ndim != 2 or not value.size:
        raise refuse(layer, key, "must be a matrix")
    with np.errstate(over="ignore"):
        matrix = value.astype(np.float32)
    if not np.isfinite(matrix).all():
        raise refuse(layer, key, "must be finite")
    return matrix
