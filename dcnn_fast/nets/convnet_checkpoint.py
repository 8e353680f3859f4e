"""Networks from cuda-convnet's checkpoints, of either version, plain or zipped (docs/cuda-convnet.md#checkpoints)."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from dcnn_fast import networks
from dcnn_fast.nets import zipped
from dcnn_fast.nets.convnet_entry import Entry, listed_of, shown
from dcnn_fast.nets.convnet_matrices import tensors_of
from dcnn_fast.nets.convnet_pickle import read_pickle
from dcnn_fast.nets.errors import ModelError
from dcnn_fast.nets.modelfile import Model, network_with
from dcnn_fast.nets.pickle_machine import PickleError
from dcnn_fast.networks import bounds
from dcnn_fast.networks.convnet_graph import assemble
from dcnn_fast.networks.convnet_layer import Layer, refuse
from dcnn_fast.printable import quoted

_LARGEST = 2**32  # bytes of a checkpoint
_PLANE_OF_WINDOW = 256 / 224


@dataclass(frozen=True)
class ConvNetCheckpoint:
    """A network trained by cuda-convnet.

    Attributes:
        model: The network with its weights.
        increments: The last steps, by the names of their parameters.
    """

    model: Model
    increments: Mapping[str, Tensor]


def import_convnet(
    path: str | Path,
    *,
    views: Sequence[networks.View] = ("warp",),
    plane: int | None = None,
    window: int | None = None,
    mean: tuple[float, ...] = (0.0, 0.0, 0.0),
    labels: Sequence[str] | None = None,
) -> ConvNetCheckpoint:
    """The network of a checkpoint, whose pickle is interpreted and never loaded.

    Weights above a dropout without compensation are multiplied by the kept share, as our dropout compensates.

    Args:
        path: The checkpoint, of either version, plain or zipped.
        views: One view for each column, or one for all.
        plane: The side of the normalised input, in pixels; by default in the ratio 256 : 224 to the window.
        window: The side of the network's input images, in pixels; by default taken from its convolutions.
        mean: The value subtracted from each channel, which cuda-convnet stores in its batches.meta.
        labels: The labels' names, as in `networks.read_convnet_cfg`.

    Returns:
        The network, in evaluation mode, and its last steps.

    Raises:
        ModelError: The file cannot be read or expressed; the message names the file and the fault.

    Source:
        docs/cuda-convnet.md#checkpoints
    """
    try:
        raw = _contents(Path(path))
        state = _entry(read_pickle(raw), "model_state", dict)
        layers, arrays, version = _layers(state)
        _require_weights_held(arrays, len(raw))
        inner = _window(layers, arrays, window)
        side = round(inner * _PLANE_OF_WINDOW) if plane is None else plane
        data = networks.Preprocessing(tuple(views), side, inner, mean)
        assembly = assemble(layers, data, name=Path(path).name, labels=labels)
        weights = tensors_of(assembly, arrays, "")
        increments = tensors_of(assembly, arrays, "Inc")
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
        raise ValueError("not a regular file")  # a pipe would block, a device has no end
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
    """The layers in topological order, the file's entry for each, and cuda-convnet's version."""
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
    listed = listed_of(entry.get("inputs", []))
    if len(listed) > bounds.INPUTS:
        raise refuse(name, "inputs", f"must be at most {bounds.INPUTS} layers, got {len(listed)}")
    inputs = tuple(i if i in names else names[i] if type(i) is int and 0 <= i < len(names) else shown(i) for i in listed)
    read = Entry(name, entry)
    if kind in ("dropout", "dropout2"):
        keep = read.number("keep", 0.5)
        if not entry.get("enable", True):
            if kind == "dropout2" and keep != 1:
                raise refuse(name, "enable", "must be true in a dropout2, which multiplies by keep even where it is off")
            keep = 1.0
        return Layer(name, "dropout", inputs, {}, _share(name, 1 - keep), kind == "dropout2")
    dropout = _share(name, read.number("dropout", 0.0))
    return Layer(name, kind, inputs, _values(kind, read, len(inputs)), dropout)


def _values(kind: str, read: Entry, inputs: int) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if kind in ("conv", "local"):
        each = tuple(_convolution(read, index, inputs) for index in range(inputs))
        values = {**(each[0] if each else {}), "sharedBiases": bool(read.one("sharedBiases", True)), "each": each}
    elif kind == "fc":
        values = {"outputs": read.integer("outputs")}
    elif kind == "pool":
        which = read.one("pool")
        if which not in ("max", "avg"):
            raise refuse(read.name, "pool", f"must be max or avg, got {shown(which)}")
        values = {key: read.integer(key) for key in ("channels", "sizeX", "stride")}
        values |= {key: read.integer(key, 0) for key in ("start", "outputsX")}
        values["pool"] = "sum" if which == "avg" and read.one("sum", False) else which
    elif kind in ("cmrnorm", "rnorm", "cnorm"):
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
        values = {"neuron": _neuron(read.entry.get("neuron"))}
    elif kind == "eltsum":
        values = {"coeffs": [read.number_at("coeffs", index, inputs, 1.0) for index in range(inputs)]}
    return values


def _convolution(read: Entry, index: int, inputs: int) -> dict[str, Any]:
    """The values of one input of a convolution."""
    values: dict[str, Any] = {
        key: read.integer_at(key, index, inputs, default)
        for key, default in (("channels", None), ("filterSize", None), ("stride", None), ("padding", 0), ("groups", 1))
    }
    values["padding"] = abs(values["padding"])
    values["filters"] = read.integer_at("filters", index, inputs)
    values["randSparse"] = bool(read.at("randSparse", index, inputs, False))
    if values["randSparse"]:
        values["filterChannels"] = read.integer_at("filterChannels", index, inputs)
        values["filterConns"] = read.connections(index)
    return values


def _neuron(entry: Any) -> str:
    """A neuron in a layer file's notation, from its name or from a dict of its name and its numbers."""
    if not isinstance(entry, dict):
        return entry if isinstance(entry, str) else shown(entry)
    kind, params = entry.get("type"), entry.get("params")
    if not isinstance(kind, str):
        return shown(kind)
    if not isinstance(params, dict) or not params:
        return kind
    numbers = [params[key] for key in sorted(params, key=str)]  # a, b
    if len(numbers) > 2 or not all(isinstance(number, (int, float)) for number in numbers):
        return shown(numbers)
    return f"{kind}[{','.join(repr(float(number)) for number in numbers)}]"


def _share(name: str, value: float) -> float:
    if not 0 <= value < 1:
        raise refuse(name, "dropout", f"must lie in [0, 1), got {value}")
    return value


def _require_weights_held(arrays: Mapping[str, dict[str, Any]], size: int) -> None:
    """Raise ValueError where the layers have more weights than a file of `size` bytes can hold at one byte each.

    Layers may share an array, which each of them would copy.
    """
    count = 0
    for name, entry in arrays.items():
        for key in ("weights", "weightsInc", "biases", "biasesInc"):
            listed = listed_of(entry.get(key))
            if len(listed) > bounds.INPUTS:
                raise refuse(name, key, f"must be at most {bounds.INPUTS} matrices, got {len(listed)}")
            count += sum(value.size for value in listed if isinstance(value, np.ndarray))
    if count > size:
        raise ValueError(f"its layers must have no more weights than the {size:,} bytes that it holds, got {count:,}")


def _window(layers: Sequence[Layer], arrays: Mapping[str, dict[str, Any]], wanted: int | None) -> int:
    """The side of the lowest convolutions' input images, or `wanted` where there are none."""
    kinds = {layer.name: layer.kind for layer in layers}
    sides = {
        Entry(layer.name, arrays[layer.name]).integer_at("imgSize", index, len(layer.inputs))
        for layer in layers
        if layer.kind in ("conv", "local")
        for index, below in enumerate(layer.inputs)
        if kinds[below] == "data"
    }
    if wanted is not None and sides <= {wanted}:
        return wanted
    if len(sides) != 1:
        raise ValueError(f"the convolutions on data must have one imgSize, got {quoted(sorted(sides))}; window may say it")
    if wanted is not None:
        raise ValueError(f"window must be {sides.pop()}, the side of the images that the network was given, got {wanted}")
    return sides.pop()
