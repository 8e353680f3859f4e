"""The interface of every executor: the cpu's, and the GPU's with its kernels in the PTX simulator."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from dcnn_fast import WeightsError
from dcnn_fast.nets import build
from dcnn_fast.runtime import Executor, Intake, PhotoJob, PlaneJob, executor_of
from dcnn_fast.scoring import devices
from dcnn_fast.scoring.prepare import prepare
from tests import small
from tests.ops.on_cpu import kernels_on_cpu

PHOTOS = [np.random.default_rng(i).integers(0, 256, (40 + 3 * i, 50, 3)).astype(np.uint8) for i in range(3)]
WAYS = [("cpu", torch.float32), ("cpu", torch.bfloat16), ("cuda", torch.float32), ("cuda", torch.float16)]


@pytest.fixture(params=WAYS, ids=str)
def way(request):
    """The device and dtype of an executor, in a context in which it can be made and run."""
    with kernels_on_cpu() if request.param[0] == "cuda" else nullcontext():
        yield request.param


def jobs_of(executor, photo, samples=5):
    return prepare(photo, small.network(), samples=samples, grid=1, seed=0, intake=executor.intake).jobs


def test_it_takes_its_jobs_and_gives_each_images_probabilities_whatever_the_batch(way):
    executor = executor_of(small.model().net, *way)
    assert isinstance(executor, Executor)
    jobs = [jobs_of(executor, photo, samples) for photo, samples in zip(PHOTOS, (5, 2, 7), strict=True)]
    assert {type(job) for each in jobs for job in each} == {PhotoJob if executor.intake.makes_views else PlaneJob}
    images = [executor.blocks(each) for each in jobs]
    together = executor.head(images)
    assert [each.shape for each in together] == [(5, 2), (2, 2), (7, 2)]
    for maps, probs, photo in zip(images, together, PHOTOS, strict=True):
        assert executor.current(maps)
        assert maps.samples == len(probs)
        assert maps.bytes == sum(column.nbytes for column in maps.columns) + maps.pixels
        assert maps.pixels >= photo.nbytes if way[0] == "cuda" else maps.pixels == 0
        assert probs.dtype == np.float64
        np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-6)
        assert np.array_equal(executor.head([maps])[0], probs)
    assert executor.head([]) == []


def test_changed_weights_are_told_and_refused(way):
    net = small.model().net
    executor = executor_of(net, *way)
    maps = executor.blocks(jobs_of(executor, PHOTOS[0]))
    with torch.no_grad():
        net.columns[0].fc[0].weight.add_(1)
    if way == ("cpu", torch.bfloat16):  # the head uses the copy that made the maps until the next image begins
        assert executor.current(maps)
        executor.blocks(jobs_of(executor, PHOTOS[1]))
    assert not executor.current(maps)
    with pytest.raises(WeightsError, match="changed"):
        executor.head([maps])


def test_what_it_does_not_take_is_refused_by_name(way):
    executor = executor_of(small.model().net, *way)
    wrong = Intake(executor.intake.backend, executor.intake.precision, not executor.intake.makes_views)
    jobs = prepare(PHOTOS[0], small.network(), samples=3, grid=1, seed=0, intake=wrong).jobs
    needed, given = ("PhotoJob", "PlaneJob") if way[0] == "cuda" else ("PlaneJob", "PhotoJob")
    with pytest.raises(TypeError, match=f"jobs must each be a {needed} here, got {given}"):
        executor.blocks(jobs)
    with kernels_on_cpu():
        other = executor_of(small.model().net, "cpu" if way[0] == "cuda" else "cuda")
        maps = other.blocks(jobs_of(other, PHOTOS[0]))
    for ask in (executor.current, lambda maps: executor.head([maps])):
        with pytest.raises(TypeError, match="must each be a"):
            ask(maps)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tpu",), "device must be cpu, cuda or cuda:N, got 'tpu'"),
        (("cpu", torch.float16), "dtype must be one of torch.float32, torch.bfloat16 on cpu; got torch.float16"),
        (("cuda", torch.float64), "torch.float16 on cuda; got torch.float64"),
    ],
)
def test_what_no_executor_does_is_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        executor_of(small.model().net, *arguments)


def test_auto_never_drops_tf32(monkeypatch):
    """Without a checked GPU that runs the network, the cpu refuses tf32 by name."""
    monkeypatch.setattr(devices, "checked_gpu", lambda: False)
    with pytest.raises(ValueError, match="tf32 must be asked of float32 on cuda"):
        devices.executor_on("auto", build(small.network(), seed=1).eval(), torch.float32, graphs=True, tf32=True)
