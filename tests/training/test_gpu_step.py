"""A training step on the GPU's path, from photographs to updated weights, with all kernels as PTX in the simulator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dcnn_fast.data import Example
from dcnn_fast.nets import build
from dcnn_fast.ops import views
from dcnn_fast.ops.launch import CudaKernel
from dcnn_fast.ops.recording import Recorder
from dcnn_fast.training import ConvNetUpdate
from dcnn_fast.training.device_windows import DeviceWindows
from dcnn_fast.training.mini_batches import Draws, Request
from dcnn_fast.training.photographs import Pictures
from dcnn_fast.training.update_rule import groups_of
from dcnn_fast.training.window_cuts import cut_batch
from tests import small
from tests.ops.on_cpu import kernels_on_cpu

SIZES = [(40, 61), (33, 32), (36, 90), (50, 50)]
TARGETS = torch.tensor([0, 1, 1, 0])


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def _photos(sizes=SIZES):
    rng = np.random.default_rng(4)
    return [torch.from_numpy(rng.integers(0, 256, (*size, 3)).astype(np.uint8)) for size in sizes]


def _places(photos, inputs):
    """A random window of each photograph for each input, every other one flipped."""
    rng = np.random.default_rng(5)
    found = []
    for wanted in inputs:
        limits = [
            np.subtract(views.ViewParams(*photo.shape[:2], wanted.view, wanted.plane).shape, wanted.window) for photo in photos
        ]
        found.append([(i, *rng.integers(0, limit + 1).tolist(), i % 2 == 1) for i, limit in enumerate(limits)])
    return found


def _net(dtype=torch.float32):
    network = small.network()
    return build(replace(network, columns=tuple(replace(column, dropout=0.0) for column in network.columns)), seed=2).to(dtype)


def _step(net, windows):
    """Make one step; returns the gradients before the update, by name."""
    F.cross_entropy(net(*windows), TARGETS).backward()
    gradients = {name: parameter.grad.double() for name, parameter in net.named_parameters()}
    ConvNetUpdate(groups_of(net)).step()
    return gradients


@pytest.mark.parametrize("capability", [80, 90, 120])
def test_a_step_from_photographs_gives_the_references_gradients_and_weights(capability, monkeypatch):
    photos, ours, reference = _photos(), _net(), _net(torch.float64)
    places = _places(photos, ours.inputs)
    on_the_cpu = cut_batch(photos, ours.inputs, places)
    with kernels_on_cpu(capability) as launches:
        windows = cut_batch(photos, ours.inputs, places)
        gradients = _step(ours, windows)
    kernels = [what.kernel.name if isinstance(what.kernel, CudaKernel) else what.kernel.__name__ for what, _ in launches]
    assert kernels[:2] == ["views_planes_kernel"] * 2
    assert kernels[2:6] == ["block_fwd_tile_kernel"] * 4
    assert kernels[-1] == "update_kernel"
    assert kernels.count("update_kernel") == 1
    assert len(set(kernels[6:-1])) >= 3  # kernels of the fused backward
    for one, other in zip(windows, on_the_cpu, strict=True):
        assert torch.equal(one, other)

    monkeypatch.setenv("DCNN_FAST_BACKEND", "reference")
    before = {name: parameter.detach().clone() for name, parameter in reference.named_parameters()}
    expected = _step(reference, on_the_cpu)
    for name, gradient in gradients.items():
        assert (gradient - expected[name]).abs().max() <= 1e-4 * expected[name].abs().max(), name
    after = dict(reference.named_parameters())
    for name, parameter in ours.named_parameters():
        moved = parameter.detach().double() - before[name].float().double()
        torch.testing.assert_close(moved, after[name].detach() - before[name], rtol=1e-3, atol=1e-6)


def test_windows_are_pillows_in_every_view_with_flips_and_photographs_without_gaps_or_with():
    inputs = [replace(_net().inputs[0], view=view) for view in ("local", "warp", "center", "pad")]
    photos = [photo[:, 2:] for photo in _photos([(47, 66), (40, 42), (64, 34)])]  # rows with gaps
    places = _places(photos, inputs)
    with kernels_on_cpu():
        found = cut_batch(photos, inputs, places)
    for wanted, cuts, windows in zip(inputs, places, found, strict=True):
        assert windows.shape == (3, 3, wanted.window, wanted.window) and windows.dtype == torch.uint8
        assert windows.stride()[1:] == (1, 4 * wanted.window, 4)
        for (i, top, left, flip), window in zip(cuts, windows, strict=True):
            plane = views.plane(photos[i].numpy(), wanted.view, wanted.plane).pixels
            expected = plane[top : top + wanted.window, left : left + wanted.window]
            assert np.array_equal(window.permute(1, 2, 0).numpy(), expected[:, ::-1] if flip else expected), (wanted.view, i)


def test_what_the_loader_draws_is_cut_on_the_device_to_the_windows_that_the_cpu_cuts():
    inputs = _net().inputs
    examples = [Example(photo.numpy(), f"{i}", i % 2) for i, photo in enumerate(_photos())]
    request = Request(3, (2, 0, 3, 1))
    expected = Draws(Pictures(examples, inputs), seed=4, flip=True)[request].on(torch.device("cpu"), inputs)
    cases = Draws(Pictures(examples, inputs, decoded=True), seed=4, flip=True)[request]
    assert cases.windows is None
    assert {place[3] for where in cases.places for place in where} == {False, True}
    with kernels_on_cpu() as launches:
        found = cases.on(torch.device("cpu"), inputs)
    assert len(launches) == len(inputs)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("views", [("local", "warp", "center", "pad", "warp")], ids="-".join)
def test_launches_that_never_change_cut_the_bytes_of_those_that_are_planned(views):
    """Full mini-batches and a part-filled one, with different photographs and places, flipped and not."""
    inputs = [replace(_net().inputs[0], view=view) for view in views]
    examples = [Example(photo.numpy(), f"{i}", i % 2) for i, photo in enumerate(_photos([*SIZES, (300, 41), (40, 57)]))]
    draws = Draws(Pictures(examples, inputs, decoded=True), seed=4, flip=True)
    windows = DeviceWindows(inputs, 3, torch.device("cpu"), Recorder(None))
    for epoch, numbers in enumerate([(0, 1, 2), (4, 3, 5), (2, 5)]):
        cases = draws[Request(epoch, numbers)]
        with kernels_on_cpu() as launches:
            found = windows.of(cases)
            assert sum(what.kernel.name == "views_windows_kernel" for what, _ in launches) == len(views)
            planned = cases.on(torch.device("cpu"), inputs)
        assert all(torch.equal(one, other) for one, other in zip(found, planned, strict=True)), epoch


def test_a_mini_batch_with_a_photograph_that_is_enlarged_is_cut_by_planned_launches():
    inputs = _net().inputs
    examples = [Example(photo.numpy(), f"{i}", i % 2) for i, photo in enumerate(_photos([(40, 50), (20, 64)]))]
    cases = Draws(Pictures(examples, inputs, decoded=True), seed=4)[Request(0, (0, 1))]
    with kernels_on_cpu() as launches:
        found = DeviceWindows(inputs, 2, torch.device("cpu"), Recorder(None)).of(cases)
    assert [what.kernel.name for what, _ in launches] == ["views_planes_kernel"] * len(inputs)
    assert [each.shape[0] for each in found] == [2] * len(inputs)


def test_a_list_of_places_too_few_and_a_place_outside_are_named():
    photos, inputs = _photos(), _net().inputs
    with pytest.raises(ValueError, match="places must be one list for each of 2 inputs, got 1"):
        cut_batch(photos, inputs, _places(photos, inputs)[:1])
    with pytest.raises(ValueError, match="places must be offsets from 0 to .* in photograph 1"):
        cut_batch(photos, inputs, [[(1, 99, 0, False)], []])
