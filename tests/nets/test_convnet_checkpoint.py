"""cuda-convnet's checkpoints: the converted network computes cuda-convnet's results, and a hostile pickle does nothing."""

from __future__ import annotations

import contextlib
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch

from dcnn_fast.nets import ModelError, load_model, save_model
from dcnn_fast.nets.convnet_checkpoint import import_convnet
from dcnn_fast.nets.convnet_pickle import PickleError, read_pickle
from tests.nets.convnet_writer import Option, pickled

SIDE, MEAN = 16, (120.0, 110.0, 100.0)
RELU = {"type": "relu", "params": {}}


def conv(name, below, channels, filters, size, side, rng, groups=1, stride=1, padding=0):
    weights = rng.standard_normal((channels // groups * size**2, filters)).astype(np.float32) * 0.05
    return {
        "name": name, "type": "conv", "inputs": [below], "channels": [channels], "filters": filters, "filterSize": [size],
        "stride": [stride], "padding": [-padding], "groups": [groups], "imgSize": [side], "sharedBiases": True,
        "randSparse": [False], "weights": [weights], "weightsInc": [weights * 2],
        "biases": rng.standard_normal((filters, 1)).astype(np.float32), "biasesInc": np.ones((filters, 1), np.float32),
    }  # fmt: skip


def fc(name, below, sizes, outputs, rng, **more):
    weights = [np.asfortranarray(rng.standard_normal((size, outputs)).astype(np.float32) * 0.1) for size in sizes]
    return {
        "name": name, "type": "fc", "inputs": below, "outputs": outputs, "weights": weights, "weightsInc": weights,
        "biases": rng.standard_normal((1, outputs)).astype(np.float32), "biasesInc": np.zeros((1, outputs), np.float32), **more,
    }  # fmt: skip


def column(tag, first, rng, dropout=0.5):
    """The layers of one column, numbered from `first`; the last is the top."""
    return [
        conv(f"conv1{tag}", 0, 3, 8, 5, SIDE, rng, stride=2),
        {"name": f"conv1_neuron{tag}", "type": "neuron", "inputs": [first], "neuron": RELU},
        {"name": f"pool1{tag}", "type": "pool", "inputs": [first + 1], "pool": "max", "channels": 8,
         "sizeX": 3, "stride": 2, "start": 0, "outputsX": 3},
        {"name": f"norm1{tag}", "type": "cmrnorm", "inputs": [first + 2], "channels": 8,
         "size": 5, "scale": 0.02 / 5, "pow": 0.75, "blocked": False},
        conv(f"conv2{tag}", first + 3, 8, 12, 3, 3, rng, groups=2, padding=1),
        {"name": f"conv2_neuron{tag}", "type": "neuron", "inputs": [first + 4], "neuron": RELU},
        fc(f"fc1{tag}", [first + 5], [12 * 9], 10, rng, dropout=dropout),
        {"name": f"fc1_neuron{tag}", "type": "neuron", "inputs": [first + 6], "neuron": RELU},
        fc(f"fc2{tag}", [first + 7], [10], 6, rng, dropout=dropout),
        {"name": f"fc2_neuron{tag}", "type": "neuron", "inputs": [first + 8], "neuron": RELU},
    ]  # fmt: skip


def layers(seed=0):
    rng = np.random.default_rng(seed)
    data = [{"name": name, "type": "data", "inputs": [], "dataIdx": index} for index, name in enumerate(("data", "labels"))]
    joined = [*data, *column("", 2, rng), *column("b", 12, rng, 0.25)]
    return [
        *joined,
        fc("fclabel", [11, 21], [6, 6], 2, rng),
        {"name": "probs", "type": "softmax", "inputs": [22]},
        {"name": "logprob", "type": "cost.logreg", "inputs": [1, 23], "coeff": 1.0},
    ]


def checkpoint(made, version=1):
    if version == 2:
        names = [layer["name"] for layer in made]
        made = dict(
            reversed(
                [(n, {**layer, "inputs": [names[i] for i in layer["inputs"]]}) for n, layer in zip(names, made, strict=True)]
            )
        )
    return {"model_state": {"layers": made, "epoch": 7, "batchnum": 3, "train_outputs": [([1.5], 128)]}, "op": {"o": Option()}}


def numpys_convolution(x, layer):
    """cuda-convnet's convolution of [C, H, W] by the raw matrix; windows over the edge read zeros."""
    size, stride, groups, pad = layer["filterSize"][0], layer["stride"][0], layer["groups"][0], -layer["padding"][0]
    own, filters = x.shape[0] // groups, layer["filters"]
    count = 1 + -(-(x.shape[1] + 2 * pad - size) // stride)
    wide = np.zeros((x.shape[0], x.shape[1] + 2 * pad + size, x.shape[2] + 2 * pad + size))
    wide[:, pad : pad + x.shape[1], pad : pad + x.shape[2]] = x
    out = np.empty((filters, count, count))
    for f in range(filters):
        group = f // (filters // groups)
        kernel = layer["weights"][0][:, f].reshape(own, size, size)
        for i in range(count):
            for j in range(count):
                window = wide[group * own : (group + 1) * own, i * stride : i * stride + size, j * stride : j * stride + size]
                out[f, i, j] = (window * kernel).sum() + layer["biases"][f, 0]
    return out


def numpys_pool(x):
    count = 1 + -(-(x.shape[1] - 3) // 2)
    return np.array([[[m[2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max() for j in range(count)] for i in range(count)] for m in x])


def numpys_norm(x, layer):
    size = layer["size"]
    sums = [(x[max(0, f - size // 2) : f - size // 2 + size] ** 2).sum(0) for f in range(len(x))]
    return x * (1 + layer["scale"] * np.array(sums)) ** -layer["pow"]


def numpys_norm_in_maps(x, layer):
    half, side = layer["size"] // 2, x.shape[1]
    sums = np.empty_like(x)
    for i in range(side):
        for j in range(side):
            rows, cols = slice(max(0, i - half), i - half + layer["size"]), slice(max(0, j - half), j - half + layer["size"])
            sums[:, i, j] = (x[:, rows, cols] ** 2).sum(axis=(1, 2))
    return x * (1 + layer["scale"] * sums) ** -layer["pow"]


def numpys_logits(made, image):
    """The label layer's outputs at test time, layer by layer, on one [3, H, W] image minus its mean."""
    outputs = {}
    for index, layer in enumerate(made):
        given = [outputs[i] for i in layer["inputs"] if i != 1] if layer["type"] != "data" else []
        if layer["type"] == "data":
            value = image
        elif layer["type"] == "conv":
            value = numpys_convolution(given[0], layer)
        elif layer["type"] == "neuron":
            value = np.maximum(given[0], 0)
        elif layer["type"] == "pool":
            value = numpys_pool(given[0])
        elif layer["type"] == "cmrnorm":
            value = numpys_norm(given[0], layer)
        elif layer["type"] == "rnorm":
            value = numpys_norm_in_maps(given[0], layer)
        elif layer["type"] == "dropout":
            value = given[0]
        elif layer["type"] == "dropout2":
            value = given[0] * layer["keep"]
        elif layer["type"] == "fc":
            value = sum(x.reshape(-1) @ w for x, w in zip(given, layer["weights"], strict=True)) + layer["biases"][0]
            value = value * (1 - layer.get("dropout", 0.0))
        else:
            return value
        outputs[index] = value
    raise AssertionError


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("zipped", [False, True])
def test_the_converted_network_computes_what_cuda_convnet_did(tmp_path, version, zipped):
    made, path = layers(), tmp_path / "7.3"
    data = pickled(checkpoint(made, version))
    if zipped:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("data", data)
    else:
        path.write_bytes(data)
    found = import_convnet(path, mean=MEAN)
    save_model(found.model, tmp_path / "m.safetensors")
    model = load_model(tmp_path / "m.safetensors")
    assert model.provenance["epoch"] == 7 and model.provenance["imported from"].endswith(f"version {version}")
    windows = np.random.default_rng(1).integers(0, 256, (2, 3, SIDE, SIDE)).astype(np.uint8)
    with torch.no_grad():
        logits = model.net(*[torch.from_numpy(windows)] * 2).numpy()
    expected = np.array([numpys_logits(made, w - np.array(MEAN).reshape(3, 1, 1)) for w in windows])
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert set(found.increments) == set(dict(model.net.named_parameters()))
    torch.testing.assert_close(
        found.increments["columns.1.blocks.0.weight"], 2 * model.net.columns[1].blocks[0].weight.detach()
    )


def single(kind, keep=0.25, **more):
    """One column with a same-map norm and, above each fc layer, a dropout layer of type `kind`."""
    rng = np.random.default_rng(5)
    drop = {"type": kind, "keep": keep, **more}
    return [
        {"name": "data", "type": "data", "inputs": [], "dataIdx": 0},
        {"name": "labels", "type": "data", "inputs": [], "dataIdx": 1},
        conv("conv1", 0, 3, 8, 5, SIDE, rng, stride=2),
        {"name": "relu1", "type": "neuron", "inputs": [2], "neuron": RELU},
        {"name": "pool1", "type": "pool", "inputs": [3], "pool": "max", "channels": 8, "sizeX": 3, "stride": 2, "start": 0,
         "outputsX": 3},
        {"name": "norm1", "type": "rnorm", "inputs": [4], "channels": 8, "size": 3, "scale": 0.5 / 9, "pow": 0.75},
        fc("fc1", [5], [8 * 9], 10, rng),
        {"name": "relu2", "type": "neuron", "inputs": [6], "neuron": RELU},
        {"name": "drop1", "inputs": [7], **drop},
        fc("fc2", [8], [10], 6, rng),
        {"name": "relu3", "type": "neuron", "inputs": [9], "neuron": RELU},
        {"name": "drop2", "inputs": [10], **drop},
        fc("fclabel", [11], [6], 2, rng),
        {"name": "probs", "type": "softmax", "inputs": [12]},
        {"name": "logprob", "type": "cost.logreg", "inputs": [1, 13], "coeff": 1.0},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "more", "dropout"),
    [
        ("dropout", {}, 0.75),
        ("dropout2", {}, 0.75),
        ("dropout", {"enable": False}, 0.0),
        ("dropout2", {"enable": False, "keep": 1.0}, 0.0),
    ],
)
def test_norms_inside_maps_and_layers_of_dropout_compute_what_they_did(tmp_path, kind, more, dropout):
    made = single(kind, **more)
    (tmp_path / "c").write_bytes(pickled(checkpoint(made, 2)))
    found = import_convnet(tmp_path / "c", mean=MEAN)
    windows = np.random.default_rng(1).integers(0, 256, (2, 3, SIDE, SIDE)).astype(np.uint8)
    with torch.no_grad():
        logits = found.model.net(torch.from_numpy(windows)).numpy()
    expected = np.array([numpys_logits(made, w - np.array(MEAN).reshape(3, 1, 1)) for w in windows])
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert found.model.spec.columns[0].dropout == dropout


def test_what_cannot_be_read_of_a_checkpoint_is_named(tmp_path):
    def refused(made, why):
        (tmp_path / "c").write_bytes(pickled(checkpoint(made)))
        with pytest.raises(ModelError, match=why):
            import_convnet(tmp_path / "c")

    refused(single("dropout2", enable=False), r"\[drop1\] enable: must be true in a dropout2")
    twice = single("dropout")
    twice[3]["name"] = "conv1"
    refused(twice, r"\[conv1\] name: must be that of one layer")
    refused(layers() + [{"name": f"n{i}", "type": "data", "inputs": []} for i in range(1000)], "must have at most 1000 layers")
    many = single("dropout")
    many[6]["weights"] = many[6]["weights"] * 50
    refused(many, r"\[fc1\] weights: must be a matrix for each input, got 50")


def import_changed(tmp_path, change):
    made = layers()
    change({layer["name"]: layer for layer in made})
    (tmp_path / "c").write_bytes(pickled(checkpoint(made)))
    return import_convnet(tmp_path / "c")


@pytest.mark.parametrize(
    ("layer", "changes", "message"),
    [
        ("conv1", {"weights": [np.zeros((10, 8), np.float32)]}, r"\[conv1\] weights: must have 25 rows a channel, got 10"),
        ("conv1", {"filters": 2**30}, r"\[pool1\] channels"),
        ("fc1", {"outputs": 2**20}, r"columns\.0\.fc\.0\.(weight|bias) must have shape \[1048576"),
        ("fclabel", {"outputs": 2**31 - 1}, r"\[fclabel\] outputs: must lie in 2 ... 65536"),
        ("fc1", {"biases": np.full((1, 10), np.nan, np.float32)}, r"\[fc1\] biases: must be finite"),
        ("conv1", {"sharedBiases": False}, r"\[conv1\] biases: must be \d+ numbers, got 8"),
        ("norm1", {"blocked": True}, r"\[norm1\] blocked: must be False"),
        ("pool1", {"pool": "maxabs"}, r"\[pool1\] pool: must be max or avg"),
        ("conv1_neuron", {"neuron": {"type": "tanh"}}, r"\[conv1_neuron\] neuron: tanh must have 2 numbers in brackets"),
        ("conv2", {"inputs": [9999]}, "must follow one another without a circle"),
        ("conv2", {"type": "local"}, r"\[conv2\] weights: must have 324 rows and 12 columns"),
    ],
)
def test_layers_that_are_wrong_or_cannot_be_said_are_named(tmp_path, layer, changes, message):
    with pytest.raises(ModelError, match=message):
        import_changed(tmp_path, lambda named: named[layer].update(changes))


def doubled(depth):
    """Lists nested `depth` deep, each holding the next twice: small as a pickle, endless as text."""
    value = []
    for _ in range(depth):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    ("layer", "key", "value", "message"),
    [
        ("conv1", "imgSize", 10**400, "a number must have at most 64 bits, got 1329"),
        ("conv1", "imgSize", 10**12, r"\[conv1\] imgSize: must be an integer less than"),
        ("norm1", "scale", 1e301, r"\[norm1\] scale: must be a finite number"),
        ("norm1", "blocked", [doubled(60)], r"\[norm1\] blocked: must be False"),
        ("conv1", "filters", [doubled(60)], r"\[conv1\] filters: must be an integer"),
        ("conv2", "inputs", [doubled(60)], "must follow one another"),
        ("conv1_neuron", "neuron", doubled(60), r"\[conv1_neuron\] neuron: must be one of"),
    ],
)
def test_numbers_and_lists_without_measure_are_refused_by_name(tmp_path, layer, key, value, message):
    made = layers()
    next(each for each in made if each["name"] == layer)[key] = value
    data = {"model_state": {"layers": made}}
    (tmp_path / "c").write_bytes(pickle.dumps(data, 2))
    with pytest.raises(ModelError, match=message):
        import_convnet(tmp_path / "c")


class Evil:
    """An object whose pickle makes Python's unpickler call a function."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


def array_with(state):
    """A pickle of an array with the pickled `state`."""
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    return b"\x80\x02" + made + state + b"b."


HOSTILE = {
    "system": pickle.dumps(Evil(os.system, "touch TOUCHED"), 2),
    "eval": pickle.dumps(Evil(eval, "open('TOUCHED', 'w')"), 2),
    "nested": pickle.dumps({"model_state": [Evil(getattr, Evil(__import__, "os"), "system")]}, 2),
    "newer protocol": pickle.dumps(Evil(os.system, "touch TOUCHED"), 4),
    "by inst": b"(S'touch TOUCHED'\nios\nsystem\n.",
    "by obj": b"\x80\x02(cos\nsystem\nU\x0dtouch TOUCHEDo.",
    "by a dotted name": b"\x80\x02coptions\nos.system\nU\x0dtouch TOUCHED\x85R.",
    "persistent": b"\x80\x02U\x01xQ.",
    "extension": b"\x80\x02\x82\x01.",
    "numpy's loader": b"\x80\x02cnumpy\nload\nU\x01x\x85R.",
    "object array": b"\x80\x02cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R.",
    "array of a text": array_with(b"(K\x01J\xff\xff\xff\x7f\x85U\x02f4\x89U\x04abcdt"),
    "array of no bytes": pickled(np.zeros((2, 2))).replace(b"J\x02\x00\x00\x00J\x02", b"J\xff\xff\xff\x7fJ\x02"),
    "state of a class": b"\x80\x02coptions\nOption\n}U\x01xK\x01sb.",
    "state of a function": b"\x80\x02cnumpy\ndtype\n(N}U\x0c__defaults__)stb.",
    "bytes of doubled lists": b"\x80\x02(]q\x01" + b"](h\x01h\x01eq\x01" * 60 + b"tc_codecs\nencode\nh\x01U\x06latin1\x86R.",
    "an array of many sides": array_with(
        b"(K\x01(" + b"\x8a\x08" + b"\xff" * 7 + b"\x7f" + b"K\x02" * 100 + b"tU\x02f4\x89U\x04abcdt"
    ),
    "another's call": b"\x80\x02K\x01)R.",
    "a long text": b"\x80\x02T" + struct.pack("<i", 2**31 - 1) + b"x.",
    "a negative length": b"\x80\x02T" + struct.pack("<i", -5) + b"x.",
    "a long number": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"x.",
    "a deep key": b"\x80\x02}K\x01" + b"\x85" * 200_000 + b"K\x01s.",
    "memo of nothing": b"\x80\x02h\x05.",
    "marks": b"\x80\x02((t0.",
    "nothing": b"",
    "text": b"hello",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pickle_is_refused_and_does_nothing(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c").write_bytes(HOSTILE[name])
    with pytest.raises(ModelError, match="not a checkpoint of cuda-convnet"):
        import_convnet("c")
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_deep_and_circular_data_end(tmp_path):
    deep = b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b"."
    circle = b"\x80\x02]q\x01h\x01a."
    for data in (deep, circle):
        (tmp_path / "c").write_bytes(data)
        with pytest.raises(ModelError):
            import_convnet(tmp_path / "c")


def test_a_checkpoint_cut_anywhere_is_refused():
    data = pickled(checkpoint(layers()[:6]))
    assert read_pickle(data)
    for cut in range(0, len(data), 37):
        with pytest.raises(PickleError):
            read_pickle(data[:cut])


def test_damage_is_an_error_of_its_own():
    data = pickled(checkpoint(layers()[:3]))
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            damaged[place] = rng.integers(256)
        with contextlib.suppress(PickleError):
            read_pickle(bytes(damaged))


def test_what_python_3_writes_of_arrays_is_read():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    read = read_pickle(pickle.dumps({"a": array, "b": np.float32(2.5), "c": array.T.copy(order="F")}, 2))
    assert np.array_equal(read["a"], array) and read["b"] == 2.5 and np.array_equal(read["c"], array.T)


def test_other_zips_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "c", "w") as archive:
        archive.writestr("other", b"")
    with pytest.raises(ModelError, match="the one member 'data', got \\['other'\\]"):
        import_convnet(tmp_path / "c")
    with pytest.raises(ModelError, match="cannot be read"):
        import_convnet(tmp_path / "missing")


def test_the_other_byte_order_is_read():
    array = np.arange(6, dtype=">f4")
    assert np.array_equal(read_pickle(pickle.dumps({"a": array}, 2))["a"], array)
