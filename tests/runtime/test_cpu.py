"""The cpu's executor: its probabilities are those of the layers one by one, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dcnn_fast import engine, ops
from dcnn_fast.runtime import column_maps, executor_of, with_bf16_layers
from dcnn_fast.scoring.prepare import prepare
from tests import small

PHOTOS = [np.random.default_rng(i).integers(0, 256, (40 + 9 * i, 50, 3)).astype(np.uint8) for i in range(3)]


def one_by_one(net, jobs, precision):
    """Probabilities [samples, labels] from `ops.linear` for every layer and a softmax in float64."""
    joined = []
    for column, job in zip(net.columns, jobs, strict=True):
        x = column_maps(column, job, precision)
        for layer in column.fc:
            x = ops.linear(x, layer.weight, layer.bias, relu=True)
        joined.append(x.numpy()[job.plan.window_of])
    logits = ops.linear(torch.from_numpy(np.concatenate(joined, axis=1)), net.label.weight, net.label.bias).numpy()
    powers = np.exp(logits.astype(np.float64) - logits.astype(np.float64).max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("backend", ["cpu", "reference"] if engine.isas() else ["reference"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("options", [{}, {"reduce": "mean"}, {"views": ("warp", "warp", "pad"), "labels": tuple("abcde")}])
def test_probabilities_are_those_of_the_layers_one_by_one(options, dtype, backend, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", backend)
    model = small.model(**options)
    executor = executor_of(model.net, "cpu", dtype)
    jobs = [prepare(photo, model.spec, samples=6, grid=1, seed=0, intake=executor.intake).jobs for photo in PHOTOS]
    found = executor.head([executor.blocks(each) for each in jobs])
    net = with_bf16_layers(model.net) if dtype == torch.bfloat16 else model.net
    with torch.no_grad():
        expected = [one_by_one(net, each, executor.intake.precision) for each in jobs]
    for probs, stated in zip(found, expected, strict=True):
        np.testing.assert_allclose(probs, stated, rtol=2e-15, atol=0)  # the engine has its own exponential, in float64


def test_rounded_layers_are_a_copy_of_the_fully_connected_weights_alone():
    net = small.model().net
    halved = with_bf16_layers(net)
    for column, before in zip(halved.columns, net.columns, strict=True):
        assert all(torch.equal(layer.weight, old.weight.bfloat16()) for layer, old in zip(column.fc, before.fc, strict=True))
        assert all(torch.equal(block.weight, old.weight) for block, old in zip(column.blocks, before.blocks, strict=True))
    assert torch.equal(halved.label.weight, net.label.weight)
    assert halved.label.weight.data_ptr() != net.label.weight.data_ptr()
