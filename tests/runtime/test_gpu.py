"""Scores on the GPU's path, with all kernels in the PTX simulator, against the CPU's."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dcnn_fast import Scorer
from dcnn_fast.nets import Model, build
from dcnn_fast.networks import Block, CrossMapNorm, Network, Pool, compact, preset
from dcnn_fast.ops import launch
from dcnn_fast.ops.launch import launched_by
from dcnn_fast.plan import brute_force
from dcnn_fast.runtime import verdict
from dcnn_fast.runtime.device_columns import last_channels
from dcnn_fast.scoring import prepare
from tests import small, small_lite
from tests.ops.on_cpu import kernels_on_cpu
from tests.runtime.test_graph import GRAPH
from tests.scoring.test_scorer import PHOTOS, numbers

pytestmark = pytest.mark.gpu

# A sum of n products errs by about eps * sqrt(n); logits of the small model sum some hundred products.
TOLERANCES = {"float32": 1e-5, "bfloat16": 3e-2, "float16": 4e-3}


ENDLESS = """
import itertools, signal, threading
import torch
from dcnn_fast import Scorer
from tests import small
from tests.scoring.test_scorer import PHOTOS
from devtools.simulated import simulated

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell may have had ignored
torch.set_num_threads(1)
with simulated(80):
    scorer = Scorer(small.model(), "cuda", samples=3, dtype="float16")
    first = scorer.score(PHOTOS[1]).mean
    scores = scorer.score_many(itertools.cycle(PHOTOS[:3]), batch=2, workers=2)
    try:
        for score in scores:
            print("scored", flush=True)
            while True:
                next(scores)
    except KeyboardInterrupt:
        scores.close()
        left = sum(thread.name.startswith("dcnn-fast") for thread in threading.enumerate())
        same = scorer.score(PHOTOS[1]).mean == first
        print(f"interrupted, {left} threads left, {'the same' if same else 'another'} score")
"""


@pytest.fixture
def simulated_gpu():
    with kernels_on_cpu() as launches:
        yield launches


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(("reduce", "layers"), [("flatten", 1), ("mean", 2)])
def test_a_score_is_that_of_the_cpu_within_the_types_rounding(reduce, layers, dtype):
    theirs = Scorer(small.model(reduce=reduce), "cpu", samples=5).score(PHOTOS[1])
    with kernels_on_cpu() as launches:
        ours = Scorer(small.model(reduce=reduce), "cuda", samples=5, dtype=dtype).score(PHOTOS[1])
    # Each column: two blocks, and two launches for each layer, of which a mean adds one; two for views and two for the head.
    assert len(launches) == 2 * (2 + 2 * layers) + 2 + 2
    assert ours.mean == pytest.approx(theirs.mean, abs=TOLERANCES[dtype])
    assert ours.std == pytest.approx(theirs.std, abs=TOLERANCES[dtype])
    assert (ours.samples_count, ours.seed) == (theirs.samples_count, theirs.seed)


def test_averages_and_a_relu_that_comes_last_score_as_on_the_cpu():
    blocks = (
        Block(8, 5, stride=2, pool=Pool(3, 2, "avg"), norm=CrossMapNorm(), order="conv-pool-norm-relu"),
        Block(12, 3, padding=1, pool=Pool(3, 2, "avg")),
    )
    network = Network("late", (replace(small.column("warp"), blocks=blocks),), ("low", "high"))
    model = Model(build(network, seed=1).eval(), {})
    theirs = Scorer(model, "cpu", samples=3).score(PHOTOS[1])
    with kernels_on_cpu():
        ours = Scorer(model, "cuda", samples=3, dtype="float16").score(PHOTOS[1])
    assert ours.mean == pytest.approx(theirs.mean, abs=TOLERANCES["float16"])


def test_the_papers_dcnn_scores_a_photograph_as_on_the_cpu():
    """With 64 units per 1,000: at full size the weights, packed for both devices, take 2 GB."""
    model = Model(build(compact(preset("dcnn"), fc=(64, 16)), seed=1).eval(), {})
    photo = np.random.default_rng(0).integers(0, 256, (260, 300, 3)).astype(np.uint8)
    theirs = Scorer(model, "cpu", samples=2).score(photo)
    with kernels_on_cpu() as launches:
        ours = Scorer(model, "cuda", samples=2, dtype="float16").score(photo)
    assert ours.mean == pytest.approx(theirs.mean, abs=TOLERANCES["float16"])
    assert len(launches) == 2 * (4 + 2) + 2 + 2


def test_the_same_score_bit_for_bit_alone_in_any_batch_and_by_several_workers(simulated_gpu):
    scorer = Scorer(small.model(), "cuda", samples=3, dtype="float16")
    photos = PHOTOS[:4]
    expected = [numbers(scorer.score(photo)) for photo in photos]
    for batch, workers in ((3, 1), (4, 2)):
        assert [numbers(score) for score in scorer.score_many(photos[::-1], batch=batch, workers=workers)][::-1] == expected
    launches = len(simulated_gpu)
    assert launches
    bad = list(scorer.score_many([b"no picture", photos[0]], batch=2))
    assert bad[0].error and numbers(bad[1]) == expected[0]


@pytest.mark.needs_engine
def test_sharing_gives_the_bits_of_brute_force(simulated_gpu, monkeypatch):
    scorer = Scorer(small.model(), "cuda", samples=6, dtype="float16", grid=4)
    photo = np.random.default_rng(5).integers(0, 256, (34, 40, 3)).astype(np.uint8)
    shared = scorer.score(photo)
    assert "sharing" in shared.plan
    monkeypatch.setattr(prepare, "share", lambda column, windows, *_: brute_force(column, windows))
    assert numbers(scorer.score(photo)) == numbers(shared)


def test_replayed_launches_give_the_same_scores(simulated_gpu):
    photos = [np.random.default_rng(seed).integers(0, 256, (36 + seed, 41, 3)).astype(np.uint8) for seed in range(3)]
    expected = [
        numbers(Scorer(small.model(), "cuda", samples=3, dtype="float16", graphs=False).score(photo)) for photo in photos
    ]
    scorer = Scorer(small.model(), "cuda", samples=3, dtype="float16")
    seen = []
    for _ in range(2):
        before = len(simulated_gpu)
        assert [numbers(scorer.score(photo)) for photo in photos] == expected
        seen.append({id(what.args) for what, _ in simulated_gpu[before:]})
    assert len(seen[0] & seen[1]) >= 4  # both blocks of both columns are launched unchanged, as in a graph's replay


def test_an_interrupt_ends_the_work_at_once_and_leaves_no_thread(tmp_path):
    script = tmp_path / "endless.py"
    script.write_text(ENDLESS)
    command = [sys.executable, str(script)]
    root = Path(__file__).parents[2]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    with subprocess.Popen(command, cwd=root, env=environment, **pipes) as process:
        assert process.stdout.readline() == "scored\n"
        process.send_signal(signal.SIGINT)
        try:
            out, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    assert out == "interrupted, 0 threads left, the same score\n"


def test_features_enter_a_layer_in_the_order_in_which_the_last_block_leaves_them():
    maps = torch.randn(2, 3, 4, 5)
    weight = torch.randn(7, 60)
    expected = maps.flatten(1) @ weight.T
    torch.testing.assert_close(maps.permute(0, 2, 3, 1).flatten(1) @ last_channels(weight, 3).T, expected)


def test_one_pixel_no_image_and_weights_that_are_not_finite(simulated_gpu):
    model = small.model()
    scorer = Scorer(model, "cuda", samples=2, dtype="float16")
    one = scorer.score(np.zeros((1, 1, 3), np.uint8))
    assert one.error is None and 0 < one.mean < 1 and "enlarged from 1 x 1" in one.notes[0]
    assert list(scorer.score_many([])) == []
    with torch.no_grad():
        model.net.columns[0].blocks[0].weight[0, 0, 0, 0] = torch.nan
    broken = Scorer(model, "cuda", samples=2, dtype="float16").score(PHOTOS[0])
    assert broken.error == "the model gives numbers that are not finite for this image"


def test_without_a_gpu_the_device_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device must be one that is there: no CUDA device was found"):
        Scorer(small.model(), "cuda")
    with pytest.raises(RuntimeError, match="no CUDA device"):
        launch.gpu()
    assert Scorer(small.model(), "auto").device == "cpu"


def test_a_gpu_whose_kernels_cannot_be_launched_is_refused_when_the_scorer_is_made(monkeypatch):
    monkeypatch.setattr(launch, "gpu", lambda index: torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(launch, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="device must be one that views can be made on: CuPy is not installed"):
        Scorer(small.model(), "cuda")
    with kernels_on_cpu(75), pytest.raises(ValueError, match="views can be made on: the kernel needs compute capability 8.0"):
        Scorer(small.model(), "cuda")


def test_a_gpu_is_chosen_by_its_number(simulated_gpu):
    expected = numbers(Scorer(small.model(), "cuda", samples=2).score(PHOTOS[1]))
    first = Scorer(small.model(), "cuda:0", samples=2)
    assert first.device == "cuda:0" and numbers(first.score(PHOTOS[1])) == expected
    assert pickle.loads(pickle.dumps(first)).device == "cuda:0"
    with pytest.raises(ValueError, match="device must be one that is there: no CUDA device 1 was found, of 1 that there are"):
        Scorer(small.model(), "cuda:1")


def test_a_batch_is_as_large_as_a_gpu_takes_at_once_by_default():
    """Launches are counted, not run. A batch runs smaller when no further picture is ready."""
    launches = []
    with launched_by(launches.append):
        scorer = Scorer(small.model(), "cuda", samples=2)
        list(scorer.score_many(PHOTOS[:4] * 2, workers=1, batch=4))
    assert sum(getattr(what.kernel, "name", "") == "views_tables_kernel" for what in launches) >= 2
    assert scorer.stages.executor.intake.batch == 8
    assert Scorer(small.model(), "cpu").stages.executor.intake.batch == 4


def test_a_picture_that_waits_counts_with_its_buffer(simulated_gpu):
    scorer = Scorer(small.model(), "cuda", samples=2)
    stages = scorer.stages
    maps = stages.begin(stages.read(PHOTOS[1])).maps
    assert maps.waits and maps.pixels == maps.bytes == 2**16 > PHOTOS[1].nbytes
    planned = Scorer(small.model(), "cuda", samples=2, grid=4).stages
    there = planned.begin(planned.read(PHOTOS[1])).maps
    assert not there.waits and there.pixels == 2**16 < there.bytes


@pytest.fixture
def checked(monkeypatch, tmp_path):
    """A GPU that the simulator plays for the whole process."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    with kernels_on_cpu():
        yield torch.device("cpu")


def test_auto_takes_a_gpu_once_scores_were_checked_on_it_as_it_is(checked, monkeypatch):
    assert Scorer(small.model(), "auto").device == "cpu"
    verdict.keep(checked, False)
    assert Scorer(small.model(), "auto").device == "cpu"
    verdict.keep(checked, True)
    taken = Scorer(small.model(), samples=2)
    assert taken.device == "cuda"
    assert numbers(taken.score(PHOTOS[1])) == numbers(Scorer(small.model(), "cuda", samples=2).score(PHOTOS[1]))
    for name, other in (("_driver", lambda: "another driver"), ("_kernels", lambda: "other kernels"), ("version", lambda: "9")):
        with monkeypatch.context() as changed:
            changed.setattr(verdict, name, other)
            assert Scorer(small.model(), "auto").device == "cpu", name
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA A100")
    assert Scorer(small.model(), "auto").device == "cpu"


def test_auto_is_the_cpu_for_a_network_that_a_gpu_does_not_compute_and_where_a_gpu_fails(checked, monkeypatch):
    verdict.keep(checked, True)
    assert verdict.passed(checked)
    layers = Scorer(Model(build(Network("single layers", (GRAPH,), ("low", "high")), seed=1).eval(), {}), samples=2)
    assert layers.device == "cpu" and layers.score(PHOTOS[1]).error is None

    def forked(device):
        raise RuntimeError("Cannot re-initialize CUDA in forked subprocess")

    monkeypatch.setattr(torch.cuda, "get_device_name", forked)
    assert Scorer(small.model(), "auto").device == "cpu"


@pytest.mark.parametrize("text", ["", "[1]", "{"])
def test_a_verdict_that_cannot_be_read_is_none(checked, text):
    verdict.keep(checked, True)
    verdict._file().write_text(text)
    assert not verdict.passed(checked)
    verdict.keep(checked, True)
    assert verdict.passed(checked)


def test_a_dtype_of_the_gpu_alone_is_refused_on_the_cpu():
    with pytest.raises(ValueError, match="dtype must be one of float32, bfloat16"):
        Scorer(small.model(), "cpu", dtype="float16")


def test_tf32_rounds_the_products_of_blocks_and_is_refused_where_there_is_none():
    with kernels_on_cpu():
        ours, exact = (Scorer(small.model(), "cuda", samples=3, dtype=dtype).score(PHOTOS[1]) for dtype in ("tf32", "float32"))
        with pytest.raises(ValueError, match="float32 or bfloat16 for a network with EfficientNet-Lite's layers, got tf32"):
            Scorer(small_lite.model(), "cuda", dtype="tf32")
    assert ours.mean != exact.mean
    assert ours.mean == pytest.approx(exact.mean, abs=2e-3)
    with pytest.raises(ValueError, match="dtype must be one of float32, bfloat16; got 'tf32'"):
        Scorer(small.model(), "cpu", dtype="tf32")
