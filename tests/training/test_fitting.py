"""The training loop: it learns, repeats bit for bit, keeps frozen columns unchanged, and stops when it diverges."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from dcnn_fast import networks
from dcnn_fast.nets import build
from dcnn_fast.training import Batch, fit
from tests import small


def epochs(count, batches=6, size=16):
    """Light and dark windows for both columns, and their labels."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        made = []
        for _ in range(batches):
            light = torch.randint(0, 2, (size,), generator=generator)
            windows = torch.randint(0, 128, (size, 3, 24, 24), generator=generator) + 100 * light[:, None, None, None]
            made.append(Batch((windows.byte(), windows.byte()), (light,)))
        yield made


def cross_entropy(net):
    return lambda batch: F.cross_entropy(net(*batch.windows), batch.targets[0])


def trained(count):
    torch.manual_seed(1)
    torch.set_num_threads(1)
    net, means = build(small.network(), seed=0), []
    fit(net, epochs(count), cross_entropy(net), steps=6 * count, report=lambda epoch, mean: means.append((epoch, mean)))
    return net, means


def test_it_learns_what_can_be_learnt():
    net, means = trained(8)
    assert [epoch for epoch, _ in means] == list(range(8))
    assert means[-1][1] < 0.2 * means[0][1]
    assert not net.training
    (batch,) = next(epochs(1, batches=1, size=64))
    assert (net(*batch.windows).argmax(dim=1) == batch.targets[0]).float().mean() > 0.95


def test_the_same_seed_gives_the_same_weights():
    one, same = (trained(1)[0].state_dict() for _ in range(2))
    assert all(torch.equal(one[name], same[name]) for name in one)


@pytest.mark.needs_engine
def test_it_trains_on_the_engine_alone(monkeypatch):
    """The forced engine refuses any unsupported operation."""
    monkeypatch.setenv("DCNN_FAST_BACKEND", "cpu")
    _, means = trained(2)
    assert means[1][1] < means[0][1]


@pytest.mark.needs_engine
def test_the_number_of_threads_does_not_change_a_blocks_gradients():
    block = build(small.network(), seed=0).columns[0].blocks[0]
    x = torch.rand(20, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        block.zero_grad()
        block(x).square().sum().backward()
        found.append(block.weight.grad.clone())
    assert torch.equal(*found)


def test_the_rate_rises_and_ends_at_nothing():
    """With a constant gradient of one, AdamW without decay moves a weight by the rate at every step."""
    weight = torch.nn.Linear(1, 1, bias=False)
    places = []

    def loss(batch):
        places.append(weight.weight.item())
        return weight(torch.ones(1, 1)).sum()

    fit(weight, [[Batch((), ())] * 40], loss, steps=40, rate=0.1, decay=0.0)
    rates = [(a - b) / 0.1 for a, b in zip(places, [*places[1:], weight.weight.item()], strict=True)]
    assert rates[:3] == pytest.approx([0.5, 1.0, 1.0], abs=1e-3)
    assert all(later < earlier for earlier, later in pairwise(rates[2:]))
    assert 0 <= rates[-1] < 0.01


def test_a_frozen_column_stays_as_it_was():
    net = build(networks.Network("n", (small.column("warp"), small.column("local", frozen=True))), seed=0)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    fit(net, epochs(1), cross_entropy(net), steps=6)
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name]) == name.startswith("columns.1."), name


def test_a_loss_that_is_not_finite_ends_it_with_the_step():
    net = build(small.network(), seed=0)
    calls = []

    def diverging(batch):
        calls.append(None)
        return cross_entropy(net)(batch) * (float("nan") if len(calls) == 3 else 1)

    with pytest.raises(ValueError, match="the loss must stay finite, got nan at step 2"):
        fit(net, epochs(1), diverging, steps=6)
    assert all(torch.isfinite(parameter).all() for parameter in net.parameters())
