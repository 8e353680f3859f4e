"""Columns of single layers, as layer files have them: every layer in ONNX Runtime and in aten, compared with the scorer."""

from __future__ import annotations

import io

import numpy as np
import onnxruntime
import pytest
import torch

from dcnn_fast.export.aten import pt2_file
from dcnn_fast.export.expected import given_of, probabilities
from dcnn_fast.export.plain import PlainNetwork
from dcnn_fast.export.programs import onnx_file
from dcnn_fast.networks import GraphColumn, Network
from dcnn_fast.networks.graph_layers import (
    NEURONS,
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
from tests.export.networks import built, photograph
from tests.export.test_programs import by_onnx_runtime, by_openvino, require_scores

SIDE = 13
VALUES = {"tanh": (1.5, 0.5), "abstanh": (0.7, 2.0), "linear": (0.5, 0.2), "brelu": (0.4,), "log": (30.0,), "drelu": (0.8,)}
CONVS = {
    "padded": ConvLayer((0,), 4, 3, 2, 1),
    "overhanging, without biases": ConvLayer((0,), 4, 4, 3, bias="none"),
    "biases of each place": ConvLayer((0,), 4, 3, 1, 1, bias="place"),
    "groups": ConvLayer((0,), 6, 3, groups=3),
    "connections": ConvLayer((0,), 4, 3, 2, 1, groups=2, connections=(2, 0, 0, 1)),
    "connections to few": ConvLayer((0,), 4, 3, 2, 1, connections=(2,)),
    "of each place": ConvLayer((0,), 4, 5, 3, 1, shared=False, bias="place"),
    "of each place, groups": ConvLayer((0,), 6, 3, 2, groups=3, shared=False),
    "of each place, connections": ConvLayer((0,), 4, 3, 2, 1, groups=2, shared=False, bias="none", connections=(2, 0, 0, 1)),
}
POOLS = [
    PoolLayer((1,), kind, size, stride, start, outputs)
    for kind in ("max", "avg", "sum")
    for size, stride, start, outputs in (
        (3, 2, 0, 0), (2, 2, 0, 0), (3, 2, -1, 0), (3, 3, -2, 5), (4, 2, 2, 3), (3, 1, -1, SIDE), (2, 2, 3, 2),
    )
]  # fmt: skip
NORMS = [
    *(NormLayer((1,), "cross_map", size, 0.05, power, k) for size, power, k in ((5, 0.75, 1.0), (4, 0.5, 2.0), (3, -0.5, 1.0))),
    *(NormLayer((1,), "same_map", size, 0.05, 0.75, k) for size, k in ((3, 1.0), (4, 1.0), (3, 2.5))),
    *(NormLayer((1,), "contrast", size, 0.05, 0.75, k) for size, k in ((3, 1.0), (4, 2.0))),
]  # fmt: skip
EVERY = (
    ConvLayer((0,), 4, 3, 1, 1), NeuronLayer((1,), "relu"), PoolLayer((2,), "max"), NormLayer((3,)),
    ConvLayer((4,), 6, 3, 2, 1, groups=2, shared=False, bias="place", connections=(3, 0, 1, 2)),
    NeuronLayer((5,), "tanh", (1.5, 0.5)),
    PoolLayer((4,), "avg", 3, 2, -1), ConvLayer((7,), 6, 2, bias="none"), NeuronLayer((8,), "abs"),
    FcLayer((6,), 5), FcLayer((9,), 5, bias=False), SumLayer((10, 11), (0.5, -2.0)), MaxLayer((12, 10)),
    DropoutLayer((13,), 0.5), DropoutLayer((14,), 0.25, keeps=False), ConcatLayer((15, 6)), ConcatLayer((16,)),
)  # fmt: skip


def model_of(*layers, view="warp", plane=SIDE, scale=1 / 64):
    """A network of one column, with random biases too."""
    column = GraphColumn(layers, view, plane, SIDE, mean=(120.0, 110.0, 100.0), scale=scale)
    model = built(Network("single layers", (column,)))
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, parameter in model.net.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.3, generator=generator)
    return model


def require_same(model):
    """ONNX Runtime and torch's own operators agree with the network, and the result depends on the pixels."""
    windows = tuple(each.windows(3) for each in given_of(model, photograph(90, 120), 3))
    windows = tuple(np.concatenate([each, 255 - each[::-1]]) for each in windows)
    wanted = probabilities(model, windows)
    assert np.isfinite(wanted).all() and np.ptp(wanted[:, 0]) > 1e-3
    session = onnxruntime.InferenceSession(onnx_file(model.net, "windows", {}), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, dict(zip((each.name for each in session.get_inputs()), windows, strict=True)))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    with torch.no_grad():
        plain = PlainNetwork(model.net)(*map(torch.from_numpy, windows))
    np.testing.assert_allclose(plain.numpy(), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("runtime", [by_onnx_runtime, by_openvino])
def test_every_layer_in_all_three_files(runtime):
    require_scores(model_of(*EVERY), photograph(), runtime)
    require_scores(model_of(*EVERY, view="local", plane=20), photograph(), by_onnx_runtime)


@pytest.mark.parametrize("kind", CONVS)
def test_convolutions(kind):
    require_same(model_of(CONVS[kind], NeuronLayer((1,), "tanh", (1.0, 1.0))))


@pytest.mark.parametrize("layer", POOLS, ids=lambda layer: f"{layer.kind}-{layer.size}-{layer.stride}-{layer.start}")
def test_pools(layer):
    require_same(model_of(ConvLayer((0,), 4, 3, 1, 1), layer))


@pytest.mark.parametrize("layer", NORMS, ids=lambda layer: f"{layer.kind}-{layer.size}-{layer.power}-{layer.k}")
def test_norms(layer):
    require_same(model_of(ConvLayer((0,), 6, 3, 1, 1), layer))


@pytest.mark.parametrize("neuron", NEURONS)
def test_neurons(neuron):
    first = (ConvLayer((0,), 4, 3, 2, 1), *((NeuronLayer((1,), "abs"),) if neuron == "sqrt" else ()))
    require_same(model_of(*first, NeuronLayer((len(first),), neuron, VALUES.get(neuron, ()))))


def test_the_aten_program_is_for_any_number_of_windows():
    model = model_of(*EVERY)
    windows = given_of(model, photograph(), 5)[0].windows(5)
    program = torch.export.load(io.BytesIO(pt2_file(model.net, "{}")))
    operators = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert all(name.startswith("aten.") or "getitem" in name for name in operators), operators
    wanted = probabilities(model, (windows,))
    for count in (1, 2, 5):
        found = program.module()(torch.from_numpy(windows[:count]))
        np.testing.assert_allclose(found.numpy(), wanted[:count], rtol=0, atol=1e-6)
