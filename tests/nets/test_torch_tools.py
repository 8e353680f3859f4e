"""Whole networks under torch's own tools (docs/training.md); tests/ops/block/test_autograd.py has the block's behaviour."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call, grad, vmap
from torch.utils.checkpoint import checkpoint

from tests import warm
from tests.nets.run_data_parallel import PROCESSES, WAYS, batch, gradients, network

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["reference", pytest.param("cpu", marks=pytest.mark.needs_engine)], autouse=True)
def _backend(request, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", request.param)
    torch.set_num_threads(1)


def test_two_processes_of_data_parallel_have_the_gradients_of_one(tmp_path):
    program = "import runpy; runpy.run_module('tests.nets.run_data_parallel', run_name='__main__')"
    processes = [
        subprocess.Popen(
            [warm.python(), "-c", program, str(rank), str(tmp_path)], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        for rank in range(PROCESSES)
    ]  # fmt: skip
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    each = [torch.load(tmp_path / str(rank)) for rank in range(PROCESSES)]
    assert each[0].keys() == {(way, autocast) for way in WAYS for autocast in (False, True)}
    for (way, autocast), found in each[0].items():
        net = network()
        unused = way == "unused"
        alone = gradients(net, list(net.named_parameters()), *batch(), autocast=autocast, unused=unused)
        assert ("attribute.weight" in alone) != unused
        for name, gradient in alone.items():
            assert found[name].dtype == torch.float32
            assert torch.equal(found[name], each[1][way, autocast][name]), (way, name)
            largest = float(gradient.abs().max())
            assert largest > 0
            tolerance = 2.0**-7 if autocast else 1e-5  # each layer's gradient is rounded to bfloat16 before averaging
            assert float((found[name] - gradient).abs().max()) <= tolerance * largest, (way, autocast, name)


def test_a_loop_under_autocast_learns_as_one_without():
    """Eight steps; the blocks compute in float32, torch's fully-connected layers in bfloat16."""
    windows, targets = batch()
    losses = {}
    for autocast in (False, True):
        net = network()
        optimizer = torch.optim.SGD(net.parameters(), 0.001, momentum=0.5)
        scaler = torch.amp.GradScaler("cpu", enabled=autocast)
        history = []
        for _ in range(8):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                logits, attributes = net(*windows)
                loss = F.cross_entropy(logits, targets) + attributes.square().mean()
            scaler.scale(loss).backward()
            assert {parameter.grad.dtype for parameter in net.parameters()} == {torch.float32}
            scaler.step(optimizer)
            scaler.update()
            history.append(float(loss.detach()))
        losses[autocast] = history
    assert losses[False][-1] < 0.7 * losses[False][0]
    torch.testing.assert_close(losses[True], losses[False], rtol=0.05, atol=0.02)


def test_columns_in_half_precision_run_under_autocast():
    windows, _ = batch()
    net = network().eval()
    for column in net.columns:
        column.compute_in("bf16")
    with torch.no_grad():
        expected, _ = net(*windows)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found, _ = net(*windows)
    torch.testing.assert_close(found.float(), expected, rtol=0.02, atol=0.02)


def test_gradients_of_every_sample_by_transforms():
    windows, targets = batch()
    net = network()
    parameters = {name: parameter.detach() for name, parameter in net.named_parameters()}

    def loss(parameters, first, second, target):
        logits, _ = functional_call(net, parameters, (first[None], second[None]))
        return F.cross_entropy(logits, target[None])

    found = vmap(grad(loss), in_dims=(None, 0, 0, 0))(parameters, *windows, targets)
    for i in range(2):
        net.zero_grad()
        F.cross_entropy(net(*(each[i : i + 1] for each in windows))[0], targets[i : i + 1]).backward()
        for name, parameter in net.named_parameters():
            if not name.startswith("attribute"):
                torch.testing.assert_close(found[name][i], parameter.grad, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointed_columns_have_the_same_gradients(use_reentrant):
    windows, targets = batch()
    found = []
    for kept in (True, False):
        net = network()
        first, second = net.columns
        entering = [window.float().requires_grad_() for window in windows]  # a reentrant checkpoint needs this
        features = [
            column(x) if kept else checkpoint(column, x, use_reentrant=use_reentrant)
            for column, x in zip((first, second), entering, strict=True)
        ]
        F.cross_entropy(net.label(torch.cat(features, dim=1)), targets).backward()
        found.append({name: parameter.grad for name, parameter in net.named_parameters() if parameter.grad is not None})
    assert found[0].keys() == found[1].keys() and len(found[0]) > 8
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-4, atol=1e-5, msg=name)  # no graph: other last bits


def _saved(net):
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net)), _saved])
def test_copies_are_networks_of_their_own(copied):
    windows, targets = batch()
    net = network()
    other = copied(net)
    expected = gradients(net, list(net.named_parameters()), windows, targets, autocast=False, unused=False)
    found = gradients(other, list(other.named_parameters()), windows, targets, autocast=False, unused=False)
    for name, gradient in expected.items():
        assert torch.equal(found[name], gradient), name
    with torch.no_grad():
        other.columns[0].blocks[0].weight.zero_()
    assert net.columns[0].blocks[0].weight.abs().max() > 0
