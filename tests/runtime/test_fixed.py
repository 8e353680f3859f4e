"""The fixed evaluation: launches that never change give the bits of planned launches for any photographs in any batch."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace

import numpy as np
import pytest
import torch

from dcnn_fast import Scorer, WeightsError
from dcnn_fast.nets import Model, build
from dcnn_fast.networks import Network, preset
from dcnn_fast.ops import recording
from dcnn_fast.ops.block.triton import forward_launch
from dcnn_fast.ops.block.triton import tune as triton_tune
from dcnn_fast.ops.launch import launch, launched_by
from dcnn_fast.ops.recording import Recorder
from dcnn_fast.ops.views.fixed import FixedPlanes
from dcnn_fast.runtime import fixed_rule, gpu
from dcnn_fast.runtime.gpu import GpuNetwork
from dcnn_fast.scoring.prepare import prepare
from tests import small, small_lite
from tests.ops.on_cpu import kernels_on_cpu
from tests.scoring.test_scorer import PHOTOS, numbers

pytestmark = pytest.mark.gpu

CPU = torch.device("cpu")
SIZES = [(40, 57), (300, 41), (33, 32), (64, 64), (35, 90)]
PICTURES = [np.random.default_rng(i).integers(0, 256, (*size, 3)).astype(np.uint8) for i, size in enumerate(SIZES)]


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def simulated_gpu():
    with kernels_on_cpu() as launches:
        yield launches


def by_plans(monkeypatch, score):
    """`score`'s result where every photograph has its own plan."""
    with monkeypatch.context() as patched:
        patched.setattr(fixed_rule, "MOST_SAMPLES", 0)
        return score()


@pytest.mark.needs_engine
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("network", [{}, {"reduce": "mean", "views": ("pad", "center")}], ids=["flatten", "mean"])
def test_it_gives_the_bits_of_launches_that_are_planned_for_each_photograph(network, dtype, simulated_gpu, monkeypatch):
    def score():
        scorer = Scorer(small.model(**network), "cuda", samples=3, dtype=dtype)
        return list(scorer.score_many(PICTURES[:3], batch=3, workers=1))

    ours, planned = score(), by_plans(monkeypatch, score)
    assert [score.plan for score in ours] == ["fixed"] * 3 and "fixed" not in {score.plan for score in planned}
    assert [numbers(score) for score in ours] == [numbers(score) for score in planned]
    assert len({score.mean for score in ours}) == 3


def test_a_picture_has_the_same_bits_alone_and_in_batches_that_are_full_or_not(simulated_gpu):
    scorer = Scorer(small.model(), "cuda", samples=2, dtype="float16")
    alone = [numbers(scorer.score(picture)) for picture in PICTURES]
    for batch, workers in ((2, 1), (3, 1), (5, 2)):
        for turned in (slice(None), slice(None, None, -1)):
            scored = scorer.score_many(PICTURES[turned], batch=batch, workers=workers)
            assert [numbers(score) for score in scored] == alone[turned], (batch, workers)


def test_more_threads_than_contexts_share_them(simulated_gpu):
    scorer = Scorer(small.model(views=("warp",)), "cuda", samples=2, dtype="float16")
    alone = [numbers(scorer.score(picture)) for picture in PICTURES]
    with ThreadPoolExecutor(gpu.MOST_CONTEXTS + 3) as pool:
        found = [pool.submit(copy_context().run, scorer.score, picture) for picture in PICTURES * 3]
        assert [numbers(each.result()) for each in found] == alone * 3
    assert len(scorer.stages.executor._contexts._idle) <= gpu.MOST_CONTEXTS


class OneByOne:
    """A CUDA graph's stand-in: replays the launches exactly as recorded."""

    def __init__(self, steps):
        self.steps, self.replays = steps, 0

    def replay(self):
        self.replays += 1
        for step in self.steps:
            recording.run(step)


def scored(network, pictures, samples=2):
    """The probabilities of the pictures, in one batch."""
    found = [
        prepare(picture, small.network(), samples=samples, grid=1, seed=0, intake=network.intake).jobs for picture in pictures
    ]  # fmt: skip
    return network.head([network.blocks(jobs) for jobs in found])


def test_a_batch_is_one_replay_and_a_copy_of_each_photograph_of_the_numbers_and_of_the_result(simulated_gpu):
    recorded, copies, launched = [], [], []
    network = GpuNetwork(
        small.model().net, CPU, torch.float16, record=Recorder(lambda steps: recorded.append(OneByOne(steps)) or recorded[-1])
    )  # fmt: skip
    expected = [scored(GpuNetwork(small.model().net, CPU, torch.float16), [picture])[0] for picture in PICTURES[:4]]

    def run(what):
        launched.append(what)
        with kernels_on_cpu():
            launch(what)

    def copy(target, source):
        copies.append(target)
        target.copy_(source)

    with launched_by(run, copy=copy):
        for pictures in (PICTURES[:2], PICTURES[2:4], PICTURES[1:3]):
            del copies[:], launched[:]
            before = len(recorded)
            found = scored(network, pictures)
            assert len(recorded) - before == (pictures[0] is PICTURES[0])
            assert len(copies) == 2 + 2
            assert [id(what) for what in launched] == [id(step) for step in recorded[0].steps]
            for probs, picture in zip(found, pictures, strict=True):
                assert np.array_equal(probs, expected[[each is picture for each in PICTURES].index(True)])
    assert recorded[0].replays == 2


def test_a_failed_recording_is_said_once_and_changes_no_score(simulated_gpu, caplog):
    tried = []

    def record(steps):
        tried.append(steps)
        raise RuntimeError("operation not permitted when stream is capturing")

    network = GpuNetwork(small.model().net, CPU, torch.float16, record=Recorder(record))
    with caplog.at_level(logging.WARNING):
        found = [scored(network, PICTURES[:count]) for count in (1, 2, 2, 1)]
    assert len(tried) == 1
    assert [each.getMessage() for each in caplog.records] == [
        "launches are run one by one, as they cannot be recorded: operation not permitted when stream is capturing"
    ]
    assert all(np.array_equal(each[0], found[0][0]) for each in found)
    assert np.array_equal(found[1][1], found[2][1])


def test_tiles_that_are_timed_are_timed_before_launches_are_collected(monkeypatch):
    timed = []

    def seconds(what):
        launch(what)
        timed.append(what)
        return float(len(timed))

    def steps():
        network = GpuNetwork(small.model(views=("warp",)).net, CPU, torch.float32)
        with network._contexts.borrowed() as context:
            return [step.kernel for step in context.evaluation(1, 2)._steps_again.steps]

    ran = []
    with launched_by(ran.append):
        expected = steps()
        monkeypatch.setattr(triton_tune, "asked_for", lambda device: True)
        monkeypatch.setattr(forward_launch, "_seconds", seconds)
        monkeypatch.setenv("XDG_CACHE_HOME", os.devnull)  # no timings are stored
        assert steps() == expected
    assert timed and all(any(what is each for each in ran) for what in timed)


def test_a_batch_that_the_device_has_no_memory_for_is_evaluated_in_parts(simulated_gpu, monkeypatch):
    network = GpuNetwork(small.model().net, CPU, torch.float16)
    expected = [scored(network, [picture])[0] for picture in PICTURES]
    planes = FixedPlanes.of

    def of(view, plane, pictures, device):
        if pictures > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return planes(view, plane, pictures, device)

    monkeypatch.setattr(FixedPlanes, "of", of)
    assert all(map(np.array_equal, scored(network, PICTURES), expected))


def test_batches_of_pictures_with_more_and_fewer_views(simulated_gpu):
    network = GpuNetwork(small.model().net, CPU, torch.float16)
    samples = (3, 2, 3, 1)
    jobs = [
        prepare(picture, small.network(), samples=count, grid=1, seed=0, intake=network.intake).jobs
        for picture, count in zip(PICTURES, samples, strict=False)
    ]
    together = network.head([network.blocks(each) for each in jobs])
    assert [probs.shape for probs in together] == [(count, 2) for count in samples]
    for each, probs in zip(jobs, together, strict=True):
        assert np.array_equal(network.head([network.blocks(each)])[0], probs)


@pytest.mark.parametrize(
    ("shape", "options", "why"),
    [
        ((31, 60), {}, "60 x 31 is enlarged for its local view"),
        ((3000, 33), {}, "33 x 3000 is too long for a plane of 32 pixels"),
        ((40, 40), {"samples": 1025}, "1025 samples are more than 1024"),
        ((40, 40), {"grid": 4}, "a grid of 4 pixels share"),
        ((40, 40), {"grid": 8}, "a grid of 8 pixels share"),
        ((40, 40), {"capability": 75}, "needs compute capability 8.0 or later, this is 7.5"),
        ((40, 40), {"launches": False}, "computed by no kernel"),
    ],
)
def test_what_takes_a_plan_is_named(shape, options, why):
    rule = fixed_rule.Fixed(small.network(), torch.float16, options.get("capability", 90), options.get("launches", True))
    samples, grid = options.get("samples", 50), options.get("grid", 1)
    assert why in rule.refused(shape, samples, grid)
    fits = fixed_rule.Fixed(small.network(), torch.float16, 90, True)
    assert fits.refused((40, 40), 50, 1) is None and fits.refused((2000, 33), 1024, 2) is None


@pytest.mark.needs_engine
def test_an_enlarged_photograph_is_scored_by_its_plan_beside_others(simulated_gpu):
    scorer = Scorer(small.model(), "cuda", samples=2, dtype="float16")
    little = np.random.default_rng(3).integers(0, 256, (20, 40, 3)).astype(np.uint8)
    pictures = [PICTURES[0], little, PICTURES[1]]
    found = list(scorer.score_many(pictures, batch=3, workers=1))
    assert [score.plan == "fixed" for score in found] == [True, False, True]
    assert [numbers(score) for score in found] == [numbers(scorer.score(picture)) for picture in pictures]
    assert found[1].mean == pytest.approx(Scorer(small.model(), samples=2).score(little).mean, abs=4e-3)


def test_shared_work_is_planned_where_the_gpu_would_save_more_than_the_host_takes():
    slow = Network("large", (*small.network().columns,))
    assert fixed_rule.predicted_seconds(slow.columns, torch.float16, 80) == 0  # small columns have no prediction
    net = preset("dcnn")
    for capability in (80, 86, 89, 90, 100, 120):
        assert fixed_rule.Fixed(net, torch.float16, capability, True).refused((600, 800), 50, 1) is None
    assert fixed_rule.predicted_seconds(net.columns, torch.float16, 90) > 0
    assert "predicted to save" in fixed_rule.Fixed(net, torch.float16, 86, True).refused((600, 800), 1000, 1)


@pytest.mark.needs_engine
def test_a_network_with_a_backbone_is_scored_by_either_way(simulated_gpu, monkeypatch):
    model = small_lite.model(small_lite.networks.BackboneColumn("lite0", "local", (1,), (8,), plane=12, window=9))

    def score():
        return Scorer(model, "cuda", samples=2, dtype="bfloat16").score(PHOTOS[0])

    ours, planned = score(), by_plans(monkeypatch, score)
    assert (ours.plan, planned.plan) == ("fixed", "brute-force") and numbers(ours) == numbers(planned)
    assert ours.mean == pytest.approx(Scorer(model, samples=2, dtype="bfloat16").score(PHOTOS[0]).mean, abs=3e-2)


@pytest.mark.needs_engine
def test_windows_that_are_whole_planes_are_computed_once_a_picture(simulated_gpu, monkeypatch):
    whole = replace(small.column("warp"), plane=24)
    model = Model(build(Network("whole", (whole, small.column("local")), ("low", "high")), seed=3).eval(), {})

    def score():
        network = GpuNetwork(model.net, CPU, torch.float16)
        jobs = [
            prepare(picture, model.spec, samples=3, grid=1, seed=0, intake=network.intake).jobs for picture in PICTURES[:3]
        ]  # fmt: skip
        return network.head([network.blocks(each) for each in jobs])

    found = score()
    rows = [what.args["rows"] for what, _ in simulated_gpu if "rows" in what.args]
    assert rows == [4 * 1, 4 * 3]  # each column's first fully-connected layer, for up to four pictures
    assert all(map(np.array_equal, found, by_plans(monkeypatch, score)))


def test_a_dtype_that_a_backbone_is_not_computed_in_is_refused_by_name(simulated_gpu):
    with pytest.raises(ValueError, match="dtype must be float32 or bfloat16 for a network with EfficientNet-Lite's layers"):
        Scorer(small_lite.model(), "cuda", dtype="float16")


def test_a_change_that_torch_does_not_count_is_refused_with_a_picture_alone_when_a_run_begins_and_soon(simulated_gpu):
    model = small.model(views=("warp",))
    network = GpuNetwork(model.net, CPU, torch.float16)
    jobs = [
        prepare(picture, model.spec, samples=1, grid=1, seed=0, intake=network.intake).jobs for picture in PICTURES[:2]
    ]  # fmt: skip
    both = [network.blocks(each) for each in jobs]
    network.head(both)
    weight = model.net.columns[0].fc[0].weight.detach().numpy()
    before = weight[0, 0]
    weight[0, 0] += 1
    refused = pytest.raises(WeightsError, match="weights have changed since they were laid out on the GPU")
    with refused:
        network.head(both[:1])
    with refused:
        for _ in range(gpu.LOOKS):
            network.head(both)
    weight[0, 0] = before
    network.begin()
    network.head(both)
    weight[0, 0] += 1
    network.begin()
    with refused:
        network.head(both)


def test_one_model_in_two_scorers_with_other_views(simulated_gpu):
    model = Model(small.model().net, {})
    few, more = (Scorer(model, "cuda", samples=samples, dtype="float16") for samples in (2, 3))
    first = few.score(PICTURES[0])
    assert more.score(PICTURES[0]).samples_count == 3 and numbers(few.score(PICTURES[0])) == numbers(first)


@pytest.mark.parametrize(("labels", "takes"), [(64, True), (65, False)])
def test_a_head_that_no_kernel_computes_takes_plans(labels, takes):
    network = replace(small.network(), labels=tuple(f"l{i:02}" for i in range(labels)))
    with launched_by(lambda _: None):
        rule = GpuNetwork(build(network, seed=0).eval(), CPU, torch.float32).intake.fixed
        refused = rule.refused((64, 64), 3, 1)
    assert refused == (None if takes else "a layer of the network is computed by no kernel that could be recorded")


def test_a_backend_that_is_changed_under_a_scorer_is_no_photograph_s_numbers(monkeypatch):
    with launched_by(lambda _: None):
        scorer = Scorer(small.model(), "cuda", samples=3)
        monkeypatch.setenv("DCNN_FAST_BACKEND", "reference")
        with pytest.raises(RuntimeError, match="a layer has launched no kernel"):
            scorer.score(PICTURES[0])


def test_pictures_that_the_device_has_no_memory_for_fail_by_themselves(simulated_gpu, monkeypatch):
    scorer = Scorer(small.model(), "cuda", samples=3)
    alone = [scorer.score(picture) for picture in PICTURES[:3]]
    head, too_large = GpuNetwork.head, (*PICTURES[1].shape[:2],)

    def short_of_memory(self, images):
        if len(images) > 1 or images[0].jobs[0].photo.shape[:2] == too_large:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return head(self, images)

    monkeypatch.setattr(GpuNetwork, "head", short_of_memory)
    found = list(scorer.score_many(PICTURES[:3], batch=3, workers=1))
    assert [found[0], found[2]] == [alone[0], alone[2]] and "not enough memory" in found[1].error
