"""Modules: results, refusals and initial weights."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dcnn_fast import networks
from dcnn_fast.nets import MultiColumn, build
from tests import small


def _windows(count, side, columns, dtype=torch.uint8):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator).to(dtype) for _ in range(columns)
    ]


def test_a_network_is_torchs_layers_in_a_row():
    net = small.model().net
    windows = _windows(4, 24, 2)
    features = []
    for column, x in zip(net.columns, windows, strict=True):
        x = (x.float() - torch.tensor([120.5, 110.0, 100.0]).reshape(1, 3, 1, 1)) / 64
        first, second = column.blocks
        x = F.conv2d(F.pad(x, (0, 1, 0, 1)), first.weight, first.bias, stride=2).relu()  # 24 -> 11 rounding up: one overhangs
        x = F.local_response_norm(F.max_pool2d(x, 3, 2, ceil_mode=True), 5, 1e-4, 0.75, 1.0)
        x = F.conv2d(x, second.weight, second.bias, padding=1).relu().flatten(1)
        for layer in column.fc:
            x = F.linear(x, layer.weight, layer.bias).relu()
        features.append(x)
    expected = F.linear(torch.cat(features, dim=1), net.label.weight, net.label.bias)
    torch.testing.assert_close(net(*windows), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["scnn", "style-scnn-arch4", "alexnet-torchvision", "rdcnn-style"])
@pytest.mark.parametrize("geometry", networks.GEOMETRIES)
def test_presets_build_with_the_parameters_that_describe_counts(name, geometry):
    network = networks.preset(name, geometry)
    with torch.device("meta"):
        net = MultiColumn(network)
    counted = sum(row.parameters for column in network.columns for row in networks.column_costs(column))
    label = len(network.labels) * (sum(column.fc[-1] for column in network.columns) + 1)
    assert sum(parameter.numel() for parameter in net.parameters()) == counted + label


def test_a_full_size_network_runs_forward_and_backward():
    net = build("style-scnn-arch1", "valid")
    logits = net(*_windows(1, 224, 1))
    assert logits.shape == (1, 14)
    F.cross_entropy(logits, torch.tensor([3])).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in net.parameters())


def test_fresh_activations_are_near_one_whatever_the_scale():
    for scale in (1.0, 1 / 64):
        blocks = small.column("warp").blocks
        column = networks.Column("warp", blocks, (64, 64), plane=32, window=24, scale=scale, mean=(127.5,) * 3)
        features = build(networks.Network("n", (column,))).eval().columns[0](*_windows(64, 24, 1))
        assert 0.2 < features.square().mean().sqrt() < 5


def test_the_seed_decides_the_weights():
    one, same, other = (build(small.network(), seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["label.weight"], other["label.weight"])


def test_a_frozen_column_has_no_gradients_and_no_dropout():
    frozen = small.column("local", frozen=True)
    net = build(networks.Network("n", (small.column("warp"), frozen))).train()
    assert [column.training for column in net.columns] == [True, False]
    windows = _windows(2, 24, 2)
    assert torch.equal(net.columns[1](windows[1]), net.columns[1](windows[1]))
    net(*windows).sum().backward()
    assert all(parameter.grad is None for parameter in net.columns[1].parameters())
    assert all(parameter.grad is not None for parameter in net.columns[0].parameters())


def test_dropout_is_inverted_and_only_in_training():
    net = small.model().net
    windows = _windows(1, 24, 2)
    assert torch.equal(net(*windows), net(*windows))
    net.train()
    torch.manual_seed(0)
    assert not torch.equal(net(*windows), net(*windows))


def test_wrong_windows_are_named():
    net = small.model().net
    good = _windows(2, 24, 2)
    with pytest.raises(ValueError, match="windows must be one batch for each of 2 columns, got 1"):
        net(good[0])
    with pytest.raises(ValueError, match=r"windows must have shape \[N, 3, 24, 24\], got \[2, 3, 23, 24\]"):
        net(good[0][:, :, 1:], good[1])


def test_compiles_whole():
    net = small.model().net
    windows = _windows(2, 24, 2)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*windows), net(*windows))


def test_maps_may_enter_the_layers_as_their_means():
    flat, mean = (small.column("warp", reduce=reduce) for reduce in ("flatten", "mean"))
    assert (mean.features, flat.features) == (12, 12 * mean.extents()[-1] ** 2)
    net = build(networks.Network("n", (mean,)), seed=2).eval()
    x = (_windows(3, 24, 1)[0].float() - net.columns[0].mean) * mean.scale
    for block in net.columns[0].blocks:
        x = block(x)
    features = torch.stack([maps.flatten(1).sum(dim=1) / maps[0].numel() for maps in x])
    for layer in net.columns[0].fc:
        features = layer(features).relu()
    torch.testing.assert_close(net(*_windows(3, 24, 1)), net.label(features))
    rows = {row.name: row for row in networks.column_costs(mean)}
    assert rows["mean"].shape == (12, 1, 1) and rows["fc1"].parameters == 20 * 13


def test_making_a_network_draws_nothing_from_the_programs_generator():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = build(small.network(), seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    second = build(small.network(), seed=4)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
