"""Operations, scores, recorded launches and a training step on tensors that lie on a GPU.

Those called quick are run in the simulator, too, by `python -m tools.gpu_check --device sim`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dcnn_fast import Scorer, networks
from dcnn_fast.nets import Column, Model
from dcnn_fast.ops.recording import Again, CudaGraph, Recorder, collected
from dcnn_fast.ops.views.fixed import windows_launch
from dcnn_fast.runtime.contexts import DeviceStream, own_stream
from dcnn_fast.training import ConvNetUpdate, groups_of
from dcnn_fast.training.device_windows import DeviceWindows
from dcnn_fast.training.mini_batches import Request
from devtools.taped import Taped
from tests import small
from tests.training.steps import BATCHES, Learning, require_equal
from tools.gpu_check import families

pytestmark = pytest.mark.gpu
PICTURES = [np.random.default_rng(seed).integers(0, 256, (36 + 5 * seed, 44, 3)).astype(np.uint8) for seed in range(3)]


def numbers(score):
    return score.error, score.mean, score.std, score.probs


@pytest.mark.parametrize("name", families.cases())
def test_a_family_of_kernels_gives_the_reference_s_numbers(name, gpu):
    judged = families.cases()[name](gpu.where)
    assert judged.passed, judged


def _cut(setting):
    """A launch that copies windows of a plane, its table and its result."""
    plane = torch.arange(20 * 20 * 3, device=setting.where).remainder(251).to(torch.uint8)
    sources = torch.tensor([[plane.data_ptr(), 0, 60, 3, 1]] * 2, device=setting.where)
    images = torch.zeros(2, 8, 8, 3, dtype=torch.uint8, device=setting.where)
    return windows_launch(sources, images, [plane]), sources, images, plane


def test_quick_a_recorded_launch_reads_its_table_anew(gpu):
    """On a GPU by a CUDA graph, on a stream of the project's own."""
    what, sources, images, plane = _cut(gpu)
    gpu.wait()
    stream = DeviceStream(gpu.where)
    again = Again([what], Recorder(None if gpu.simulated else partial(CudaGraph, gpu.where)))
    rows = plane.view(20, 20, 3)
    with stream.current():
        for left in (0, 3, 7):
            sources[:, 0] = plane.data_ptr() + 3 * left
            again.run()
            stream.wait()
            assert all(torch.equal(image, rows[:8, left : left + 8]) for image in images), left


def test_quick_collected_launches_run_later(gpu):
    what, _, images, plane = _cut(gpu)
    found, _ = collected(lambda: None, gpu.where)
    assert found == []
    again = Again([what], Recorder(None))
    again.run()
    gpu.wait()
    assert torch.equal(images[0], plane.view(20, 20, 3)[:8, :8])


@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16"])
def test_scores_are_the_same_bits_in_every_way(dtype, gpu):
    scorer = Scorer(small.model(), gpu.scorers, samples=3, dtype=dtype)
    alone = [numbers(scorer.score(each)) for each in PICTURES]
    for batch, workers in ((3, 1), (2, 4)):
        assert [numbers(each) for each in scorer.score_many(PICTURES, batch=batch, workers=workers)] == alone
    without = Scorer(small.model(), gpu.scorers, samples=3, dtype=dtype, graphs=False)
    assert [numbers(without.score(each)) for each in PICTURES] == alone
    cpu = Scorer(small.model(), "cpu", samples=3)
    allowed = {"float32": 1e-5, "float16": 4e-3, "bfloat16": 3e-2}[dtype]
    assert [each[1] for each in alone] == pytest.approx([cpu.score(each).mean for each in PICTURES], abs=allowed)


def test_plans_and_their_recordings_give_the_bits_of_the_fixed_evaluation(gpu):
    one, four = (Scorer(small.model(), gpu.scorers, samples=3, dtype="float16", grid=grid) for grid in (1, 4))
    for scorer in (one, four):
        first = [numbers(scorer.score(each)) for each in PICTURES]
        for _ in range(3):  # planned launches are recorded when they come for the second time
            assert [numbers(scorer.score(each)) for each in PICTURES] == first


def test_a_change_of_the_weights_is_refused(gpu):
    model = small.model()
    scorer = Scorer(model, gpu.scorers, samples=2)
    scorer.score(PICTURES[0])
    with torch.no_grad():
        model.net.columns[0].blocks[0].weight.add_(1)
    with pytest.raises(Exception, match="weights have changed"):
        scorer.score(PICTURES[0])


def _step(where, dtype):
    """The parameters after a step of a small column."""
    column = networks.preset("scnn-arch1").columns[0]
    blocks = (networks.Block(8, 3, padding=1, pool=networks.Pool(3, 2), norm=networks.CrossMapNorm()),)
    net = Column(replace(column, blocks=blocks, window=11, plane=12, fc=(4, 2), dropout=0.0)).to(where, dtype)
    net.initialise(torch.Generator().manual_seed(0))
    windows = torch.randint(0, 256, (2, 3, 11, 11), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)).to(where)
    update = ConvNetUpdate(groups_of(net))
    F.cross_entropy(net(windows)[:, :2], torch.tensor([0, 1], device=where)).backward()
    update.step()
    return {name: parameter.detach().cpu().double() for name, parameter in net.named_parameters()}


def test_quick_a_training_step_moves_the_parameters_as_the_reference_does(gpu, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", "triton")
    found = _step(gpu.where, torch.float32)
    gpu.wait()
    monkeypatch.setenv("DCNN_FAST_BACKEND", "reference")
    for name, right in _step(torch.device("cpu"), torch.float64).items():
        torch.testing.assert_close(found[name], right, rtol=1e-4, atol=1e-6)


def test_the_model_s_own_module_is_left_where_it_is(gpu):
    model = small.model()
    assert isinstance(model, Model)
    Scorer(model, gpu.scorers, samples=2).score(PICTURES[0])
    assert {parameter.device.type for parameter in model.net.parameters()} == {"cpu"}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "tf32"])
def test_a_recorded_training_step_has_the_bits_of_one_launched_one_by_one(precision, gpu):
    _recorded_steps(gpu, precision, len(BATCHES))


def test_quick_a_recorded_training_step_has_the_bits_of_one_launched_one_by_one(gpu):
    _recorded_steps(gpu, "fp16", 3)


def _recorded_steps(gpu, precision, last):
    """On a GPU by a CUDA graph, on a stream of the project's own."""
    record = Taped if gpu.simulated else partial(CudaGraph, gpu.where)
    made = []
    with own_stream(gpu.where):
        expected = Learning(Recorder(None), gpu.where, precision=precision).go(0, last)
        recorder = Recorder(lambda steps: made.append(record(steps)) or made[-1])
        found = Learning(recorder, gpu.where, precision=precision).go(0, last)
    assert len(made) == (1 if last < 4 else 2)
    require_equal(found, expected)


def test_steps_with_dropout_go_on_one_by_one_where_a_capture_fails(gpu):
    record = Taped if gpu.simulated else partial(CudaGraph, gpu.where)
    with own_stream(gpu.where):
        expected = Learning(Recorder(None), gpu.where).go(0, 3)
        waits = torch.ones((), device=gpu.where).item
        found = Learning(Recorder(lambda steps: record([*steps, waits])), gpu.where).go(0, 3)
    require_equal(found, expected)


def test_quick_windows_cut_by_launches_that_never_change_are_those_that_are_planned(gpu):
    learning = Learning(Recorder(None), gpu.where)
    inputs = learning.lesson.draws.pictures.inputs
    record = Recorder(None if gpu.simulated else partial(CudaGraph, gpu.where))
    with own_stream(gpu.where):
        windows = DeviceWindows(inputs, 4, gpu.where, record)
        for epoch, numbers in enumerate([(0, 1, 2, 3), (4, 5), (6, 7, 8, 9)]):
            cases = learning.lesson.draws[Request(epoch, numbers)]
            pairs = zip(windows.of(cases), cases.on(gpu.where, inputs), strict=True)
            assert all(torch.equal(one, other) for one, other in pairs), epoch
