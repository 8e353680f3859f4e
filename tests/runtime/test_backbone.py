"""Networks with EfficientNet-Lite's layers, scored: the module's numbers for any batch, threads and processor."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from dcnn_fast import engine
from dcnn_fast.nets import Model, WeightsError, build, network_with
from dcnn_fast.networks import Network
from dcnn_fast.runtime import PlaneJob, column_maps, executor_of
from dcnn_fast.runtime.gpu import GpuNetwork
from dcnn_fast.scoring import Scorer
from dcnn_fast.scoring.prepare import prepare
from tests import small_lite
from tests.small_lite import LITE, LOCAL

PHOTOS = [np.random.default_rng(i).integers(0, 256, (50 + 9 * i, 60, 3)).astype(np.uint8) for i in range(4)]
WHOLE = replace(LITE, plane=33)


def _means(model, photo, precision="ieee"):
    (job,) = prepare(photo, model.spec, samples=7, grid=1, seed=0).jobs
    return job, column_maps(model.net.columns[0], job, precision)


@pytest.mark.parametrize("backend", ["cpu", "reference"] if engine.isas() else ["reference"])
@pytest.mark.parametrize("column", [LITE, LOCAL, WHOLE], ids=["warp", "local", "whole"])
def test_a_score_is_the_modules_over_the_same_windows(column, backend, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", backend)
    model = small_lite.model(column)
    (job,) = prepare(PHOTOS[0], model.spec, samples=7, grid=1, seed=0).jobs
    assert isinstance(job, PlaneJob)
    side = column.window
    windows = torch.from_numpy(np.stack([job.plane[top : top + side, left : left + side] for top, left in job.windows]))
    with torch.no_grad():
        expected = model.net(windows.permute(0, 3, 1, 2)).double().softmax(dim=1)[:, 1]
    found = Scorer(model, samples=7).score(PHOTOS[0])
    assert found.mean == pytest.approx(expected.mean().item(), abs=1e-6)
    assert found.std == pytest.approx(expected.std(correction=0).item(), abs=1e-6)
    assert found.plan == "brute-force" and 0.01 < found.mean < 0.99
    assert (found.std < 1e-15) == (column is WHOLE)  # the mean of equal numbers may be rounded


def test_equal_windows_are_computed_once():
    model = small_lite.model(WHOLE)
    job, means = _means(model, PHOTOS[0])
    assert len(job.windows) == 7 and means.shape == (1, WHOLE.features)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_score_is_the_same_alone_in_any_batch_and_on_any_threads(dtype):
    model = small_lite.model()
    alone = [Scorer(model, samples=5, dtype=dtype).score(photo) for photo in PHOTOS]
    assert len({score.mean for score in alone}) == len(PHOTOS) and not any(score.error for score in alone)
    scorer = Scorer(model, samples=5, dtype=dtype)
    for batch, workers in ((1, 2), (4, 1), (3, 4)):
        assert list(scorer.score_many(PHOTOS, batch=batch, workers=workers)) == alone
    for copied in (copy.deepcopy(scorer), pickle.loads(pickle.dumps(scorer))):
        assert [copied.score(photo) for photo in PHOTOS] == alone
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(scorer.score, PHOTOS)) == alone


@pytest.mark.parametrize("isa", engine.isas())
def test_every_instruction_set_gives_the_same_score_but_for_rounding(isa, monkeypatch):
    model = small_lite.model()
    before = Scorer(model, samples=3).score(PHOTOS[1])
    monkeypatch.setenv(engine.ISA_VARIABLE, isa)
    assert engine.isa() == isa
    found = Scorer(model, samples=3).score(PHOTOS[1])
    assert found.mean == pytest.approx(before.mean, abs=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("counted", [True, False])
def test_changed_layers_count_from_the_next_score_on(counted, dtype):
    model = small_lite.model(LITE)
    scorer = Scorer(model, samples=3, dtype=dtype)
    before = scorer.score(PHOTOS[0])
    layers = model.net.columns[0].backbone
    if counted:
        layers.mul_(0.5)
    else:
        layers.numpy()[:] *= 0.5
    after = scorer.score(PHOTOS[0])
    state = {name: value.clone() for name, value in model.net.state_dict().items()}
    assert after != before and after == Scorer(Model(network_with(model.spec, state).eval()), samples=3, dtype=dtype).score(
        PHOTOS[0]
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_layers_that_change_while_a_picture_is_scored_are_refused(dtype):
    model = small_lite.model(LITE)
    executor = executor_of(model.net, "cpu", dtype)
    maps = executor.blocks(prepare(PHOTOS[0], model.spec, samples=3, grid=1, seed=0, intake=executor.intake).jobs)
    assert executor.current(maps)
    model.net.columns[0].backbone.mul_(0.5)
    if dtype == torch.bfloat16:  # the next picture's blocks renew the bfloat16 copy
        executor.blocks(prepare(PHOTOS[1], model.spec, samples=3, grid=1, seed=0, intake=executor.intake).jobs)
    with pytest.raises(WeightsError, match="changed while a picture was being scored"):
        executor.head([maps])


def test_what_cannot_be_scored_is_refused_by_name():
    with pytest.raises(WeightsError, match="lite0's layers have no weights yet"):
        Scorer(Model(build(Network("empty", (LITE,))).eval())).score(PHOTOS[0])
    half = small_lite.model(LITE)
    half.net.half()
    with pytest.raises(WeightsError, match="float32 on the cpu"):
        Scorer(half).score(PHOTOS[0])
    with pytest.raises(WeightsError, match="lite0's layers have no weights yet"):
        GpuNetwork(build(Network("empty", (LITE,))).eval(), torch.device("cpu"), torch.float32)
