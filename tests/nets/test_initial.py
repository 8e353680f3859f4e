"""Columns from other files, frozen columns, other people's modules, and a second task."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from dcnn_fast import networks
from dcnn_fast.nets import Model, Regularised, build, freeze, load_columns, load_model, save_model
from tests import small


def windows(count, n=3):
    generator = torch.Generator().manual_seed(4)
    return [torch.randint(0, 256, (n, 3, 24, 24), generator=generator).byte() for _ in range(count)]


def scnn(view, seed, **changes):
    return build(replace(small.network((view,)), columns=(small.column(view, **changes),)), seed=seed).eval()


def test_columns_come_from_files_models_and_columns(tmp_path):
    local, warp = scnn("local", 1), scnn("warp", 2)
    warp.set_means([(1.0, 2.0, 3.0)])
    save_model(Model(local), tmp_path / "local.safetensors")
    net = load_columns(build(small.network(), seed=5), {0: tmp_path / "local.safetensors", 1: Model(warp)}).eval()
    a, b = windows(2)
    assert torch.equal(net.columns[0](a), local.columns[0](a))
    assert torch.equal(net.columns[1](b), warp.columns[0](b))
    assert torch.equal(net.columns[1](b.float()), warp.columns[0](b.float()))  # the mean also applies to floating windows
    assert net.spec.columns[1].mean == (1.0, 2.0, 3.0) and net.spec.columns[0].view == "local"
    save_model(Model(net), tmp_path / "both.safetensors")
    again = load_columns(build(small.network(), seed=6), {0: (tmp_path / "both.safetensors", 1), 1: net.columns[0]}).eval()
    assert torch.equal(again.columns[0](b), net.columns[1](b)) and torch.equal(again.columns[1](a), net.columns[0](a))


def test_columns_of_one_network_may_differ():
    wide = replace(small.column("warp"), blocks=(*small.column("warp").blocks, networks.Block(8, 3, padding=1)), fc=(10,))
    net = build(networks.Network("n", (small.column("local"), wide)), seed=0)
    assert net(*windows(2)).shape == (3, 2)


def test_a_column_that_does_not_fit_is_named():
    other = small.column("warp", rounding="down")
    theirs = build(networks.Network("n", (other,)), seed=0)
    with pytest.raises(ValueError, match="column 1: rounding must be those of its source; the network has up, the source down"):
        load_columns(build(small.network(), seed=0), {1: theirs})
    with pytest.raises(ValueError, match="sources must name columns from 0 to 1, got 2"):
        load_columns(build(small.network(), seed=0), {2: scnn("warp", 0)})
    with pytest.raises(ValueError, match="a source must name a column from 0 to 0, got 1"):
        load_columns(build(small.network(), seed=0), {0: (scnn("warp", 0), 1)})


def test_freezing_is_recorded_and_can_be_undone(tmp_path):
    net = freeze(build(small.network(), seed=0).train(), {1})
    assert [column.frozen for column in net.spec.columns] == [False, True]
    assert [column.training for column in net.columns] == [True, False]
    assert {parameter.requires_grad for parameter in net.columns[1].parameters()} == {False}
    save_model(Model(net), tmp_path / "m.safetensors")
    assert load_model(tmp_path / "m.safetensors").spec.columns[1].frozen
    freeze(net, ())
    assert all(parameter.requires_grad for parameter in net.parameters()) and net.columns[1].training
    with pytest.raises(ValueError, match=r"columns must be from 0 to 1, got \[2\]"):
        freeze(net, {2})


class Theirs(nn.Module):
    """A foreign network with batch norm and dropout, neither of which may update."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Dropout(), nn.AdaptiveAvgPool2d(1))

    def forward(self, x):
        return self.body(x)


def test_a_torch_module_is_a_frozen_column():
    torch.manual_seed(0)
    module = Theirs()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    net = Regularised(build(small.network(), seed=1), module, features=5, view="local", plane=20, window=16)
    assert [(i.key, i.window) for i in net.inputs] == [("local:0", 24), ("warp:0", 24), ("local:1", 16)]
    net.train()
    theirs = torch.randint(0, 256, (3, 3, 16, 16), generator=torch.Generator().manual_seed(1)).byte()
    logits = net(*windows(2), theirs)
    logits.sum().backward()
    assert {name for name, _ in net.named_parameters()} == {*(name for name, _ in build(small.network()).named_parameters())}
    assert net.label.in_features == 2 * 16 + 5
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = module((theirs / 255 - mean.reshape(1, 3, 1, 1)) / deviation.reshape(1, 3, 1, 1)).flatten(1)
    torch.testing.assert_close(net.attributes(theirs), expected, rtol=1e-4, atol=1e-5)
    net.eval()
    moved = net(*windows(2), 255 - theirs)
    assert not torch.equal(moved, net(*windows(2), theirs))


def test_wrong_features_and_windows_of_a_module_are_named():
    net = build(small.network(), seed=1)
    with pytest.raises(ValueError, match=r"module must give 6 features for a window, got \[5\]"):
        Regularised(net, Theirs(), features=6)
    with pytest.raises(ValueError, match="windows must be one batch for each of 3 columns, got 2"):
        Regularised(net, Theirs(), features=5, plane=20, window=16)(*windows(2))


def test_a_second_task_learns_from_the_same_features(tmp_path):
    network = replace(small.network(), attributes=("plain", "striped", "dotted"))
    net = build(network, seed=2)
    labels, attributes = net(*windows(2))
    assert labels.shape == (3, 2) and attributes.shape == (3, 3)
    attributes.sum().backward()
    assert net.attribute.weight.grad is not None and net.label.weight.grad is None
    assert all(parameter.grad is not None for parameter in net.columns.parameters())
    save_model(Model(net), tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors").net
    assert again.spec == network and again.attribute.weight.requires_grad
    torch.testing.assert_close(again(*windows(2))[1], net.eval()(*windows(2))[1])
    with pytest.raises(ValueError, match="attributes must be none or at least two different names"):
        replace(network, attributes=("one",))
