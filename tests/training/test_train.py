"""A training run: it learns, writes its files, keeps frozen layers, and refuses unusable input."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from dcnn_fast.data import DataSet
from dcnn_fast.nets import Input, Regularised, build, load_model
from dcnn_fast.networks import Network
from dcnn_fast.training import DivergedError, Settings, train
from dcnn_fast.training.checkpoint import load_checkpoint
from dcnn_fast.training.losses import counts_of, loss_of, targets_of
from tests import small
from tests.training import sets


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def test_it_learns_what_can_be_learnt_and_leaves_a_run(tmp_path):
    net, data = sets.net(), sets.data_set(96, 32)
    outcome = train(net, data, Settings(epochs=6, batch=16, flip=True), tmp_path / "run", tensorboard=True)
    assert outcome.steps == 36 and outcome.skipped == {}
    assert outcome.history[-1]["loss"] < 0.7 * outcome.history[0]["loss"]
    assert outcome.best["test_balanced_accuracy"] > 0.9
    assert not net.training
    last, best = (load_model(tmp_path / "run" / f"{name}.safetensors") for name in ("last", "best"))
    for name, tensor in net.state_dict().items():
        assert torch.equal(last.net.state_dict()[name], tensor)
    training = best.provenance["training"]
    assert training["epoch"] == outcome.best["epoch"] and training["measures"] == outcome.best
    assert training["settings"]["batch"] == 16 and training["data"]["train"] == 96
    with open(tmp_path / "run" / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [float(row["loss"]) for row in rows] == [row["loss"] for row in outcome.history]
    assert (tmp_path / "run" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1


def test_the_mean_of_the_data_is_in_the_model_and_frozen_columns_keep_theirs(tmp_path):
    columns = (small.column("warp"), small.column("local", frozen=True), small.column("center"))
    net = build(Network("n", columns, sets.LABELS))
    train(net, sets.data_set(8, 0), Settings(epochs=1, batch=8, column_rates=(1, 1, 0)), tmp_path)
    warp, local, center = load_model(tmp_path / "last.safetensors").spec.columns
    assert local.mean == center.mean == (120.5, 110.0, 100.0)
    assert warp.mean != local.mean and all(80 < value < 160 for value in warp.mean)
    assert net.columns[0].mean.flatten().tolist() == pytest.approx(warp.mean)
    kept = sets.net()
    train(kept, sets.data_set(8, 0), Settings(epochs=1, batch=8, mean="spec"), tmp_path / "kept")
    assert {column.mean for column in kept.spec.columns} == {(120.5, 110.0, 100.0)}


@pytest.mark.parametrize(
    ("settings", "learnt"),
    [
        ({}, ("columns.0.", "columns.1.", "label.")),
        ({"column_rates": (1.0, 0.0)}, ("columns.0.", "label.")),
        ({"tune": "label"}, ("label.",)),
        ({"rate": 0.0}, (".bias",)),
    ],
)
def test_what_is_not_to_learn_stays_as_it_was(tmp_path, settings, learnt):
    net = sets.net()
    before = sets.weights(net)
    train(net, sets.data_set(16, 0), Settings(epochs=1, batch=8, **settings), tmp_path)
    for name, tensor in net.state_dict().items():
        expected = any(part in name for part in learnt)
        assert torch.equal(tensor, before[name]) != expected, name
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_dropout_is_drawn_anew_each_step_and_off_in_columns_that_stay(tmp_path):
    net, seeds, modes = sets.net(), [], []

    def watch(layer, inputs):
        if layer.training:  # the pass over held-out examples does not count
            seeds.append(torch.initial_seed())
            modes.append([column.training for column in net.columns])

    net.label.register_forward_pre_hook(watch)
    train(net, sets.data_set(16, 4), Settings(epochs=2, batch=8, column_rates=(1, 0)), tmp_path)
    assert modes == [[True, False]] * 4
    assert len(set(seeds)) == 4


def test_a_step_is_cuda_convnets_rule_at_the_rates_of_column_and_schedule(tmp_path):
    """One step by hand: increment = -rate * gradient of the mean - decay * rate * weight; half the rate for column 1. The decay
    is large enough to show."""
    net, data = sets.net(dropout=0.0), sets.data_set(8, 0)
    settings = Settings(epochs=1, batch=8, column_rates=(1.0, 0.5), drops=((0, 0.1),), mean="spec", decay=10.0)
    reference = sets.net(dropout=0.0)
    for one in (net, reference):  # fresh biases are zeros, which do not show whether they decay
        for name, parameter in one.named_parameters():
            if name.endswith("bias"):
                parameter.data.fill_(0.1)
    train(net, data, settings, tmp_path)
    from dcnn_fast.training.mini_batches import Draws, Request, epoch_order  # noqa: PLC0415 - the run's expected draws
    from dcnn_fast.training.photographs import Pictures  # noqa: PLC0415

    numbers = tuple(epoch_order(0, 0, 8).tolist())
    cases = Draws(Pictures(data.train, net.inputs), seed=0)[Request(0, numbers)]
    labels = torch.tensor([data.train[number].label for number in numbers])
    nn.functional.cross_entropy(reference(*cases.on(torch.device("cpu"), ())), labels).backward()
    for (name, parameter), found in zip(reference.named_parameters(), net.parameters(), strict=True):
        rate = (0.002 if name.endswith("bias") else 0.001) * 0.1 * (0.5 if name.startswith("columns.1") else 1)
        decay = 0 if name.endswith("bias") else 10.0
        expected = parameter - rate * parameter.grad - decay * rate * parameter
        torch.testing.assert_close(found, expected.detach(), rtol=1e-5, atol=1e-7)


def test_workers_cache_and_the_callers_generator_change_nothing(tmp_path):
    found = []
    for number, options in enumerate(({}, {"workers": 2}, {"cache": 1, "threads": 2})):
        net = sets.net()
        torch.manual_seed(number)
        state = torch.get_rng_state()
        outcome = train(net, sets.data_set(), Settings(epochs=2, batch=16, flip=True), tmp_path / str(number), **options)
        assert torch.equal(torch.get_rng_state(), state)
        found.append((sets.weights(net), sets.without_times(outcome.history)))
    for weights, history in found[1:]:
        assert history == found[0][1]
        assert all(torch.equal(weights[name], tensor) for name, tensor in found[0][0].items())


def test_bad_pictures_are_counted_named_and_skipped(tmp_path):
    data = sets.data_set(20, 8)
    broken = {3: b"\xff\xd8 broken", 7: "/nowhere.jpg"}
    spoilt = [replace(example, source=broken.get(i, example.source)) for i, example in enumerate(data.train)]
    without = [example for i, example in enumerate(data.train) if i not in broken]
    test = (replace(data.test[0], source=b""), *data.test[1:])
    outcome = train(sets.net(), DataSet(sets.LABELS, tuple(spoilt), test), Settings(epochs=2, batch=20), tmp_path / "a")
    named = {"picture 3": "not an image of a known format", "picture 7": "no such file", "picture 10000": "the file is empty"}
    assert outcome.skipped == named
    assert [row["skipped"] for row in outcome.history] == [3, 3]
    assert [row["images"] for row in outcome.history] == [18, 18]
    assert outcome.history[0]["test_count"] == 7
    clean = train(sets.net(dropout=0.0), DataSet(sets.LABELS, tuple(without), ()), Settings(epochs=1, batch=20), tmp_path / "b")
    again = train(sets.net(dropout=0.0), DataSet(sets.LABELS, tuple(spoilt), ()), Settings(epochs=1, batch=20), tmp_path / "c")
    assert again.history[0]["loss"] == pytest.approx(clean.history[0]["loss"], rel=1e-5)  # the mean is over readable examples


def test_nothing_readable_is_an_error(tmp_path):
    examples = tuple(sets.example(i, source="/nowhere.jpg") for i in range(4))
    for mean, why in (("data", "got none of 4 that is"), ("spec", "got none: picture .: no such file")):
        with pytest.raises(ValueError, match=why):
            train(sets.net(), DataSet(sets.LABELS, examples, ()), Settings(epochs=2, mean=mean), tmp_path / mean)


def test_a_loss_that_is_not_finite_stops_at_its_step_and_keeps_the_checkpoint(tmp_path):
    with pytest.raises(DivergedError, match=r"the loss must stay finite, got (nan|inf) at step \d+ \(epoch \d\)"):
        train(sets.net(), sets.data_set(), Settings(epochs=9, batch=16, rate=1e9, checkpoint_steps=1), tmp_path)
    kept = load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert kept.progress.step >= 1 and all(torch.isfinite(tensor).all() for tensor in kept.tensors.values())


def test_a_set_without_labels_and_other_labels_are_refused(tmp_path):
    data = sets.data_set(4, 0)
    unlabelled = tuple(replace(example, label=-1) for example in data.train)
    with pytest.raises(ValueError, match="data.train must hold labelled examples, got none of 4"):
        train(sets.net(), replace(data, train=unlabelled), Settings(), tmp_path)
    with pytest.raises(ValueError, match="labels must be the data's"):
        train(sets.net(), replace(data, labels=("no", "yes")), Settings(), tmp_path)
    with pytest.raises(ValueError, match="column_rates must be one factor for each of 2 columns, got 1"):
        train(sets.net(), data, Settings(column_rates=(1.0,)), tmp_path)


@pytest.mark.parametrize("precision", ["tf32", "bf16", "fp16"])
def test_lower_precisions_follow_the_loss_of_fp32(tmp_path, precision):
    curves = []
    for kind in ("fp32", precision):
        net = sets.net(dropout=0.0)
        outcome = train(net, sets.data_set(48, 0), Settings(epochs=3, batch=16, precision=kind), tmp_path / kind)
        curves.append([row["loss"] for row in outcome.history])
        assert all(parameter.dtype == torch.float32 for parameter in net.parameters())
        assert {column.precision for column in net.columns} == {"ieee"}
    assert curves[0] != curves[1]
    assert curves[1] == pytest.approx(curves[0], rel=0.05)


def test_torchs_rule_for_ties_follows_the_loss_of_cuda_convnets(tmp_path):
    curves = {}
    for ties in ("all", "first"):
        net = sets.net(dropout=0.0)
        outcome = train(net, sets.data_set(32, 0), Settings(epochs=2, batch=16, ties=ties), tmp_path / ties)
        curves[ties] = [row["loss"] for row in outcome.history]
        assert {column.ties for column in net.columns} == {"all"}
    assert curves["first"] != curves["all"]
    assert curves["first"] == pytest.approx(curves["all"], rel=0.05)


def test_the_loss_scale_of_fp16_skips_a_step_that_overflows(tmp_path):
    """The first scale, 2**16, is far too large for a loss in the thousands: weights stay until the scale has fallen."""
    net = sets.net(dropout=0.0)
    net.label.weight.data *= 3e4
    before = sets.weights(net)
    settings = Settings(epochs=1, batch=16, precision="fp16", mean="spec", rate=1e-9, bias_rate=1e-9)
    train(net, sets.data_set(16, 0), settings, tmp_path)
    assert all(torch.equal(net.state_dict()[name], tensor) for name, tensor in before.items())
    assert load_checkpoint(tmp_path / "checkpoint.safetensors").progress.scaler["scale"] == 2.0**15


class TwoTasks(nn.Module):
    """A foreign network with two label layers."""

    inputs = (Input("warp:0", "warp", 16, 16),)

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 2), nn.Linear(3, 3)

    def forward(self, windows):
        x = windows.float().mean(dim=(2, 3)) / 255 - 0.5
        return self.first(x), self.second(x)


def test_any_module_with_inputs_learns_both_tasks(tmp_path):
    data = sets.data_set(40, 8)
    examples = [replace(e, attribute=e.label, label=e.label if i % 2 else -1) for i, e in enumerate(data.train)]
    torch.manual_seed(0)
    net = TwoTasks()
    settings = Settings(epochs=20, batch=8, rate=1.0, bias_rate=1.0)
    outcome = train(net, replace(data, train=tuple(examples), attributes=("a", "b", "c")), settings, tmp_path)
    assert outcome.history[-1]["loss"] < 0.6 * outcome.history[0]["loss"]
    assert outcome.best["test_accuracy"] > 0.8
    assert (tmp_path / "best.safetensors").is_file()


class Beside(nn.Module):
    """A network that holds a network of columns beside its own module."""

    def __init__(self, ours):
        super().__init__()
        self.ours, self.more = ours, nn.Linear(3, 2)
        self.inputs = (*ours.inputs, Input("center:0", "center", 16, 16))

    def forward(self, *windows):
        return self.ours(*windows[:-1]) + self.more(windows[-1].float().mean(dim=(2, 3)) / 255)


def test_a_network_that_holds_columns_gets_their_means_and_rates(tmp_path):
    net = Beside(sets.net())
    before = sets.weights(net)
    train(net, sets.data_set(16, 4), Settings(epochs=1, batch=8, column_rates=(0.0, 1.0)), tmp_path)
    local, warp = net.ours.spec.columns
    assert local.mean == (120.5, 110.0, 100.0) != warp.mean
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name]) == name.startswith("ours.columns.0."), name
    with pytest.raises(ValueError, match="labels must be the data's"):
        train(net, replace(sets.data_set(4, 0), labels=("a", "b")), Settings(), tmp_path / "other")


def test_columns_beside_a_frozen_module_of_another_making_learn(tmp_path):
    module = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
    net = Regularised(sets.net(), module, features=12, plane=16, window=16)
    before = sets.weights(net)
    outcome = train(net, sets.data_set(48, 16), Settings(epochs=4, batch=16, column_rates=(1.0, 0.0)), tmp_path)
    assert outcome.history[-1]["loss"] < outcome.history[0]["loss"]
    assert net.columns[0].spec.mean != (120.5, 110.0, 100.0) == net.columns[1].spec.mean
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name]) == name.startswith("columns.1."), name


def test_two_label_layers_of_ours_learn_and_are_kept(tmp_path):
    data = sets.data_set(32, 8)
    examples = [replace(e, attribute=e.label, label=e.label if i % 2 else -1) for i, e in enumerate(data.train)]
    data = replace(data, train=tuple(examples), attributes=("a", "b"))
    net = build(replace(sets.net().spec, attributes=("a", "b")))
    outcome = train(net, data, Settings(epochs=2, batch=16), tmp_path)
    assert outcome.history[0]["images"] == 32
    assert load_model(tmp_path / "last.safetensors").spec.attributes == ("a", "b")
    with pytest.raises(ValueError, match="the network's attributes must be the data's"):
        train(net, replace(data, attributes=("a", "b", "c")), Settings(), tmp_path / "other")
    single = train(sets.net(), data, Settings(epochs=1, batch=16), tmp_path / "single")
    assert single.history[0]["images"] == 16  # examples with only the second label are left out


def test_weights_that_are_not_finite_are_never_kept(tmp_path):
    """The only step has a finite loss and an infinite update."""
    net = sets.net()
    net.label.weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(DivergedError, match="the weights must stay finite, got NaN or infinity at step 1"):
        train(net, sets.data_set(8, 4), Settings(epochs=1, batch=8), tmp_path)
    assert not (tmp_path / "checkpoint.safetensors").exists() and not (tmp_path / "best.safetensors").exists()


def test_examples_without_a_label_are_left_out_of_its_loss():
    examples = [
        sets.example(i, label=label, attribute=attribute) for i, (label, attribute) in enumerate([(0, -1), (1, 2), (-1, 0)])
    ]
    targets = targets_of(examples)
    counts = counts_of(targets, 2)
    assert counts.tolist() == [2, 2]
    one, two = torch.randn(3, 2, generator=torch.Generator().manual_seed(0)), torch.zeros(3, 3)
    expected = nn.functional.cross_entropy(one[:2], torch.tensor([0, 1])) + np.log(3)
    assert loss_of((one, two), targets, counts).item() == pytest.approx(expected.item())
    assert loss_of(one, targets, counts).item() == pytest.approx(expected.item() - np.log(3))


@pytest.mark.needs_engine
def test_the_fused_path_and_the_reference_have_the_same_loss_curve(tmp_path, monkeypatch):
    curves = []
    for backend in ("", "reference"):
        monkeypatch.setenv("DCNN_FAST_BACKEND", backend)
        settings = Settings(epochs=25, batch=16, evaluate_every=0)
        outcome = train(sets.net(dropout=0.0), sets.data_set(64, 0), settings, tmp_path / f"run {backend}")
        curves.append([row["loss"] for row in outcome.history])
    assert outcome.steps == 100
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)


def test_held_out_examples_are_looked_at_every_n_epochs_and_at_the_end(tmp_path):
    outcome = train(sets.net(), sets.data_set(8, 4), Settings(epochs=5, batch=8, evaluate_every=2), tmp_path)
    assert ["test_loss" in row for row in outcome.history] == [False, True, False, True, True]
    nothing = train(sets.net(), sets.data_set(8, 4), Settings(epochs=1, batch=8, evaluate_every=0), tmp_path / "none")
    assert nothing.best is None and not (tmp_path / "none" / "best.safetensors").exists()
