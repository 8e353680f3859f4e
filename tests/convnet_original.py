"""cuda-convnet restated plainly: the checkpoint it makes from layer files, and its network's outputs (docs/cuda-convnet.md).

Written from its documentation, in numpy and loops, sharing nothing with the project: the checkpoint that the program would
store of a network that has not learnt, the outputs and weights of each layer, and the label layer's outputs for one image.
"""

from __future__ import annotations

import math

import numpy as np

WEIGHTED = ("conv", "local", "fc")


def sections(text):
    """The sections as [name, {key: value}]."""
    found = []
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        if line.startswith("["):
            found.append((line[1 : line.index("]")], {}))
        elif line:
            key, _, value = line.partition("=")
            found[-1][1][key.strip()] = value.strip()
    return found


def listed(keys, key, count, default=None):
    values = [entry.strip() for entry in keys.get(key, str(default)).split(",")]
    return values * count if len(values) == 1 else values


def neuron(text):
    """A neuron as a checkpoint stores it."""
    name, _, inside = text.partition("[")
    values = [float(value) for value in inside.rstrip("]").split(",")] if inside else []
    return {"type": name, "params": dict(zip("ab", values, strict=False))}


def stored(layers, params, side, channels=3, seed=0, deviation=None):
    """The layers of a checkpoint of version 1, each with its number of `outputs`.

    deviation: of all weights and biases, in place of those of the file.
    """
    rng = np.random.default_rng(seed)
    of = dict(sections(params))
    made, place = [], {}
    for name, keys in sections(layers):
        layer = {
            "name": name,
            "type": keys["type"],
            "inputs": [place[i.strip()] for i in keys.get("inputs", "").split(",") if i],
        }
        below = [made[i]["outputs"] for i in layer["inputs"]]
        maker = {"data": _data, "conv": _conv, "local": _conv, "fc": _fc, "pool": _pool}.get(keys["type"], _other)
        layer |= maker(keys, of.get(name, {}), below, side, channels)
        if layer["type"] in WEIGHTED:
            _draw(layer, keys, rng, len(below), deviation)
        if "dropout" in of.get(name, {}):
            layer["dropout"] = float(of[name]["dropout"])
        made.append(layer)
        place[name] = len(made) - 1
        if keys.get("neuron", "ident") != "ident" and layer["type"] != "neuron":
            made.append({"name": f"{name}_neuron", "type": "neuron", "inputs": [place[name]], "outputs": layer["outputs"],
                         "neuron": neuron(keys["neuron"])})  # fmt: skip
            place[name] = len(made) - 1
    return made


def _data(keys, params, below, side, channels):
    return {"dataIdx": int(keys["dataIdx"]), "outputs": channels * side**2 if keys["dataIdx"] == "0" else 1}


def _conv(keys, params, below, side, channels):
    count = len(below)
    lists = {
        key: [int(value) for value in listed(keys, key, count, default)]
        for key, default in (("channels", 0), ("filterSize", 0), ("stride", 1), ("padding", 0), ("groups", 1), ("filters", 0))
    }
    sparse = [value in ("1", "true") for value in listed(keys, "randSparse", count, "0")]
    own = [c // g for c, g in zip(lists["channels"], lists["groups"], strict=True)]
    if any(sparse):
        own = [int(value) for value in listed(keys, "filterChannels", count, ",".join(map(str, own)))]
    images = [math.isqrt(outputs // c) for outputs, c in zip(below, lists["channels"], strict=True)]
    modules = {
        1 + math.ceil((2 * pad + image - size) / stride)
        for pad, image, size, stride in zip(lists["padding"], images, lists["filterSize"], lists["stride"], strict=True)
    }
    filters = {f * g for f, g in zip(lists["filters"], lists["groups"], strict=True)}
    (modules,), (filters,) = modules, filters
    rows = [size**2 * c for size, c in zip(lists["filterSize"], own, strict=True)]
    shared = keys["type"] == "conv"
    one = keys.get("sharedBiases", "1") in ("1", "true") and shared
    return {
        **lists, "filters": filters, "filterChannels": own, "randSparse": sparse, "imgSize": images, "modulesX": modules,
        "outputs": filters * modules**2, "padding": [-pad for pad in lists["padding"]],
        "rows": [row * (1 if shared else modules**2) for row in rows], "columns": filters,
        "offsets": (filters if one else filters * modules**2, 1), **({"sharedBiases": one} if shared else {}),
        "filterConns": [[(7 * i + 3) % c for i in range(g * o)] if s else [] for s, c, g, o in zip(
            sparse, lists["channels"], lists["groups"], own, strict=True)],
    }  # fmt: skip


def _fc(keys, params, below, side, channels):
    outputs = int(keys["outputs"])
    return {"outputs": outputs, "rows": list(below), "columns": outputs, "offsets": (1, outputs)}


def _draw(layer, keys, rng, count, deviation):
    spread = [float(value) if deviation is None else deviation for value in listed(keys, "initW", count, "0.01")]
    rows, columns, offsets = (layer.pop(key) for key in ("rows", "columns", "offsets"))
    layer["weights"] = [(rng.standard_normal((r, columns)) * s).astype(np.float32) for r, s in zip(rows, spread, strict=True)]
    layer["weightsInc"] = [weights * 2 for weights in layer["weights"]]
    start = float(keys.get("initB", 0)) if deviation is None else rng.standard_normal(offsets) * deviation
    layer["biases"] = (np.zeros(offsets) + start).astype(np.float32)
    layer["biasesInc"] = layer["biases"] * 2


def _pool(keys, params, below, side, channels):
    values = {key: int(keys.get(key, 0)) for key in ("channels", "sizeX", "stride", "start", "outputsX")}
    image = math.isqrt(below[0] // values["channels"])
    if values["outputsX"] <= 0:
        values["outputsX"] = 1 + math.ceil((image - values["start"] - values["sizeX"]) / values["stride"])
    outputs = values["outputsX"] ** 2 * values["channels"]
    return {**values, "pool": keys["pool"], "imgSize": image, "outputs": outputs, "sum": keys.get("sum") == "1"}


def _other(keys, params, below, side, channels):
    kind = keys["type"]
    if kind in ("cmrnorm", "rnorm", "cnorm"):
        size = int(keys["size"])
        scale = float(params["scale"]) / (size if kind == "cmrnorm" else size**2)
        values = {"channels": int(keys["channels"]), "size": size, "scale": scale, "pow": float(params["pow"])}
        return {**values, "minDiv": float(params.get("minDiv", 1)), "blocked": False, "outputs": below[0]}
    if kind == "neuron":
        return {"neuron": neuron(keys["neuron"]), "outputs": below[0]}
    if kind in ("concat", "pass"):
        return {"outputs": sum(below)}
    if kind.startswith("dropout"):
        return {"keep": float(params.get("keep", 0.5)), "enable": True, "outputs": below[0]}
    if kind == "eltsum":
        return {"coeffs": [float(value) for value in listed(params, "coeffs", len(below), "1")], "outputs": below[0]}
    return {"coeff": 1.0, "outputs": below[-1]}


def count(made):
    """The number of weights and biases of a network."""
    return sum(sum(w.size for w in layer["weights"]) + layer["biases"].size for layer in made if "weights" in layer)


def logits(made, image):
    """The label layer's outputs at test time for one [C, H, W] image, from which the mean is subtracted."""
    results = {}
    for number, layer in enumerate(made):
        given = [results.get(i) for i in layer["inputs"]]
        if layer["type"] == "softmax":
            return given[0]
        results[number] = _result(layer, given, image)
    raise AssertionError


def _result(layer, given, image):
    kind = layer["type"]
    if kind == "data":
        return image.reshape(-1).astype(np.float64)
    if kind in ("conv", "local"):
        value = sum(_convolution(layer, index, x) for index, x in enumerate(given))
        value = (value.reshape(layer["filters"], -1) + layer["biases"].reshape(layer["filters"], -1)).reshape(-1)
    elif kind == "fc":
        value = sum(x @ w.astype(np.float64) for x, w in zip(given, layer["weights"], strict=True)) + layer["biases"][0]
    else:
        value = _function(layer, given)
    return value * (1 - layer.get("dropout", 0.0))


def _function(layer, given):
    x = given[0]
    return {
        "pool": lambda: _pooled(layer, maps_of(layer, x)).reshape(-1),
        **dict.fromkeys(("cmrnorm", "rnorm", "cnorm"), lambda: _normed(layer, maps_of(layer, x)).reshape(-1)),
        "neuron": lambda: NEURONS[layer["neuron"]["type"]](x, **layer["neuron"]["params"]),
        **dict.fromkeys(("concat", "pass"), lambda: np.concatenate(given)),
        "eltsum": lambda: sum(c * value for c, value in zip(layer["coeffs"], given, strict=True)),
        "eltmax": lambda: np.max(given, axis=0),
        "dropout": lambda: x,
        "dropout2": lambda: x * layer["keep"],
    }[layer["type"]]()


NEURONS = {
    "relu": lambda x: np.maximum(x, 0), "logistic": lambda x: 1 / (1 + np.exp(-x)), "abs": np.abs, "square": np.square,
    "tanh": lambda x, a, b: a * np.tanh(b * x), "linear": lambda x, a, b: a * x + b, "sqrt": np.sqrt,
    "softrelu": lambda x: np.log1p(np.exp(x)), "brelu": lambda x, a: np.minimum(a, np.maximum(0, x)),
    "abstanh": lambda x, a, b: a * np.abs(np.tanh(b * x)), "ident": lambda x: x,
}  # fmt: skip


def maps_of(layer, x):
    side = math.isqrt(x.size // layer["channels"])
    return x.reshape(layer["channels"], side, side)


def _convolution(layer, index, x):
    """[filters * modules] for one input, by the raw matrix; places outside the image are 0."""
    size, stride, groups, pad, channels = (layer[k][index] for k in ("filterSize", "stride", "groups", "padding", "channels"))
    side, modules, filters = layer["imgSize"][index], layer["modulesX"], layer["filters"]
    maps = x.reshape(channels, side, side)
    own, of_group = layer["filterChannels"][index], filters // groups
    reads = layer["filterConns"][index] or list(range(channels))
    matrix = layer["weights"][index].astype(np.float64).reshape(-1, own * size**2, filters)
    out = np.zeros((filters, modules, modules))
    for row in range(modules):
        for col in range(modules):
            place = matrix[row * modules + col if len(matrix) > 1 else 0]
            window = np.zeros((channels, size, size))
            for i in range(size):
                for j in range(size):
                    r, c = row * stride + pad + i, col * stride + pad + j
                    if 0 <= r < side and 0 <= c < side:
                        window[:, i, j] = maps[:, r, c]
            for group in range(groups):
                seen = window[reads[group * own : (group + 1) * own]].reshape(-1)
                mine = slice(group * of_group, (group + 1) * of_group)
                out[mine, row, col] = seen @ place[:, mine]
    return out.reshape(-1)


def _windows(extent, start, stride, size, count):
    """The part of each window that lies in the image."""
    return [slice(max(0, start + i * stride), min(extent, start + i * stride + size)) for i in range(count)]


def _pooled(layer, maps):
    windows = _windows(maps.shape[1], layer["start"], layer["stride"], layer["sizeX"], layer["outputsX"])
    pick = {"max": np.max, "avg": np.sum if layer["sum"] else np.mean}[layer["pool"]]
    return np.array([[[pick(m[rows, cols]) for cols in windows] for rows in windows] for m in maps])


def _normed(layer, maps):
    size, side = layer["size"], maps.shape[1]
    if layer["type"] == "cmrnorm":
        around = _windows(len(maps), -(size // 2), 1, size, len(maps))
        sums = np.array([(maps[window] ** 2).sum(0) for window in around])
    else:
        windows = _windows(side, -(size // 2), 1, size, side)
        if layer["type"] == "cnorm":
            maps = maps - np.array([[[m[rows, cols].mean() for cols in windows] for rows in windows] for m in maps])
        sums = np.array([[[(m[rows, cols] ** 2).sum() for cols in windows] for rows in windows] for m in maps])
    return maps * (layer["minDiv"] + layer["scale"] * sums) ** -layer["pow"]
