"""One training step of Arch 1 on a small input, every kernel of its blocks and of the update run as PTX in the simulator."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from dcnn_fast import networks
from dcnn_fast.nets import Column
from dcnn_fast.training import ConvNetUpdate
from dcnn_fast.training.update_rule import groups_of
from tests.ops.on_cpu import kernels_on_cpu

pytestmark = pytest.mark.gpu

WINDOW, BATCH = 31, 2


def _column(dtype):
    """Arch 1 with its own blocks, small windows and small fully-connected layers."""
    column = networks.preset("scnn-arch1").columns[0]
    net = Column(replace(column, window=WINDOW, plane=WINDOW + 1, fc=(8, 4), dropout=0.0)).to(dtype)
    net.initialise(torch.Generator().manual_seed(0))
    return net


def _gradients(net, windows, targets):
    loss = F.cross_entropy(net(windows)[:, :2], targets)
    loss.backward()
    return {name: parameter.grad.double() for name, parameter in net.named_parameters()}


@pytest.mark.parametrize("capability", [80, 90, 120])
def test_a_step_gives_the_references_gradients_and_parameters(capability, monkeypatch):
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(1)
    windows = torch.randint(0, 256, (BATCH, 3, WINDOW, WINDOW), dtype=torch.uint8, generator=generator)
    targets = torch.tensor([0, 1])
    nets = {}
    for backend, dtype in (("triton", torch.float32), ("reference", torch.float64)):
        monkeypatch.setenv("DCNN_FAST_BACKEND", backend)
        net = _column(dtype)
        with kernels_on_cpu(capability if backend == "triton" else 80) as launches:
            gradients = _gradients(net, windows, targets)
            ConvNetUpdate(groups_of(net)).step()
            ran = {what.kernel.__name__ for what, _ in launches}
        nets[backend] = (net, gradients, ran)
    (ours, gradients, ran), (reference, expected, none) = nets["triton"], nets["reference"]
    assert not none
    assert {"block_fwd_tile_kernel", "update_kernel"} < ran and len(ran) >= 5
    for name, gradient in gradients.items():
        error = (gradient - expected[name]).abs().max() / expected[name].abs().max()
        assert error < 1e-4, name
    before = dict(_column(torch.float64).named_parameters())
    for name, parameter in ours.named_parameters():
        moved = dict(reference.named_parameters())[name] - before[name]
        torch.testing.assert_close(parameter.double() - before[name].float().double(), moved, rtol=1e-3, atol=1e-6)
