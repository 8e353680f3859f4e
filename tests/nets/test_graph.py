"""A column of single layers: gradients, fusion, dependencies and its form in model files."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
import torch

from dcnn_fast import networks
from dcnn_fast.nets import Model, build, graph_layers, load_columns, load_model, save_model
from dcnn_fast.nets.graph import fused_layers
from dcnn_fast.networks import GraphColumn, Network
from dcnn_fast.networks.graph_layers import (
    ConcatLayer,
    ConvLayer,
    DropoutLayer,
    FcLayer,
    MaxLayer,
    NeuronLayer,
    NormLayer,
    PoolLayer,
    SumLayer,
)
from tests import small

RELU, AVERAGE = "relu", networks.Pool(kind="avg")
LAYERS = (
    ConvLayer((0,), 4, 3, 1, 1), NeuronLayer((1,), RELU), PoolLayer((2,), "max"), NormLayer((3,)),
    ConvLayer((4,), 6, 3, 2, 1, groups=2, shared=False, bias="place", connections=(3, 0, 1, 2)),
    NeuronLayer((5,), "tanh", (1.5, 0.5)),
    PoolLayer((4,), "avg", 3, 2, -1), ConvLayer((7,), 6, 2, bias="none"), NeuronLayer((8,), "abs"),
    FcLayer((6,), 5), FcLayer((9,), 5, bias=False), SumLayer((10, 11)), DropoutLayer((12,), 0.5), ConcatLayer((13, 6)),
)  # fmt: skip
NETWORK = Network("single layers", (GraphColumn(LAYERS, plane=20, window=13),))


def doubles(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()


@pytest.mark.parametrize(
    "layer",
    [
        PoolLayer((0,), "avg", 3, 2), PoolLayer((0,), "avg", 4, 4, -2), PoolLayer((0,), "max", 3, 2, -1),
        PoolLayer((0,), "sum"),
        PoolLayer((0,), "max", 3, 2, 2), PoolLayer((0,), "avg", 3, 3, 0, 2), PoolLayer((0,), "max", 3, 2, outputs=2),
    ],
    ids=str,
)  # fmt: skip
def test_gradients_of_pools_are_those_of_differences(layer):
    x = doubles(2, 3, 7, 7)
    assert graph_layers.pool(x, layer).shape[1:] == layer.output([(3, 7, 7)])
    assert torch.autograd.gradcheck(lambda v: graph_layers.pool(v, layer), (x,))


@pytest.mark.parametrize("kind", ["cross_map", "same_map"])
@pytest.mark.parametrize("k", [1.0, 2.0])
def test_gradients_of_norms_are_those_of_differences(kind, k):
    layer = NormLayer((0,), kind, 3, 0.3, 0.75, k)
    assert torch.autograd.gradcheck(lambda v: graph_layers.norm(v, layer), (doubles(2, 4, 5, 5),))


def test_the_average_of_a_contrast_has_no_gradient():
    layer, x = NormLayer((0,), "contrast", 3, 0.0, 0.75), doubles(1, 2, 4, 4)
    graph_layers.norm(x, layer).sum().backward()
    assert (x.grad == 1).all()


@pytest.mark.parametrize(
    ("name", "values"),
    [("logistic", ()), ("softrelu", ()), ("square", ()), ("tanh", (1.7, 0.6)), ("linear", (3.0, 2.2)), ("brelu", (0.7,)),
     ("drelu", (1.5,)), ("abs", ()), ("abstanh", (1.7, -0.6)), ("relu", ())],
)  # fmt: skip
def test_gradients_of_neurons_are_those_of_differences(name, values):
    layer = NeuronLayer((0,), name, values)
    assert torch.autograd.gradcheck(lambda v: graph_layers.neuron(v, layer), (doubles(20),))


def test_gradients_where_there_is_a_choice_are_cuda_convnets():
    x = torch.zeros(3, requires_grad=True)
    graph_layers.neuron(x, NeuronLayer((0,), "abs")).sum().backward()
    assert (x.grad == -1).all()
    bounded = torch.tensor([0.0, 0.5, 1.0, 2.0], requires_grad=True)
    graph_layers.neuron(bounded, NeuronLayer((0,), "brelu", (1.0,))).sum().backward()
    assert bounded.grad.tolist() == [0, 1, 0, 0]
    first, second = torch.ones(2, requires_grad=True), torch.tensor([1.0, 0.0], requires_grad=True)
    graph_layers.Largest.apply(first, second).sum().backward()
    assert first.grad.tolist() == [1, 1] and second.grad.tolist() == [1, 0]
    flat = torch.ones(1, 1, 3, 3, requires_grad=True)
    graph_layers.pool(flat, PoolLayer((0,), "max", 3, 2)).sum().backward()
    assert (flat.grad == 1).all()  # every equal maximum takes the gradient


def test_filters_of_each_place_have_the_gradient_of_differences():
    layer = ConvLayer((0,), 4, 3, 2, 1, groups=2, shared=False)
    weight = doubles(9, 4, 1, 3, 3, seed=1)
    assert torch.autograd.gradcheck(lambda v, w: graph_layers.unshared(v, w, layer), (doubles(2, 2, 5, 5), weight))
    shared = doubles(4, 1, 3, 3, seed=2)
    same = graph_layers.unshared(doubles(2, 2, 5, 5), shared.expand(9, 4, 1, 3, 3), layer)
    torch.testing.assert_close(same, torch.nn.functional.conv2d(doubles(2, 2, 5, 5), shared, None, 2, 1, 1, 2))


def test_dropout_is_cuda_convnets():
    x, layer = torch.ones(1000), DropoutLayer((0,), 0.25)
    torch.manual_seed(0)
    drawn = graph_layers.dropout(x, layer, True)
    assert set(drawn.tolist()) == {0.0, 1.0} and 650 < drawn.sum() < 850
    assert (graph_layers.dropout(x, layer, False) == 0.75).all()
    assert (graph_layers.dropout(x, DropoutLayer((0,), 0.25, keeps=False), False) == 1).all()


def windows(count, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, 3, 13, 13)).astype(np.uint8))


def test_a_windows_features_do_not_depend_on_others_and_are_those_of_training():
    net = build(NETWORK).eval()
    column, seen = net.columns[0], windows(5)
    together = column.features(seen)
    for number in range(5):
        assert (column.features(seen[number : number + 1])[0] == together[number]).all()
    torch.testing.assert_close(together, column(seen).detach(), rtol=1e-4, atol=1e-4)


def test_what_a_block_can_compute_is_computed_by_one():
    (fused,) = fused_layers(NETWORK.columns[0])
    assert (fused.conv, fused.last) == (0, 4)
    assert fused.block == networks.Block(4, 3, 1, 1, pool=networks.Pool(), norm=networks.CrossMapNorm())
    conv = ConvLayer((0,), 4, 3)
    for tail, block in (
        ((PoolLayer((1,)), NeuronLayer((2,))), networks.Block(4, 3, pool=networks.Pool())),
        (
            (NeuronLayer((1,)), NormLayer((2,)), PoolLayer((3,))),
            networks.Block(4, 3, pool=networks.Pool(), norm=networks.CrossMapNorm(), order="conv-norm-pool"),
        ),
        ((NeuronLayer((1,)), PoolLayer((2,), "avg")), networks.Block(4, 3, pool=AVERAGE)),
        ((NormLayer((1,)), NeuronLayer((2,))), networks.Block(4, 3, norm=networks.CrossMapNorm(), order="conv-norm-pool-relu")),
        ((PoolLayer((1,), "avg"), NeuronLayer((2,))), networks.Block(4, 3, pool=AVERAGE, order="conv-pool-norm-relu")),
        (
            (NormLayer((1,)), PoolLayer((2,)), NeuronLayer((3,))),
            networks.Block(4, 3, pool=networks.Pool(), norm=networks.CrossMapNorm(), order="conv-norm-pool-relu"),
        ),
        (
            (NormLayer((1,)), NeuronLayer((2,)), PoolLayer((3,))),
            networks.Block(4, 3, pool=networks.Pool(), norm=networks.CrossMapNorm(), order="conv-norm-pool-relu"),
        ),
        (
            (NormLayer((1,)), NeuronLayer((2,)), PoolLayer((3,), "avg")),
            networks.Block(4, 3, norm=networks.CrossMapNorm(), order="conv-norm-pool-relu"),
        ),
        (
            (PoolLayer((1,), "max"), NeuronLayer((2,)), NormLayer((3,))),
            networks.Block(4, 3, pool=networks.Pool(), norm=networks.CrossMapNorm()),
        ),
        ((PoolLayer((1,), "sum"), NeuronLayer((2,))), None),
        ((NeuronLayer((1,), "logistic"),), None),
        ((NeuronLayer((1,)), ConcatLayer((1, 2))), None),
    ):  # fmt: skip
        found = fused_layers(GraphColumn((conv, *tail), window=13, plane=13))
        assert [each.block for each in found] == ([] if block is None else [block])


def test_it_learns_what_torchs_own_layers_would():
    net = build(NETWORK, seed=3).train()
    loss = torch.nn.functional.cross_entropy(net(windows(4)), torch.tensor([0, 1, 1, 0]))
    loss.backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in net.parameters())
    moved = [name for name, p in net.named_parameters() if float(p.grad.abs().max()) > 0]
    assert len(moved) == len(list(net.parameters()))


def test_a_model_file_holds_it(tmp_path):
    model = Model(build(NETWORK, seed=2).eval())
    save_model(model, tmp_path / "m.safetensors", fc_storage="int8", block_storage="float16")
    loaded = load_model(tmp_path / "m.safetensors")
    assert loaded.spec == model.spec and loaded.digest == model.digest
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin.digest == model.digest
    fresh = load_columns(build(NETWORK, seed=9).train(), {0: loaded})
    assert (fresh.columns[0].features(windows(1)) == model.net.columns[0].features(windows(1))).all()
    with pytest.raises(ValueError, match="column 0: its source must be a GraphColumn, got a Column"):
        load_columns(build(NETWORK), {0: build(small.network(("warp",)))})


def test_a_network_of_such_a_column_is_json():
    as_dict = networks.network_to_dict(NETWORK)
    assert networks.network_from_dict(json.loads(json.dumps(as_dict))) == NETWORK
    assert as_dict["columns"][0]["layers"][0]["layer"] == "conv"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer": "wonder"}, "layer must be one of conv, pool"),
        ({"layer": ["conv"]}, "layer must be one of conv, pool"),
        ({"filters": 0}, "ConvLayer: filters must be an integer of at least 1"),
        ({"inputs": [3]}, "layer 1's inputs must come before it"),
        ({"inputs": [-1]}, "ConvLayer: inputs must be an integer of at least 0"),
        ({"inputs": 0}, r"conv\.inputs must be a list"),
        ({"inputs": [0, 0]}, "ConvLayer: inputs must be 1, got 2"),
        ({"filters": 2**21}, "filters must be at most"),
        ({"filters": 2**20, "size": 255, "padding": 255}, "layer must give at most|must have at most"),
        ({"groups": 2}, "layer 1 has 2 groups, which do not divide its 3 inputs"),
        ({"connections": [0, 9]}, "connections to more than its 3 inputs"),
        ({"connections": [0] * (2**20 + 1)}, "must have at most"),
        ({"size": 16}, "layer 1 does not fit its 13 x 13 input"),
        ({"colour": 1}, "ConvLayer has no field named colour"),
        ({"bias": "many"}, "bias must be one of map, place, none"),
        ({"shared": 1}, "shared must be true or false"),
    ],
)
def test_wrong_layers_are_refused_by_name(change, message):
    data = networks.network_to_dict(NETWORK)
    data["columns"][0]["layers"][0].update(change)
    with pytest.raises(ValueError, match=message):
        networks.network_from_dict(data)


def test_every_layers_result_is_used():
    with pytest.raises(ValueError, match="layer 1's result is used by no layer"):
        GraphColumn((ConvLayer((0,), 4, 3), PoolLayer((0,))))
    with pytest.raises(ValueError, match="layers must hold at least one layer"):
        GraphColumn(())
    with pytest.raises(ValueError, match="must have inputs of one shape, got 4x222x222, 3x224x224"):
        GraphColumn((ConvLayer((0,), 4, 3), SumLayer((1, 0))))


def test_precision_of_products_is_the_columns():
    net = build(NETWORK, seed=5).eval()
    column, seen = net.columns[0], windows(2)
    exact = column(seen)
    column.compute_in("bf16")
    rounded = column(seen)
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.05 * float(exact.detach().abs().max()))


FUSED = (ConvLayer((0,), 4, 3), NeuronLayer((1,), RELU), PoolLayer((2,), "max", 2, 2))
ALONE = (ConvLayer((0,), 4, 3), PoolLayer((1,), "max", 2, 2))  # without the ReLU these layers form no block


@pytest.mark.parametrize(
    "column",
    [GraphColumn(FUSED, plane=12, window=12), GraphColumn(ALONE, plane=12, window=12),
     networks.Column("warp", (networks.Block(4, 3, pool=networks.Pool(2, 2)),), (8,), plane=12, window=12)],
    ids=["fused", "a pool alone", "blocks"],
)  # fmt: skip
def test_who_gets_a_pools_gradient_is_the_columns(column):
    """All outputs of a black image equal the bias: with "first" one of four gets the gradient, with "all" each."""
    made = build(Network("black", (column,)), seed=3).eval().columns[0]
    bias = next(each for each in made.parameters() if each.ndim == 1)
    bias.data.fill_(1.0)
    x, sums = torch.zeros(1, 3, 12, 12), {}
    for ties in ("all", "first"):
        made.give_ties(ties)
        made.zero_grad()
        made(x).sum().backward()
        sums[ties] = bias.grad
    torch.testing.assert_close(sums["all"], 4 * sums["first"], rtol=1e-4, atol=1e-4)
    assert sums["first"].any()


def test_largest_is_a_maximum():
    layers = (ConvLayer((0,), 2, 3), ConvLayer((0,), 2, 3), MaxLayer((1, 2)))
    net = build(Network("m", (GraphColumn(layers, plane=13, window=13),))).eval()
    found = net.columns[0](windows(1))
    x = windows(1).float()
    one, two = (ops_conv(x, net.columns[0].layers[index]) for index in (0, 1))
    torch.testing.assert_close(found, torch.maximum(one, two).flatten(1))


def ops_conv(x, module):
    return torch.nn.functional.conv2d(x, module.weight, module.bias)
