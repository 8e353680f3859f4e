"""Model files: one safetensors file with the weights and a JSON header with everything else (docs/design.md#model-files).

The header's entry `dcnn_fast` holds the format, the project's version, the network's spec (which includes the preprocessing),
and the provenance. Weights may be stored as float32, float16, or int8 with one float32 scale per output row (`<name>.scale`);
they are always float32 copies in memory: replacing, truncating or deleting the file later changes nothing. No pickle is read.
Nothing here uses torch's threads, which a forked process lacks.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from dcnn_fast import former, networks, strict_json
from dcnn_fast.nets.backbone import BACKBONE, backbone_size
from dcnn_fast.nets.column import AnyColumn
from dcnn_fast.nets.errors import ModelError
from dcnn_fast.nets.header import metadata_of, read_header, shapes_of
from dcnn_fast.nets.network import MultiColumn
from dcnn_fast.nets.percentiles import Percentiles
from dcnn_fast.nets.weights import weights_of
from dcnn_fast.networks.efficientnet import lite_shapes
from dcnn_fast.ops.memory import copied, order_of, owned
from dcnn_fast.ops.precision import Precision
from dcnn_fast.partials import give_mode, mode_of
from dcnn_fast.printable import quoted
from dcnn_fast.version import version

FORMAT = 1
_KEY = "dcnn_fast"
_LARGEST_HEADER = 2**23  # bytes: for the network, its percentiles' scores, and its provenance

Storage = Literal["float32", "float16", "int8"]


@former.taking(reference="percentiles")
@dataclass(frozen=True)
class Model:
    """A network with its weights and their provenance. A pickled copy has its own weights, bit for bit equal.

    Args:
        net: The network's module.
        provenance: Facts about the weights' making, as a JSON object.
        percentiles: The model's scores of a fixed collection, optional for a network with two labels; they give scores their
            percentile.
    """

    net: MultiColumn
    provenance: Mapping[str, Any] = field(default_factory=dict)
    percentiles: Percentiles | None = None

    reference = former.attribute("Model", "reference", "percentiles")

    @property
    def spec(self) -> networks.Network:
        """The network as data."""
        return self.net.spec

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of everything that determines a score: spec, percentiles and present weights."""
        state = hashlib.sha256(b"dcnn_fast model 1")
        state.update(json.dumps(networks.network_to_dict(self.spec), sort_keys=True).encode())
        if self.percentiles is not None:
            state.update(json.dumps(self.percentiles.as_dict(), sort_keys=True).encode())
        for name, tensor in sorted(weights_of(self.net).items()):
            values = _values(tensor)
            state.update(f"|{name}|{list(values.shape)}|".encode())
            state.update(values.data)
        return state.hexdigest()

    def __reduce__(self) -> tuple[Callable[..., Model], tuple[Any, ...]]:
        # Without torch's pickling for other processes, which would move this process's weights into shared memory, too.
        return _unpacked, (_pack(self),)


@former.pickled(reference="percentiles")
@dataclass(frozen=True)
class _Packed:
    """A model as plain data. tensors: by name, the axes in memory order, outermost first, and the values in that order."""

    network: dict[str, Any]
    provenance: dict[str, Any]
    tensors: dict[str, tuple[tuple[int, ...], np.ndarray]]
    precisions: tuple[Precision, ...]
    training: bool
    percentiles: Percentiles | None


def _pack(model: Model) -> _Packed:
    tensors = {}
    for name, tensor in weights_of(model.net).items():
        value, order = tensor.detach().cpu().resolve_neg(), order_of(tensor)
        if value.dtype != torch.float32:
            raise ModelError(f"weights must be float32 to be pickled or copied, {name} is {value.dtype}")
        tensors[name] = order, np.array(value.permute(order).numpy(), order="C")
    precisions = tuple(column.precision for column in model.net.columns if isinstance(column, AnyColumn))
    network = networks.network_to_dict(model.spec)
    return _Packed(network, dict(model.provenance), tensors, precisions, model.net.training, model.percentiles)


def _unpacked(packed: _Packed) -> Model:
    network = networks.network_from_dict(packed.network)
    state = {}
    for name, (order, values) in packed.tensors.items():
        state[name] = owned(values.transpose([order.index(axis) for axis in range(values.ndim)]), order)
    net = network_with(network, state).train(packed.training)
    for column, precision in zip(net.columns, packed.precisions, strict=True):
        assert isinstance(column, AnyColumn)
        column.compute_in(precision)
    return Model(net, packed.provenance, packed.percentiles)


def save_model(
    model: Model, path: str | Path, *, fc_storage: Storage = "float32", block_storage: Literal["float32", "float16"] = "float32"
) -> None:
    """Write a model to a file; all weights but those named below are stored as float32.

    float16 rounds to nearest; int8 rounds each row to 255 levels between minus and plus its largest magnitude.

    Args:
        model: The model.
        path: The file to write.
        fc_storage: The type of fully-connected weights in the file, "float32", "float16" or "int8".
        block_storage: The type of filters, and of a backbone's layers, "float32" or "float16".
    """
    tensors: dict[str, np.ndarray] = {}
    weights = {name: _values(tensor) for name, tensor in weights_of(model.net).items()}
    for name, value in _by_layer(model.spec, weights).items():
        storage = fc_storage if ".fc." in name else block_storage if ".blocks." in name or BACKBONE in name else "float32"
        if name.endswith(".weight") and storage != "float32":
            _store_compact(tensors, name, value, storage)
        else:
            tensors[name] = value
    header = {
        "format": FORMAT,
        "version": version(),
        "network": networks.network_to_dict(model.spec),
        "provenance": dict(model.provenance),
    }
    if model.percentiles is not None:
        header["reference"] = model.percentiles.as_dict()
    mode = mode_of(Path(path))
    save_file(tensors, str(path), metadata={_KEY: json.dumps(header)})
    if mode is not None:  # the library makes files readable by their owner only
        give_mode(Path(path), mode)


def load_model(path: str | Path) -> Model:
    """Load the model stored in a file.

    Args:
        path: The file.

    Returns:
        The model, in evaluation mode.

    Raises:
        ModelError: The file is missing or not a safetensors file of this project, or its tensors are not exactly those of its
            spec, with the right shapes and finite values.
    """
    if not Path(path).is_file():
        raise ModelError(f"{path}: no such file")
    try:
        stored = read_header(path, _LARGEST_HEADER)
        header = _header(metadata_of(stored))
        network = networks.network_from_dict(header.get("network"))
        percentiles = None if header.get("reference") is None else Percentiles.from_dict(header["reference"])
        names = _checked_names(shapes_of(stored), network)
        with safe_open(str(path), framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: not a readable safetensors file: {error}") from None
    except (ValueError, TypeError, OverflowError, MemoryError) as error:
        raise ModelError(f"{path}: {error or 'there is not enough memory for it'}") from None
    values = {name: _restored(tensors, name, path) for name in _stored_shapes(network)}
    net = network_with(network, {name: _owned(value) for name, value in _in_memory(network, values).items()})
    return Model(net.eval(), header.get("provenance") or {}, percentiles)


def is_model_file(path: str | Path) -> bool:
    """Whether a file is one of this project's model files, by its header.

    Args:
        path: The file.

    Returns:
        True where the file has this project's header, whatever its contents; False also where it cannot be read.
    """
    try:
        return _KEY in metadata_of(read_header(path, _LARGEST_HEADER))
    except (ValueError, OSError):
        return False


def network_with(network: networks.Network, state: Mapping[str, Tensor]) -> MultiColumn:
    """The module of a network whose parameters are given tensors themselves.

    Args:
        network: The network as data.
        state: The tensors by their names, as `weights_of` gives them; they are shared, not copied.

    Returns:
        The module.

    Raises:
        ValueError: Names or shapes are not those of the network; nothing has been allocated then.
    """
    expected = _expected_shapes(network)
    if set(state) != set(expected):
        raise ValueError(f"tensors must be those of the spec, differing: {sorted(set(state) ^ set(expected))[:3]}")
    for name, shape in expected.items():
        if tuple(state[name].shape) != shape:
            raise ValueError(f"tensor {name} must have shape {list(shape)}, got {list(state[name].shape)}")
    with torch.device("meta"):
        net = MultiColumn(network)
    net.load_state_dict(dict(state), assign=True)
    for column in net.columns:
        assert isinstance(column, AnyColumn)
        column.settle()
    net.label.requires_grad_()
    if net.attribute is not None:
        net.attribute.requires_grad_()
    return net


def _values(tensor: Tensor) -> np.ndarray:
    """The values as float32, in memory order."""
    value = tensor.detach().cpu().resolve_neg()
    return np.ascontiguousarray((value if value.dtype == torch.float32 else copied(value, torch.float32)).numpy())


def _store_compact(tensors: dict[str, np.ndarray], name: str, value: np.ndarray, storage: Storage) -> None:
    if storage == "float16":
        with np.errstate(over="ignore"):
            tensors[name] = value.astype(np.float16)
        return
    scale = np.maximum(np.abs(value).max(axis=1), np.float32(1e-30)) / np.float32(127)
    tensors[name] = np.rint(value / scale[:, None]).astype(np.int8)
    tensors[f"{name}.scale"] = scale


def _header(entries: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(entries.get(_KEY), str):
        raise ValueError(f"the header has no entry {_KEY!r}: this is not a model file of this project")
    header = strict_json.loads(entries[_KEY])
    if not isinstance(header, dict) or type(header.get("format")) is not int or header["format"] != FORMAT:
        found = header.get("format") if isinstance(header, dict) else header
        raise ValueError(f"format must be {FORMAT}, got {quoted(found)}")
    if not isinstance(header.get("provenance"), (dict, type(None))):
        raise ValueError("provenance must be a JSON object")
    return header


def _expected_shapes(network: networks.Network) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights in memory, by the names of `weights_of`."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i, column in enumerate(network.columns):
        if isinstance(column, networks.BackboneColumn):
            shapes[f"columns.{i}{BACKBONE}"] = (backbone_size(column.lite),)
        elif isinstance(column, networks.GraphColumn):
            shapes |= {f"columns.{i}.{name}": shape for name, shape in column.parameters().items()}
        else:
            shapes |= _block_shapes(f"columns.{i}", column)
        inputs = column.features
        for j, size in enumerate(column.fc):
            shapes[f"columns.{i}.fc.{j}.weight"] = (size, inputs)
            shapes[f"columns.{i}.fc.{j}.bias"] = (size,)
            inputs = size
    joined = sum(column.outputs for column in network.columns)
    for name, labels in (("label", network.labels), ("attribute", network.attributes)):
        if labels:
            shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (len(labels), joined), (len(labels),)
    return shapes


def _block_shapes(name: str, column: networks.Column) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    channels = column.channels
    for j, block in enumerate(column.blocks):
        shapes[f"{name}.blocks.{j}.weight"] = (block.filters, channels // block.groups, block.size, block.size)
        shapes[f"{name}.blocks.{j}.bias"] = (block.filters,)
        channels = block.filters
    return shapes


def _layers_of_backbones(network: networks.Network) -> dict[str, dict[str, tuple[int, ...]]]:
    """The layers of each backbone by their names in a file, with their shapes, in order."""
    columns = ((f"columns.{i}{BACKBONE}", column) for i, column in enumerate(network.columns))
    return {
        name: {f"{name}.{layer}": shape for layer, shape in lite_shapes(column.lite).items()}
        for name, column in columns
        if isinstance(column, networks.BackboneColumn)
    }


def _stored_shapes(network: networks.Network) -> dict[str, tuple[int, ...]]:
    """The shapes of a file's tensors: as in memory, but a backbone layer by layer."""
    shapes, backbones = _expected_shapes(network), _layers_of_backbones(network)
    plain = {name: shape for name, shape in shapes.items() if name not in backbones}
    return plain | {layer: shape for layers in backbones.values() for layer, shape in layers.items()}


def _by_layer(network: networks.Network, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Convert weights from memory to a file's names."""
    found, backbones = {}, _layers_of_backbones(network)
    for name, value in weights.items():
        if name not in backbones:
            found[name] = value
            continue
        layers = backbones[name]
        parts = np.split(value, np.cumsum([math.prod(shape) for shape in layers.values()])[:-1])
        found |= {layer: part.reshape(shape) for (layer, shape), part in zip(layers.items(), parts, strict=True)}
    return found


def _in_memory(network: networks.Network, stored: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inverse of `_by_layer`."""
    backbones = _layers_of_backbones(network)
    joined = {name: np.concatenate([stored[layer].ravel() for layer in layers]) for name, layers in backbones.items()}
    return {name: joined[name] if name in joined else stored[name] for name in _expected_shapes(network)}


def _checked_names(found: Mapping[str, tuple[tuple[Any, ...], Any]], network: networks.Network) -> list[str]:
    """The file's tensor names, if names and shapes are exactly the spec's; checked before anything is read or allocated.

    found: each tensor's shape and dtype as stated in the header.
    """
    expected = _stored_shapes(network)
    scales = {f"{name}.scale": shape[:1] for name, shape in expected.items() if f"{name}.scale" in found}
    allowed = {**expected, **scales}
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - allowed.keys())
    if missing or extra:
        raise ValueError(f"tensors must be those of the spec; missing {quoted(missing[:3])}, unknown {quoted(extra[:3])}")
    for name, (shape, kind) in found.items():
        if shape != allowed[name]:
            raise ValueError(f"tensor {name} must have shape {list(allowed[name])}, got {quoted(list(shape))}")
        if kind not in (("I8",) if f"{name}.scale" in scales else ("F32", "F16")):
            raise ValueError(f"tensor {name} must be float32, float16 or scaled int8, got {quoted(kind)}")
    return list(found)


def _restored(tensors: Mapping[str, np.ndarray], name: str, path: str | Path) -> np.ndarray:
    stored, scale = tensors[name], tensors.get(f"{name}.scale")
    value = stored.astype(np.float32, copy=False)
    if scale is not None:
        with np.errstate(all="ignore"):  # non-finite values are refused below
            value = value * scale.astype(np.float32).reshape(-1, *[1] * (value.ndim - 1))
    if not np.isfinite(value).all():
        raise ModelError(f"{path}: tensor {name} must be finite, got NaN or infinity")
    return value


def _owned(value: np.ndarray) -> Tensor:
    return owned(value, (0, 2, 3, 1) if value.ndim == 4 else None)
