"""Networks structured like cuda-convnet's examples: sizes, parameters and results are those of a plain restatement."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from dcnn_fast import networks
from dcnn_fast.nets import Model, build, import_convnet, initialise, load_model, parameter_groups, save_model
from dcnn_fast.networks.cost import parameters
from dcnn_fast.networks.graph_layers import DropoutLayer
from tests import convnet_original
from tests.convnet_stock import NETWORKS, cifar
from tests.nets.convnet_writer import Option, pickled

MEAN = (120.0, 110.0, 100.0)


def read(name):
    layers, params, side = NETWORKS[name]
    layers = layers.replace("sizeX=5\nscale", "size=5\nscale").replace("sizeX=3\nscale", "size=3\nscale")
    return networks.parse_convnet_cfg(layers, params, networks.Preprocessing(plane=side, window=side))


def original(name, **options):
    """The layers that cuda-convnet would store, with a norm's keys in the file where cuda-convnet reads them."""
    layers, params, side = NETWORKS[name]
    if name == "example":
        layers = layers.replace("sizeX=5\nscale", "size=5\nscale").replace("sizeX=3\nscale", "size=3\nscale")
        params += "[norm1]\nscale=0.0002\npow=0.75\n[norm2]\nscale=0.01\npow=0.5\n"
    return convnet_original.stored(layers, params, side, **options)


@pytest.mark.parametrize("name", NETWORKS)
def test_sizes_and_parameters_are_those_of_an_independent_count(name):
    network, made = read(name).network, original(name)
    label = next(layer for layer in made if layer["name"] == "fclabel")
    assert sum(column.outputs for column in network.columns) == sum(len(matrix) for matrix in label["weights"])
    assert parameters(network) == convnet_original.count(made)
    assert sum(p.numel() for p in build(network).parameters()) == convnet_original.count(made)


def by_name(made):
    """The layers in version 2's form, with inputs by name, in another order."""
    return {layer["name"]: {**layer, "inputs": [made[i]["name"] for i in layer["inputs"]]} for layer in reversed(made)}


@pytest.mark.parametrize(("name", "version"), [*((name, 1) for name in NETWORKS), ("imagenet-2gpu-model", 2), ("gc", 2)])
def test_a_checkpoint_computes_what_cuda_convnet_did(tmp_path, name, version):
    made, side = original(name, deviation=0.1), NETWORKS[name][2]
    layers = made if version == 1 else by_name(made)
    data = {"model_state": {"layers": layers, "epoch": 1, "batchnum": 1}, "op": {"o": Option()}}
    (tmp_path / "1.1").write_bytes(pickled(data))
    found = import_convnet(tmp_path / "1.1", mean=MEAN, plane=side)
    save_model(found.model, tmp_path / "m.safetensors")
    net = load_model(tmp_path / "m.safetensors").net
    assert load_model(tmp_path / "m.safetensors").digest == found.model.digest
    windows = np.random.default_rng(1).integers(0, 256, (2, 3, side, side)).astype(np.uint8)
    expected = np.array([convnet_original.logits(made, w - np.array(MEAN).reshape(3, 1, 1)) for w in windows])
    with torch.no_grad():
        by_engine = net(torch.from_numpy(windows)).numpy()
    by_torch = net(torch.from_numpy(windows)).detach().numpy()
    for logits in (by_engine, by_torch):
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert set(found.increments) == set(dict(net.named_parameters()))
    for key, value in net.named_parameters():
        torch.testing.assert_close(found.increments[key], 2 * value.detach())


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_written_reads_as_the_same_network_and_rules(name):
    require_read_again(read(name), "v2")


def test_version_1_has_dropout_in_the_parameters_of_the_layer_below():
    layers, params, side = cifar(True, True, 16)
    dropped = params.replace("[fc1]", "[fc1]\ndropout=0.25").replace("[conv2]", "[conv2]\ndropout=0.5")
    first = networks.parse_convnet_cfg(layers, dropped, networks.Preprocessing(plane=side, window=side))
    assert [layer.share for layer in first.network.columns[0].layers if isinstance(layer, DropoutLayer)] == [0.5, 0.25]
    require_read_again(first, "v1")
    require_read_again(first, "v2")


def require_read_again(first, dialect):
    texts = networks.write_convnet_cfg(first.network, first.rules, dialect)
    again = networks.parse_convnet_cfg(*texts, networks.preprocessing_of(first.network), name=first.network.name)
    assert again.network == dataclasses.replace(first.network, labels=again.network.labels)
    assert _unnamed(again.rules) == _unnamed(first.rules)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("imagenet-2gpu-model", r"column 0, layer \d+: dropout must be of one layer's whole result"),
        ("gc", r"\[conv1_0\] filters: must be a multiple of 16"),
    ],
)
def test_what_version_1_cannot_say_is_named(name, message):
    with pytest.raises(networks.ConvNetError, match=message):
        networks.write_convnet_cfg(read(name).network, None, "v1")


def test_inputs_with_rates_of_their_own_are_refused_where_they_would_be_trained():
    first = read("example")
    assert [(each.rate, each.momentum) for each in first.rules["label"].inputs] == [(0.0001, 0.5), (0.001, 0.9)]
    with pytest.raises(ValueError, match=r"\[fclabel\] epsW, momW: must be the same for all inputs to be trained here"):
        parameter_groups(build(first.network), first.rules)


def _unnamed(rules):
    return {part: dataclasses.replace(rule, layer="") for part, rule in rules.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_fresh_network_starts_as_the_files_say(name):
    first = read(name)
    net = initialise(build(first.network), first.rules)
    for part, rule in first.rules.items():
        weight = dict(net.named_parameters())[f"{part}.weight"].detach()
        starts = [(each.size, each.deviation) for each in rule.inputs] or [(weight.shape[1], rule.deviation)]
        for piece, (_, deviation) in zip(weight.split([size for size, _ in starts], dim=1), starts, strict=True):
            assert float(piece.std()) == pytest.approx(deviation, rel=6 * piece.numel() ** -0.5)
    assert Model(net).digest == Model(initialise(build(first.network), first.rules)).digest


APART = """
[data]
type=data
dataIdx=0
[labels]
type=data
dataIdx=1
[below]
type=fc
inputs=data
outputs=5
neuron=relu
[first]
type=fc
inputs=below
outputs=4
neuron=relu
[between]
type=fc
inputs=data
outputs=3
neuron=relu
[last]
type=fc
inputs=below
outputs=6
neuron=relu
[fclabel]
type=fc
inputs=first,between,last
outputs=2
[probs]
type=softmax
inputs=fclabel
[cost]
type=cost.logreg
inputs=labels,probs
"""


def test_the_label_layers_inputs_of_one_picture_need_not_be_in_any_order(tmp_path):
    """Two inputs share a layer, and a third stands between them."""
    made = convnet_original.stored(APART, "", 6, deviation=0.1)
    data = {"model_state": {"layers": made, "epoch": 1, "batchnum": 1}, "op": {"o": Option()}}
    (tmp_path / "1.1").write_bytes(pickled(data))
    net = import_convnet(tmp_path / "1.1", mean=MEAN, plane=6, window=6).model.net
    assert len(net.columns) == 1 and net.label.in_features == 13
    window = np.random.default_rng(1).integers(0, 256, (3, 6, 6)).astype(np.uint8)
    expected = convnet_original.logits(made, window - np.array(MEAN).reshape(3, 1, 1))
    found = net(torch.from_numpy(window[None])).detach().numpy()[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    rates = "epsW=0.1\nepsB=0.1\nmomW=0.9\nmomB=0.9\nwc=0\n"
    params = "".join(f"[{name}]\n{rates}" for name in ("below", "first", "between", "last", "fclabel")) + "[cost]\ncoeff=1\n"
    require_read_again(networks.parse_convnet_cfg(APART, params, networks.Preprocessing(plane=6, window=6)), "v2")
