"""Networks from cuda-convnet's checkpoints, of either version, plain or zipped (facts.md 2.2, 2.4)."""

from __future__ import annotations

import hashlib
import reprlib
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dcnn_fast import spec
from dcnn_fast.nets import zipped
from dcnn_fast.nets.convnet_pickle import read_pickle
from dcnn_fast.nets.errors import ModelError
from dcnn_fast.nets.modelfile import Model, network_with
from dcnn_fast.nets.pickle_machine import PickleError
from dcnn_fast.printable import quoted
from dcnn_fast.spec import bounds
from dcnn_fast.spec.convnet_graph import Assembly, Layer, assemble, refuse

_LARGEST = 2**32  # bytes of a checkpoint
_PLANE_OF_WINDOW = 256 / 224


@dataclass(frozen=True)
class ConvNetCheckpoint:
    """A network that cuda-convnet trained. increments: the last steps, under the names of the parameters they belong to."""

    model: Model
    increments: Mapping[str, Tensor]


def import_convnet(
    path: str | Path,
    *,
    views: Sequence[spec.View] = ("warp",),
    plane: int | None = None,
    mean: tuple[float, ...] = (0.0, 0.0, 0.0),
    labels: Sequence[str] | None = None,
) -> ConvNetCheckpoint:
    """The network of a checkpoint, whose pickle is interpreted and never loaded.

    views: one for each column, or one for all. plane: the side of the normalised input, by default to the window as 256 is to
    224. mean: what was taken off each channel: cuda-convnet keeps it in its batches.meta. labels: as
    `spec.read_convnet_cfg` takes them. Weights above a dropout without compensation are multiplied by what is kept, as our
    dropout compensates. Raises ModelError naming the file and what is wrong.
    """
    try:
        raw = _contents(Path(path))
        state = _entry(read_pickle(raw), "model_state", dict)
        layers, arrays, version = _layers(state)
        _require_weights_held(arrays, len(raw))
        window = _window(layers, arrays)
        side = round(window * _PLANE_OF_WINDOW) if plane is None else plane
        data = spec.Preprocessing(tuple(views), side, window, mean)
        assembly = assemble(layers, data, name=Path(path).name, labels=labels)
        weights = _tensors(assembly, arrays, "")
        increments = _tensors(assembly, arrays, "Inc")
        provenance = {
            "imported from": f"a checkpoint of cuda-convnet, version {version}",
            "sha256": hashlib.sha256(raw).hexdigest(),
            **{key: state[key] for key in ("epoch", "batchnum") if isinstance(state.get(key), int)},
        }
        return ConvNetCheckpoint(Model(network_with(assembly.network, weights).eval(), provenance), increments)
    except PickleError as error:
        raise ModelError(f"{path}: not a checkpoint of cuda-convnet: {error}") from None
    except ValueError as error:
        raise ModelError(f"{path}: {error}") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error}") from None
    except MemoryError:
        raise ModelError(f"{path}: cannot be read: there is not enough memory for it") from None


def _contents(path: Path) -> bytes:
    """The pickle, which may be the one member `data` of a zip file."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a regular file")  # a pipe is waited for, a device has no end
    if status.st_size > _LARGEST:
        raise ValueError(f"must have at most {_LARGEST} bytes")
    if not zipped.is_zip(path):
        return path.read_bytes()
    with zipped.opened(path) as archive:
        if archive.namelist() != ["data"]:
            raise zipped.ZipError(f"a zipped checkpoint must have the one member 'data', got {quoted(archive.namelist()[:3])}")
        return zipped.contents(archive, "data").tobytes()


def _entry(owner: Any, key: str, kind: type) -> Any:
    if not isinstance(owner, dict) or not isinstance(owner.get(key), kind):
        raise ValueError(f"not a checkpoint of cuda-convnet: it must have {key!r}, a {kind.__name__}")
    return owner[key]


def _layers(state: dict[str, Any]) -> tuple[list[Layer], dict[str, dict[str, Any]], int]:
    """The layers in an order in which each follows its inputs, what the file says of each, and cuda-convnet's version."""
    stored = state.get("layers")
    version = 2 if isinstance(stored, dict) else 1
    entries = list(stored.values()) if isinstance(stored, dict) else stored
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("not a checkpoint of cuda-convnet: its layers must be a list or a dict of dicts")
    if len(entries) > bounds.LAYERS:
        raise ValueError(f"must have at most {bounds.LAYERS} layers, got {len(entries)}")
    names = [_entry(entry, "name", str) for entry in entries]
    for name in names:
        bounds.require_text("a layer", "name", name)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise refuse(twice[0], "name", "must be that of one layer")
    found = {name: _layer(entry, name, names) for name, entry in zip(names, entries, strict=True)}
    ordered: dict[str, Layer] = {}
    while len(ordered) < len(found):
        waiting = [layer for layer in found.values() if layer.name not in ordered]
        ready = [layer for layer in waiting if ordered.keys() >= set(layer.inputs)]
        if not ready:
            raise ValueError("layers must follow one another without a circle, from layers that there are")
        ordered |= {layer.name: layer for layer in ready}
    return list(ordered.values()), dict(zip(names, entries, strict=True)), version


def _layer(entry: dict[str, Any], name: str, names: list[str]) -> Layer:
    kind = _entry(entry, "type", str)
    listed = _listed(entry.get("inputs", []))
    if len(listed) > bounds.INPUTS:
        raise refuse(name, "inputs", f"must be at most {bounds.INPUTS} layers, got {len(listed)}")
    inputs = tuple(names[i] if type(i) is int and 0 <= i < len(names) else _shown(i) for i in listed)
    read = _Entry(name, entry)
    if kind in ("dropout", "dropout2"):
        keep = read.number("keep", 0.5)
        if not entry.get("enable", True):
            if kind == "dropout2" and keep != 1:
                raise refuse(name, "enable", "must be true in a dropout2, which multiplies by keep even where it is off")
            keep = 1.0
        return Layer(name, "dropout", inputs, {}, _share(name, 1 - keep), kind == "dropout2")
    dropout = _share(name, read.number("dropout", 0.0))
    return Layer(name, kind, inputs, _values(kind, read), dropout)


def _values(kind: str, read: _Entry) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if kind == "conv":
        read.must_be("sharedBiases", True)
        read.must_be("randSparse", False)
        values = {key: read.integer(key) for key in ("channels", "filters", "filterSize", "stride")}
        values |= {"padding": abs(read.integer("padding", 0)), "groups": read.integer("groups", 1)}
    elif kind == "fc":
        values = {"outputs": read.integer("outputs")}
    elif kind == "pool":
        read.must_be("pool", "max")
        read.must_be("start", 0)
        read.must_be("sum", False)
        values = {key: read.integer(key) for key in ("channels", "sizeX", "stride")}
        values["outputsX"] = read.integer("outputsX", 0)
    elif kind in ("cmrnorm", "rnorm"):
        read.must_be("blocked", False)
        size = read.integer("size")
        values = {
            "channels": read.integer("channels"),
            "size": size,
            "k": read.number("minDiv", 1.0),
            "pow": read.number("pow"),
        }
        values["scale"] = read.number("scale") * (size if kind == "cmrnorm" else size**2)
    elif kind == "neuron":
        neuron = read.entry.get("neuron")
        neuron = neuron.get("type") if isinstance(neuron, dict) else neuron
        values = {"neuron": neuron if isinstance(neuron, str) else _shown(neuron)}
    return values


class _Entry:
    """What a checkpoint says of one layer; what one input may have each is a list there."""

    def __init__(self, name: str, entry: dict[str, Any]) -> None:
        self.name, self.entry = name, entry

    def one(self, key: str, default: Any = None) -> Any:
        listed = _listed(self.entry.get(key, default))
        if len(listed) != 1:
            raise refuse(self.name, key, f"must be one value, as only the label layer has several inputs, got {len(listed)}")
        return listed[0]

    def integer(self, key: str, default: int | None = None) -> int:
        value = self.one(key, default)
        if not isinstance(value, int) or abs(value) >= 2**31:
            raise refuse(self.name, key, f"must be an integer less than 2**31, got {_shown(value)}")
        return int(value)

    def number(self, key: str, default: float | None = None) -> float:
        value = self.one(key, default)
        if not isinstance(value, (int, float)) or not abs(value) < 1e300:
            raise refuse(self.name, key, f"must be a finite number, got {_shown(value)}")
        return float(value)

    def must_be(self, key: str, wanted: Any) -> None:
        """Refuse another value than `wanted`, which is the one where there is none."""
        value = self.one(key, wanted)
        if value != wanted:
            raise refuse(self.name, key, f"must be {wanted}, all that can be said, got {_shown(value)}")


def _share(name: str, value: float) -> float:
    if not 0 <= value < 1:
        raise refuse(name, "dropout", f"must lie in [0, 1), got {value}")
    return value


def _shown(value: Any) -> str:
    """A value in a message: text as it is, the rest shortened, as lists that hold others twice could be written without end."""
    return value[:40] if isinstance(value, str) else reprlib.repr(value)[:40]


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else [value]


def _require_weights_held(arrays: Mapping[str, dict[str, Any]], size: int) -> None:
    """Raise ValueError where the layers have more weights than a file of `size` bytes holds, of a byte each at least.

    Layers may share an array, which each of them would copy.
    """
    count = 0
    for name, entry in arrays.items():
        for key in ("weights", "weightsInc", "biases", "biasesInc"):
            listed = _listed(entry.get(key))
            if len(listed) > bounds.INPUTS:
                raise refuse(name, key, f"must be at most {bounds.INPUTS} matrices, got {len(listed)}")
            count += sum(value.size for value in listed if isinstance(value, np.ndarray))
    if count > size:
        raise ValueError(f"its layers must have no more weights than the {size:,} bytes that it holds, got {count:,}")


def _window(layers: Sequence[Layer], arrays: Mapping[str, dict[str, Any]]) -> int:
    """The side of the images that the lowest convolutions were given."""
    kinds = {layer.name: layer.kind for layer in layers}
    lowest = [layer for layer in layers if layer.kind == "conv" and any(kinds[below] == "data" for below in layer.inputs)]
    sides = {_Entry(layer.name, arrays[layer.name]).integer("imgSize") for layer in lowest}
    if len(sides) != 1:
        raise ValueError(f"the convolutions on data must have one imgSize, got {quoted(sorted(sides))}")
    return sides.pop()


def _tensors(assembly: Assembly, arrays: Mapping[str, dict[str, Any]], suffix: str) -> dict[str, Tensor]:
    """Weights, or with "Inc" their increments, as our parameters."""
    tensors: dict[str, Tensor] = {}
    for layer, part in assembly.parts.items():
        entry = arrays[layer]
        if suffix and f"weights{suffix}" not in entry:
            return {}
        listed = _listed(entry.get(f"weights{suffix}"))
        if len(listed) != len(_listed(entry.get("inputs"))):
            raise refuse(layer, f"weights{suffix}", f"must be a matrix for each input, got {len(listed)}")
        matrices = [_matrix(layer, f"weights{suffix}", value) for value in listed]
        matrix = np.concatenate(matrices) * _factors(assembly, part, sum(map(len, matrices)))
        bias = _matrix(layer, f"biases{suffix}", entry.get(f"biases{suffix}")).reshape(-1)
        weight = torch.from_numpy(np.ascontiguousarray(matrix.T))
        number, _, index = part.removeprefix("columns.").partition(".blocks.")
        if index:
            column = assembly.network.columns[int(number)]
            assert isinstance(column, spec.Column)
            block = column.blocks[int(index)]
            taps = block.size**2
            if weight.shape[1] % taps:
                raise refuse(layer, f"weights{suffix}", f"must have {taps} rows a channel, got {weight.shape[1]}")
            weight = weight.reshape(weight.shape[0], -1, block.size, block.size).contiguous(memory_format=torch.channels_last)
        tensors[f"{part}.weight"], tensors[f"{part}.bias"] = weight, torch.from_numpy(bias.copy())
    return tensors


def _factors(assembly: Assembly, part: str, rows: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """By what each row of a part's matrix is multiplied, [rows, 1]."""
    if part != "label":
        return np.full((rows, 1), assembly.shrink.get(part, 1.0), np.float32)
    widths = [column.fc[-1] for column in assembly.network.columns]
    if sum(widths) != rows:
        raise ValueError(f"the label layer must have {sum(widths)} rows of weights, got {rows}")
    return np.repeat(np.array(assembly.label_shrink, np.float32), widths)[:, None]


def _matrix(layer: str, key: str, value: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    if not isinstance(value, np.ndarray) or value.ndim != 2 or not value.size:
        raise refuse(layer, key, "must be a matrix")
    with np.errstate(over="ignore"):
        matrix = value.astype(np.float32)
    if not np.isfinite(matrix).all():
        raise refuse(layer, key, "must be finite")
    return matrix
