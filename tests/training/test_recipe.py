"""The recipe of a run: AdamW, cosine and warm-up, clipping, rates changed midway, a validation split, frozen layers."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from dcnn_fast.data import DataSet
from dcnn_fast.nets import build, load_model
from dcnn_fast.nets.kept import keepers_of, keeping_means
from dcnn_fast.networks import InputRule, LayerRule, Network
from dcnn_fast.training import CheckpointError, DivergedError, Settings, train
from dcnn_fast.training.checkpoint import load_checkpoint
from dcnn_fast.training.features import _digest, read_features
from dcnn_fast.training.mini_batches import Draws, Request, epoch_order
from dcnn_fast.training.photographs import Pictures
from tests import small
from tests.training import sets

ADAMW = {"optimiser": "adamw", "momentum": 0.9, "decay": 0.5, "rate": 0.01, "bias_rate": 0.02, "mean": "spec"}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def gradients(net, data, epoch):
    """Gradients of the loss of the whole set, in the order and the windows of an epoch."""
    numbers = tuple(epoch_order(0, epoch, len(data.train)).tolist())
    cases = Draws(Pictures(data.train, net.inputs), seed=0)[Request(epoch, numbers)]
    labels = torch.tensor([data.train[number].label for number in numbers])
    net.zero_grad()
    nn.functional.cross_entropy(net(*cases.on(torch.device("cpu"), ())), labels).backward()
    return {name: parameter.grad.double().numpy() for name, parameter in net.named_parameters()}


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_adamw_is_its_paper_at_the_rates_of_warm_up_and_cosine(tmp_path, clip):
    """Loshchilov and Hutter 2019, algorithm 2, in numpy: moments, bias corrections, and decoupled decay."""
    net, reference, data = sets.net(dropout=0.0), sets.net(dropout=0.0), sets.data_set(8, 0)
    train(net, data, Settings(epochs=4, batch=8, schedule="cosine", warmup=1.5, clip=clip, **ADAMW), tmp_path)
    first = {name: 0.0 for name, _ in reference.named_parameters()}
    second = dict(first)
    for step, factor in enumerate((1 / 1.5, 1.0, 0.5 * (1 + np.cos(np.pi * 0.5 / 2.5)), 0.5 * (1 + np.cos(np.pi * 1.5 / 2.5)))):
        found = gradients(reference, data, step)
        norm = np.sqrt(sum((each**2).sum() for each in found.values()))
        shortened = min(1.0, clip / norm) if clip else 1.0
        assert not clip or shortened < 1 or step
        for name, parameter in reference.named_parameters():
            gradient, bias = shortened * found[name], name.endswith("bias")
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.999 * second[name] + 0.001 * gradient**2
            moved = first[name] / (1 - 0.9 ** (step + 1)) / (np.sqrt(second[name] / (1 - 0.999 ** (step + 1))) + 1e-8)
            rate = factor * (0.02 if bias else 0.01)
            before = parameter.detach().double().numpy()
            parameter.data.copy_(torch.from_numpy(before - rate * moved - rate * (0 if bias else 0.5) * before))
    for (name, parameter), mine in zip(reference.named_parameters(), net.parameters(), strict=True):
        near = (parameter - mine).abs() < 1e-3 * parameter.abs().max()  # gradients of 0 and 1e-12 differ by a whole step
        assert near.double().mean() > 0.98, name


def test_a_run_that_is_interrupted_goes_on_with_adamws_moments(tmp_path):
    settings = Settings(epochs=3, batch=16, schedule="cosine", warmup=0.5, clip=1.0, **ADAMW)
    whole, broken = sets.net(), sets.net()
    train(whole, sets.data_set(), settings, tmp_path / "whole")
    seen = []

    def interrupt(layer, inputs):
        seen.append(1)
        if len(seen) == 6:  # in the middle of the second epoch
            os.kill(os.getpid(), signal.SIGINT)

    hook = broken.label.register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(broken, sets.data_set(), settings, tmp_path / "broken")
    hook.remove()
    kept = load_checkpoint(tmp_path / "broken" / "checkpoint.safetensors")
    assert kept.progress.epoch < 3 and {name.split(".")[0] for name in kept.tensors} == {"net", "exp_avg", "exp_avg_sq", "step"}
    again = sets.net(seed=9)
    train(again, sets.data_set(), settings, tmp_path / "broken", resume=True)
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in whole.state_dict().items())


def test_other_rates_from_here_on_keep_the_increments(tmp_path):
    """cuda-convnet's practice: increments contain the rates at which they were made."""
    data, settings = sets.data_set(8, 0), Settings(epochs=1, batch=8, mean="spec")
    net = sets.net(dropout=0.0)
    train(net, data, settings, tmp_path)
    increments = {
        name.removeprefix("increment."): tensor.double().numpy()
        for name, tensor in load_checkpoint(tmp_path / "checkpoint.safetensors").tensors.items()
        if name.startswith("increment.")
    }
    reference = sets.net(dropout=0.0)
    reference.load_state_dict(net.state_dict())
    slower = replace(settings, epochs=2, rate=1e-4, bias_rate=3e-4)
    with pytest.raises(CheckpointError, match=r"rate was 0.001 and is 0.0001; bias_rate was 0.002 and is 0.0003"):
        train(sets.net(dropout=0.0), data, slower, tmp_path, resume=True)
    train(net, data, slower, tmp_path, resume=True, new_rates=True)
    found = gradients(reference, data, 1)
    for (name, parameter), mine in zip(reference.named_parameters(), net.parameters(), strict=True):
        rate, decay = (3e-4, 0.0) if name.endswith("bias") else (1e-4, 0.0005)
        before = parameter.detach().double().numpy()
        expected = before + 0.9 * increments[name] - rate * found[name] - decay * rate * before
        np.testing.assert_allclose(mine.detach().numpy(), expected, rtol=1e-4, atol=1e-7)
    provenance = load_model(tmp_path / "last.safetensors").provenance["training"]
    assert provenance["rates"] == [[0, 0.001, 0.002], [1, 1e-4, 3e-4]] and provenance["settings"]["rate"] == 1e-4


def test_inputs_of_the_label_layer_learn_at_rates_of_their_own(tmp_path):
    """cuda-convnet has a matrix for each input; here the inputs are columns of one matrix."""
    data, net, reference = sets.data_set(8, 0), sets.net(dropout=0.0), sets.net(dropout=0.0)
    (_, joined), name = net.label.weight.shape, "label.weight"
    inputs = (InputRule(6, 0.01, 0.5, 1.0, "const", 0.1), InputRule(joined - 6, 0.002, 0.9, 0.0, "linear[tgtFactor=2]", 0.1))
    layers = {each.rpartition(".")[0] for each, _ in net.named_parameters()}
    rules = tuple((layer, LayerRule(rate=0.0, bias_rate=0.0, inputs=inputs if layer == "label" else ())) for layer in layers)
    train(net, data, Settings(epochs=2, batch=8, mean="spec", layer_rules=rules), tmp_path)
    moved = np.zeros(net.label.weight.shape)
    for step, linear in enumerate((1.0, 0.75)):
        slope, before = gradients(reference, data, step)[name], reference.label.weight.detach().double().numpy()
        moved[:, :6] = 0.5 * moved[:, :6] - 0.01 * slope[:, :6] - 0.01 * before[:, :6]
        moved[:, 6:] = 0.9 * moved[:, 6:] - linear * 0.002 * slope[:, 6:]
        reference.label.weight.data.copy_(torch.from_numpy(before + moved))
    np.testing.assert_allclose(net.label.weight.detach(), reference.label.weight.detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"warmup": 2.0}, "warmup must be shorter than the run of 2 epochs, got 2"),
        ({"clip": -1.0}, "clip must be finite and not negative"),
        ({"optimiser": "adam"}, "optimiser must be one of convnet, adamw"),
        ({"optimiser": "adamw", "momentum": 0.5}, "momentum must not be given for adamw"),
        ({"schedule": "cosine[tgtFactor=2]"}, "schedule: cosine takes no entries"),
        ({"patience": -1}, "patience must be an integer of at least 0"),
        ({"patience": 1, "evaluate_every": 0}, "patience must not be given without looks"),
        ({"patience": 1}, "patience must be at least 2 less than the run's 2 looks, .* got 1"),
        ({"class_weights": (2.0, 2.0)}, "class_weights must differ from one another, got 2 for all"),
    ],
)
def test_settings_that_make_no_sense_or_do_nothing_are_refused(settings, why):
    with pytest.raises(ValueError, match=why.replace("[", r"\[")):
        Settings(epochs=2, **settings)


@dataclass(frozen=True)
class Parted(DataSet):
    """A set with a validation split."""

    val: tuple = ()


def parted(train=48, test=8, val=16):
    data = sets.data_set(train, test)
    return Parted(data.labels, data.train, data.test, val=tuple(sets.example(20_000 + i) for i in range(val)))


def test_the_best_epoch_is_that_of_the_part_val_and_patience_ends_the_run(tmp_path):
    """With rates of zero no epoch is better than the first."""
    still = Settings(epochs=9, batch=16, rate=0.0, bias_rate=0.0, patience=3, best_by="loss")
    outcome = train(sets.net(), parted(), still, tmp_path / "still")
    assert len(outcome.history) == 4 and outcome.best["epoch"] == 1
    again = train(sets.net(), parted(), still, tmp_path / "still", resume=True)
    assert again == outcome  # the run has ended
    learning = Settings(epochs=5, batch=16, patience=3, best_by="loss", rate=0.003)
    outcome = train(sets.net(), parted(), learning, tmp_path / "learning")
    losses = [row["val_loss"] for row in outcome.history]
    assert outcome.best["val_loss"] == min(losses) != outcome.history[0]["val_loss"]
    assert [row["test_count"] for row in outcome.history] == [8] * len(losses) and outcome.best["val_count"] == 16
    with pytest.raises(ValueError, match="patience must not be given without photographs of the split val"):
        train(sets.net(), sets.data_set(8, 4), learning, tmp_path / "none")
    assert not (tmp_path / "none" / "checkpoint.safetensors").exists()


def test_an_auc_that_cannot_be_chooses_no_epoch(tmp_path):
    settings, data = Settings(epochs=9, batch=16, best_by="auc", patience=3), parted()
    alike = tuple(replace(example, label=1) for example in data.val)
    three = Parted((*sets.LABELS, "other"), data.train, data.test, val=data.val)
    net = build(replace(sets.net().spec, labels=three.labels), seed=1)
    for each, judged in ((sets.net(), replace(data, val=alike)), (net, three)):
        with pytest.raises(ValueError, match="best_by must not be auc where the photographs to judge by have none"):
            train(each, judged, settings, tmp_path / "none")


def test_adamw_counts_in_float32_whatever_the_programs_default_is(tmp_path):
    settings = Settings(epochs=1, batch=8, **ADAMW)
    torch.set_default_dtype(torch.float64)
    try:
        train(sets.net().float(), sets.data_set(8, 0), settings, tmp_path)
        train(sets.net().float(), sets.data_set(8, 0), replace(settings, epochs=2), tmp_path, resume=True)
    finally:
        torch.set_default_dtype(torch.float32)
    kept = load_checkpoint(tmp_path / "checkpoint.safetensors").tensors
    assert {(tensor.dtype, float(tensor)) for name, tensor in kept.items() if name.startswith("step.")} == {
        (torch.float32, 2.0)
    }


def test_a_square_that_overflows_ends_the_run(tmp_path):
    """Unnoticed, the weight would stay unchanged for ever and look healthy."""
    net = sets.net()
    net.label.weight.register_hook(lambda gradient: gradient * 1e25)
    with pytest.raises(DivergedError, match="what the update rule remembers must stay finite, got NaN or infinity at step 1"):
        train(net, sets.data_set(8, 0), Settings(epochs=1, batch=8, **ADAMW), tmp_path)
    assert not (tmp_path / "checkpoint.safetensors").exists()


def whole_net(seed=1):
    """Columns that see whole views, so that a photograph has two windows: plain and mirrored."""
    warp = replace(small.column("warp", dropout=0.0), plane=small.column("warp").window)
    return build(Network("whole", (warp, small.column("local", dropout=0.0)), sets.LABELS), seed=seed)


def test_frozen_layers_stay_and_what_they_make_is_computed_once(tmp_path, monkeypatch):
    settings = Settings(epochs=3, batch=16, flip=True, freeze=("columns.0.blocks.*", "columns.1.fc"))
    plain, net, before = whole_net(), whole_net(), whole_net().state_dict()
    monkeypatch.setattr("dcnn_fast.training.trainer.kept_features", _nothing_kept)
    train(plain, sets.data_set(32, 8), settings, tmp_path / "plain")
    monkeypatch.undo()
    train(net, sets.data_set(32, 8), settings, tmp_path / "run")
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, plain.state_dict()[name]), name
        still = name.startswith(("columns.0.blocks", "columns.1.fc"))
        assert torch.equal(tensor, before[name]) == still, name
    assert 40 <= len(_rows(tmp_path / "run" / "features.sqlite")) <= 2 * 32 + 8
    assert net.spec.columns[0].mean == whole_net().spec.columns[0].mean  # frozen blocks keep their mean


class _Nothing:
    def measured(self, told, best):
        pass

    saved = ended = finished = lambda self, told: None


def _nothing_kept(net, path, out):
    from contextlib import nullcontext  # noqa: PLC0415

    return nullcontext(_Nothing())


def _rows(path):
    with closing(sqlite3.connect(path)) as file:
        return file.execute("SELECT window, value FROM features ORDER BY window").fetchall()


def test_features_serve_other_runs_and_damaged_ones_are_computed_anew(tmp_path, monkeypatch):
    settings, kept = Settings(epochs=2, batch=16, freeze=("columns.0.blocks",), mean="spec"), tmp_path / "kept.sqlite"
    first, again = whole_net(), whole_net()
    train(first, sets.data_set(32, 0), settings, tmp_path / "a", features=kept)
    rows = _rows(kept)
    assert len(rows) == 32 and not (tmp_path / "a" / "features.sqlite").exists()
    with closing(sqlite3.connect(kept)) as file, file:
        file.execute("UPDATE features SET value = zeroblob(length(value)) WHERE window = ?", (rows[5][0],))
    computed = []
    still = type(again.columns[0]._still())
    features = still.features
    monkeypatch.setattr(still, "features", lambda self, windows: computed.append(len(windows)) or features(self, windows))
    train(again, sets.data_set(32, 0), settings, tmp_path / "b", features=kept)
    assert computed == [1] and _rows(kept) == rows
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in first.state_dict().items())
    other = whole_net(seed=2)  # other layers: none of the stored features are theirs
    train(other, sets.data_set(32, 0), settings, tmp_path / "c", features=kept)
    assert sum(computed) == 1 + 32 and len(_rows(kept)) == 64


def test_kept_features_follow_what_becomes_of_the_layers():
    """Changes of weights (also unseen by torch), mean and precision within one context."""
    net = whole_net().eval()
    net.columns[0].requires_grad_(False)
    windows = tuple(torch.randint(0, 256, (4, 3, each.window, each.window), dtype=torch.uint8) for each in net.inputs)
    weight = net.columns[0].blocks[0].weight

    def changes():
        yield lambda: None
        yield lambda: weight.mul_(-1)
        yield lambda: weight.data.add_(0.5)
        yield lambda: net.columns[0].set_mean((9.0, 99.0, 199.0))
        yield lambda: net.columns[0].compute_in("bf16")

    for change in changes():
        with torch.no_grad():
            with keeping_means(net):
                net(*windows)
                change()
                kept = net(*windows)
            assert torch.equal(kept, net(*windows))


def test_features_are_of_one_reduction_one_number_of_layers_and_one_precision(tmp_path):
    """One file holds the features of all; a float64 network's are read back unchanged."""
    kept, blocks = tmp_path / "kept.sqlite", small.column("warp").blocks
    flat = replace(small.column("warp", dropout=0.0), plane=small.column("warp").window)
    columns = {
        "flat": flat, "mean": replace(flat, reduce="mean"), "short": replace(flat, blocks=blocks[:1]), "double": flat,
        "again": flat,
    }  # fmt: skip
    counts, digests = [], set()
    for name, column in columns.items():
        net = build(Network("one", (column,), sets.LABELS), seed=1)
        net = net.double() if name == "double" else net
        freeze = ("columns.0.blocks.0",) if name == "short" else ("columns.0.blocks",)
        settings = Settings(epochs=1, batch=16, freeze=freeze, mean="spec")
        train(net, sets.data_set(16, 0), settings, tmp_path / name, features=kept)
        counts.append(len(_rows(kept)))
        net.columns[0].blocks.requires_grad_(False)
        digests.add(net.columns[0].features_digest())
    assert counts == [16, 32, 48, 64, 64] and len(digests) == 4
    with closing(sqlite3.connect(kept)) as file, file:  # undamaged rows of another form
        file.execute("DELETE FROM features")
        shown = net.columns[0].features_digest()
        window, value = b"w" * 16, b"v" * 8
        file.execute("INSERT INTO features VALUES (?, ?, '2', ?, ?)", (shown, window, value, _digest(window, "2", value)))
    assert read_features(kept, {shown: net.columns[0]}) == {shown: {}}


def test_a_file_that_is_none_of_features_is_left_alone_and_one_that_breaks_ends_nothing(tmp_path):
    settings = Settings(epochs=1, batch=16, freeze=("columns.0.blocks",))
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(ValueError, match="features must be a new file or one of features, got .*mine.txt"):
        train(whole_net(), sets.data_set(16, 0), settings, tmp_path / "a", features=tmp_path / "mine.txt")
    assert (tmp_path / "mine.txt").read_text() == "precious"
    with pytest.raises(ValueError, match="features must not be given but for layers next to the pixels of whole views"):
        train(sets.net(), sets.data_set(16, 0), Settings(epochs=1), tmp_path / "a", features=tmp_path / "f.sqlite")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["mine.txt"]
    told = []
    outcome = train(
        whole_net(), sets.data_set(16, 0), settings, tmp_path / "b", features=tmp_path / "no" / "f.sqlite", warn=told.append
    )  # fmt: skip
    assert list(outcome.unwritten) == ["f.sqlite"] and "could not be written" in told[0]


@pytest.mark.parametrize(
    ("freeze", "why"),
    [
        (("columns.2",), "freeze must name layers that learn, of columns.0.blocks.0, .*, label; got 'columns.2'"),
        (("column",), "freeze must name layers that learn"),
        (("columns", "label"), "freeze must leave a layer that learns, got all of them"),
        (("*",), "freeze must leave a layer that learns"),
    ],
)
def test_names_of_no_layer_and_of_all_are_refused(tmp_path, freeze, why):
    net = sets.net()
    with pytest.raises(ValueError, match=why):
        train(net, sets.data_set(8, 0), Settings(epochs=1, freeze=freeze), tmp_path / "run")
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_only_whole_views_of_frozen_blocks_are_kept():
    net = whole_net()
    assert keepers_of(net) == []
    net.columns[0].blocks[0].requires_grad_(False)
    net.columns[1].requires_grad_(False)  # its windows hardly ever repeat
    assert keepers_of(net) == [net.columns[0]]


def test_the_model_files_of_equal_runs_are_equal(tmp_path):
    for name in "ab":
        train(sets.net(), sets.data_set(24, 8), Settings(epochs=2, batch=8), tmp_path / name)
    for file in ("best.safetensors", "last.safetensors", "curves.png", "run.toml"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file
