"""Gradients of whole networks: those of the reference in float64, on every backend and instruction set that runs here."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from dcnn_fast import engine, networks
from dcnn_fast.nets import build, freeze
from tests import small
from tests.ops.on_cpu import kernels_on_cpu

# Every kind of network; presets with reduced sizes.
NETWORKS = {
    **{name: networks.preset(name) for name in ("scnn-arch1", "scnn-arch4", "style-scnn-arch5", "dcnn", "quad", "alexnet")},
    "valid": networks.preset("scnn-arch3", "valid"),
    "torchvision": networks.preset("alexnet-torchvision"),
    "means of maps": small.network(reduce="mean", dropout=0.0),
    "two tasks": replace(small.network(dropout=0.0), attributes=("soft", "hdr", "macro")),
}
FROZEN = {"rdcnn-style": 2}


def reduced(network):
    """Compact columns without dropout, on the smallest windows that give each layer at least two rows."""
    if network.columns[0].plane == 32:
        return network
    columns = []
    for column in network.columns:
        window = next(side for side in range(32, 256) if _fits(column, side))
        columns.append(replace(column, window=window, plane=window, fc=(6, 5)[: len(column.fc)], dropout=0.0))
    return networks.compact(replace(network, columns=tuple(columns)), filters=0.125)


def _fits(column, side):
    try:
        return replace(column, window=side, plane=side).extents()[-1] >= 2
    except ValueError:
        return False


def gradients(network, dtype, frozen=()):
    """The gradients of the cross-entropies of two random windows per column, by parameter."""
    net = freeze(build(network, seed=1), frozen).to(dtype)
    generator = torch.Generator().manual_seed(2)
    windows = [torch.randint(0, 256, (2, 3, c.window, c.window), generator=generator).byte() for c in network.columns]
    found = net(*windows)
    logits = found if isinstance(found, tuple) else (found,)
    sum(F.cross_entropy(each, torch.tensor([1, 0])) for each in logits).backward()
    return {name: None if p.grad is None else p.grad.double() for name, p in net.named_parameters()}


def expected(monkeypatch, network, frozen=()):
    monkeypatch.setenv("DCNN_FAST_BACKEND", "reference")
    return gradients(network, torch.float64, frozen)


def assert_equal(found, wanted, tolerance):
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        if gradient is None:
            assert found[name] is None, name
            continue
        assert float(gradient.abs().max()) > 0, name
        assert float((found[name] - gradient).abs().max() / gradient.abs().max()) < tolerance, name


@pytest.mark.parametrize("name", [*NETWORKS, *FROZEN])
@pytest.mark.parametrize("isa", ["reference", *engine.isas()])
def test_gradients_are_the_references(name, isa, monkeypatch):
    frozen = {FROZEN[name]} if name in FROZEN else set()
    network = reduced(NETWORKS.get(name) or networks.preset(name))
    wanted = expected(monkeypatch, network, frozen)
    assert sum(gradient is None for gradient in wanted.values()) == (12 if frozen else 0)
    monkeypatch.setenv("DCNN_FAST_BACKEND", "reference" if isa == "reference" else "cpu")
    monkeypatch.setenv(engine.ISA_VARIABLE, "" if isa == "reference" else isa)
    assert_equal(gradients(network, torch.float32, frozen), wanted, 1e-4)


def test_gradients_of_kernels_in_the_simulator_are_the_references(monkeypatch):
    """A double column; tests/ops/block/test_triton_step.py has Arch 1's own blocks."""
    network = small.network(dropout=0.0)
    wanted = expected(monkeypatch, network)
    monkeypatch.setenv("DCNN_FAST_BACKEND", "triton")
    with kernels_on_cpu() as launches:
        found = gradients(network, torch.float32)
        assert len(launches) > 8
    assert_equal(found, wanted, 1e-4)
