"""A column of EfficientNet-Lite's layers: its results, its learning layers, its files and its refusals."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from torch.nn import functional as F

from dcnn_fast import nets, networks
from dcnn_fast.nets.backbone import layers_of, params_of
from dcnn_fast.ops.backbone import prepare
from tests import small, small_lite
from tests.lite_files import lite_state
from tests.small_lite import LITE, LOCAL

FIRST = "columns.0.backbone"


def _windows(column=LITE, count=3, dtype=torch.uint8):
    shape = (count, 3, column.window, column.window)
    return torch.from_numpy(np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)).to(dtype)


def _means(weights, column, windows):
    return prepare(params_of(column.lite, column.stages), weights).features(windows)


@pytest.mark.parametrize("column", [LITE, LOCAL, replace(LITE, frozen=True)])
def test_a_column_is_the_layers_of_its_file_and_fully_connected_ones(column):
    net = small_lite.model(column).net
    windows = _windows(column)
    x = _means(nets.import_lite(lite_state(), "lite0"), column, windows)
    assert x.shape == (3, column.features) and column.features == 1280 + sum({1: 24, 4: 112}[stage] for stage in column.stages)
    for layer in net.columns[0].fc:
        x = F.linear(x, layer.weight, layer.bias).relu()
    assert torch.equal(net.columns[0](windows), x) and x.std() > 0
    assert torch.equal(net.columns[0](windows.double()), x)
    assert torch.equal(net(windows), F.linear(x, net.label.weight, net.label.bias))


def test_every_layer_has_its_name():
    weights = nets.import_lite(lite_state(), "lite0")
    layers = layers_of(small_lite.model().net.columns[0].backbone, "lite0")
    assert torch.equal(layers["stem.weight"], weights.stem[0]) and torch.equal(layers["head.bias"], weights.head[1])
    for number, block in enumerate(weights.blocks):
        for name, layer in (("expand", block.expand), ("depthwise", block.depthwise), ("project", block.project)):
            kept = [layers.get(f"blocks.{number}.{name}.{kind}") for kind in ("weight", "bias")]
            assert all(map(torch.equal, kept, layer)) if layer is not None else kept == [None, None]


def test_what_learns_are_the_fully_connected_layers_and_the_label_layer():
    net = small_lite.model(LITE).net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    names = {name for name, _ in net.named_parameters()}
    assert names == {f"columns.0.fc.{i}.{kind}" for i in (0, 1) for kind in ("weight", "bias")} | {"label.weight", "label.bias"}
    assert not {name for name, _ in nets.freeze(copy.deepcopy(net), [0]).columns[0].named_parameters() if _.requires_grad}
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    windows = _windows(dtype=torch.float32).requires_grad_()
    F.cross_entropy(net(windows), torch.tensor([0, 1, 1])).backward()
    optimiser.step()
    assert windows.grad is None
    changed = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == names


def _copied(column):
    column.backbone.copy_(column.backbone.flip(0))


def _behind_torchs_back(column):
    column.backbone.numpy()[:] *= 0.5


def _replaced(column):
    column.backbone = column.backbone.flip(0)


@pytest.mark.parametrize("change", [_copied, _behind_torchs_back, _replaced])
def test_changed_layers_count_from_the_next_call_on(change):
    net, windows = small_lite.model(LITE).net, _windows()
    column = net.columns[0]
    before = column(windows)
    with torch.no_grad():
        change(column)
    after = column(windows)
    fresh = nets.network_with(net.spec, {name: value.clone() for name, value in net.state_dict().items()}).eval()
    assert not torch.equal(before, after) and torch.equal(after, fresh.columns[0](windows))


@pytest.mark.parametrize("way", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_gives_the_same_bits_with_layers_of_its_own(way):
    model, windows = small_lite.model(LITE), _windows()
    before = model.net(windows)
    copied = way(model)
    assert torch.equal(copied.net(windows), before) and copied.digest == model.digest
    copied.net.columns[0].backbone.zero_().add_(0.1)
    assert torch.equal(model.net(windows), before) and copied.digest != model.digest


def test_a_module_is_copied_after_it_has_computed():
    net, windows = small_lite.model(LITE).net, _windows()
    before = net(windows)
    assert torch.equal(copy.deepcopy(net)(windows), before) and torch.equal(pickle.loads(pickle.dumps(net))(windows), before)


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_a_file_holds_each_layer_and_gives_the_network_again(tmp_path, storage):
    model, path = small_lite.model(), tmp_path / "m.safetensors"
    nets.save_model(model, path, block_storage=storage)
    with safe_open(path, "numpy") as file:
        names = set(file.keys())
        assert file.get_slice(f"{FIRST}.blocks.3.expand.weight").get_shape() == [144, 24]
        assert file.get_slice(f"{FIRST}.stem.weight").get_dtype() == {"float32": "F32", "float16": "F16"}[storage]
        assert file.get_slice(f"{FIRST}.stem.bias").get_dtype() == "F32"
    assert sum(name.startswith(f"{FIRST}.") for name in names) == 98 and FIRST not in names
    found = nets.load_model(path)
    assert found.spec == model.spec and (found.digest == model.digest) == (storage == "float32")
    wanted, got = (layers_of(of.net.columns[0].backbone, "lite0") for of in (model, found))
    for name, value in wanted.items():
        rounded = value.half().float() if storage == "float16" and name.endswith("weight") else value
        assert torch.equal(got[name], rounded)
    assert not found.net.columns[0].backbone.requires_grad and found.net.columns[0].fc[0].weight.requires_grad


def _missing(tensors, _):
    del tensors[f"{FIRST}.head.bias"]


def _extra(tensors, _):
    tensors[f"{FIRST}.blocks.0.expand.weight"] = np.zeros((32, 32), np.float32)


def _short(tensors, _):
    tensors[f"{FIRST}.blocks.2.depthwise.weight"] = np.zeros((144, 5, 5), np.float32)


def _nan(tensors, _):
    tensors[f"{FIRST}.stem.weight"][0, 0, 0, 0] = np.nan


def _lite9(_, header):
    header["network"]["columns"][0]["lite"] = "lite9"


def _lite2(_, header):
    header["network"]["columns"][0]["lite"] = "lite2"


def _blocks(_, header):
    header["network"]["columns"][0]["blocks"] = []


def _stages(_, header):
    header["network"]["columns"][0]["stages"] = 3


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_missing, "missing"), (_extra, "unknown"), (_short, "must have shape"), (_nan, "must be finite"),
        (_lite9, "lite must be one of"), (_lite2, "missing"), (_blocks, "no field named blocks"), (_stages, "must be a list"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_its_spec_is_refused_by_name(tmp_path, spoil, message):
    path = tmp_path / "m.safetensors"
    nets.save_model(small_lite.model(), path)
    tensors = {name: value.copy() for name, value in load_file(path).items()}
    with safe_open(path, "numpy") as file:
        header = json.loads(file.metadata()["dcnn_fast"])
    spoil(tensors, header)
    save_file(tensors, path, {"dcnn_fast": json.dumps(header)})
    with pytest.raises(nets.ModelError, match=message):
        nets.load_model(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lite": "lite3"}, "lite must be one of lite0, lite1, lite2"), ({"view": "all"}, "view must be one of"),
        ({"stages": (4, 1)}, "stages must ascend"), ({"stages": (2, 2)}, "stages must ascend"), ({"stages": (7,)}, "to 6"),
        ({"stages": (-1,)}, "at least 0"), ({"stages": (True,)}, "stages must be an integer"), ({"fc": ()}, "at least one"),
        ({"fc": (0,)}, "fc must be an integer"), ({"window": 37}, "must not exceed plane"), ({"dropout": 1.0}, "dropout"),
    ],
)  # fmt: skip
def test_a_column_that_cannot_be_is_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(LITE, **changes)


def test_a_network_is_the_same_after_json():
    network = small_lite.network(LITE, LOCAL, small.column("pad"))
    assert networks.network_from_dict(json.loads(json.dumps(networks.network_to_dict(network)))) == network


def test_columns_are_loaded_from_their_kind_alone():
    model, other = small_lite.model(seed=4), small_lite.model(seed=5)
    net = nets.load_columns(model.net, {0: other})
    assert torch.equal(net.columns[0].backbone, other.net.columns[0].backbone)
    with pytest.raises(ValueError, match="column 0: its source must be a BackboneColumn, got a Column"):
        nets.load_columns(net, {0: (other, 1)})
    with pytest.raises(ValueError, match="column 1: its source must be a Column, got a BackboneColumn"):
        nets.load_columns(net, {1: other})
    with pytest.raises(ValueError, match="column 0: stages must be those of its source"):
        nets.load_columns(net, {0: small_lite.model(replace(LITE, stages=()))})


def test_layers_that_have_no_weights_yet_are_refused():
    net = nets.build(small_lite.network(LITE))
    with pytest.raises(nets.WeightsError, match="lite0's layers have no weights yet"):
        net(_windows())


@pytest.mark.parametrize("shape", [(3, 3, 33, 34), (3, 4, 33, 33), (3, 33, 33)])
def test_other_windows_are_refused(shape):
    with pytest.raises(ValueError, match="windows must have shape"):
        small_lite.model(LITE).net(torch.zeros(shape, dtype=torch.uint8))


def test_its_mean_is_its_own():
    net = small_lite.model().net
    net.set_means([net.spec.columns[0].mean, (1.0, 2.0, 3.0)])
    with pytest.raises(ValueError, match="with which lite0 was trained"):
        net.set_means([(1.0, 2.0, 3.0), (1.0, 2.0, 3.0)])


def test_cuda_convnet_cannot_say_it():
    with pytest.raises(networks.ConvNetError, match=r"columns\[0\]: cuda-convnet has no layers"):
        networks.write_convnet_cfg(networks.Network("n", (replace(LITE, fc=(8,)),)))


def test_costs_are_those_of_the_operation():
    column = networks.BackboneColumn("lite0")
    rows = [row for row in networks.column_costs(column) if not row.name.startswith("fc")]
    assert sum(row.parameters for row in rows) == nets.BackboneColumn(column).backbone.numel()
    assert sum(row.macs for row in rows) == params_of("lite0", side=224).macs


def test_kept_means_are_the_same_bits_and_computed_once(monkeypatch):
    net, windows = small_lite.model(LITE).net, _windows(count=5)
    column, computed = net.columns[0], []
    prepared = type(column._ready("ieee", windows.device))
    features, expected = prepared.features, column.means(windows)
    monkeypatch.setattr(prepared, "features", lambda self, x: computed.append(len(x)) or features(self, x))
    with nets.keeping_means(net, 1):
        assert torch.equal(column.means(windows[:3]), expected[:3])
        assert torch.equal(
            column.means(windows[[4, 1, 4, 3, 1]]), expected[[4, 1, 4, 3, 1]]
        )  # known windows, repeated ones and new ones
        assert torch.equal(column.means(windows.contiguous(memory_format=torch.channels_last)), expected)
        assert computed == [3, 2]
        column.means(windows.float())
        assert computed.pop() == 5  # only windows of bytes are kept
        column.backbone.mul_(0.5)
        assert not torch.equal(column.means(windows), expected)
        assert computed.pop() == 5
        assert copy.deepcopy(column).kept is None
    assert column.kept is None
    with nets.keeping_means(net, 0):  # no room to keep means
        column.means(windows)
        column.means(windows)
    assert computed == [3, 2, 5, 5]


def test_a_module_in_double_precision_has_the_same_layers_and_finer_ones_above():
    net, windows = small_lite.model(LITE).net, _windows()
    expected = net(windows)
    assert (net.double()(windows) - expected.double()).abs().max() < 1e-5
    torch.set_default_dtype(torch.float64)
    try:
        assert nets.BackboneColumn(LITE).backbone.dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)
