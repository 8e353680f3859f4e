"""A recorded training step against the same step launched one by one: bit for bit, in the PTX simulator."""

from __future__ import annotations

import gc
import logging
from weakref import ref

import pytest
import torch

from dcnn_fast.nets import MultiColumn
from dcnn_fast.ops.recording import Recorder
from dcnn_fast.ops.update.fixed import FIELDS, FixedUpdate
from dcnn_fast.training.errors import DivergedError
from dcnn_fast.training.recorded import not_recorded
from dcnn_fast.training.step import At, Launched, Losses
from devtools.taped import Taped
from tests.ops.on_cpu import kernels_on_cpu
from tests.training.steps import BATCHES, Learning, Tapes, require_equal

OVERFLOWING = {"scale": 2.0**60, "backoff_factor": 2.0**-20}  # overflows for three steps


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("precision", "clip", "played"), [("fp32", 0.0, [2, 1]), ("tf32", 0.0, [1]), ("bf16", 0.0, [1]), ("fp16", 0.1, [2, 1])]
)
def test_a_step_that_is_recorded_has_the_bits_of_the_step_launched_one_by_one(precision, clip, played):
    """Dropout, a falling rate, part-filled mini-batches; in fp16 the first three loss scales overflow, and no weight moves."""
    tapes, scaler = Tapes(), OVERFLOWING if precision == "fp16" else None
    with kernels_on_cpu():
        expected, found = (
            Learning(record, scaler=scaler, precision=precision, clip=clip).go(0, len(BATCHES) if len(played) > 1 else 3)
            for record in (None, Recorder(tapes))
        )
    assert [tape.played for tape in tapes.made] == played
    assert len(set(found.losses)) == len(found.losses) >= 3
    assert scaler is None or found.step.scaler.get_scale() == 1
    require_equal(found, expected)


def test_a_run_that_is_taken_up_again_has_the_same_bits():
    with kernels_on_cpu():
        expected = Learning(Recorder(Tapes())).go()
        found = Learning(Recorder(Tapes())).take_up(Learning(Recorder(Tapes())).go(0, 2))
        found.losses = expected.losses[:2]
        found.go(2)
    require_equal(found, expected)


def test_a_recording_that_fails_is_said_once_and_the_steps_go_on_one_by_one(caplog):
    def record(steps):
        raise RuntimeError("no capture today")

    with kernels_on_cpu():
        expected, found = Learning(None).go(0, 3), Learning(Recorder(record)).go(0, 3)
    require_equal(found, expected)
    said = [entry.message for entry in caplog.records if entry.levelno >= logging.WARNING]
    assert said == ["launches are run one by one, as they cannot be recorded: no capture today"]


def test_the_update_s_kernel_is_loaded_before_a_recording_though_the_first_gradient_overflowed():
    """A kernel cannot be loaded during a capture."""
    before = []

    def record(steps):
        before.extend(getattr(what.kernel, "__name__", "") for what, _ in launches)
        return Taped(steps)

    with kernels_on_cpu() as launches:
        Learning(Recorder(record), scaler=OVERFLOWING, precision="fp16").go(0, 3)
    assert "update_kernel" in before


class Keeping(Taped):
    """A tape that keeps its steps, as a CUDA graph does."""

    def __init__(self, steps):
        super().__init__(steps)
        self.steps = tuple(steps)


def test_memory_of_recordings_is_given_back_with_the_run():
    """At once: a graph holds gigabytes, which the next fold's run needs."""
    gc.collect()
    gc.disable()
    try:
        with kernels_on_cpu():
            learning = Learning(Recorder(Keeping)).go(0, 3)
        step = ref(learning.step)
        del learning
        assert step() is None
    finally:
        gc.enable()


class Elsewhere(Learning):
    """A run whose last windows lie at an offset in larger memory."""

    def windows(self, cases, number):
        (found,) = super().windows(cases, number)
        if number < 4:
            return (found,)
        memory = torch.full((found.untyped_storage().nbytes() + 64,), 7, dtype=torch.uint8)
        return (memory.as_strided(found.shape, found.stride(), 64).copy_(found),)


def others(groups):
    """Other groups with the same parameters and entries."""
    return [
        {name: [dict(each) for each in value] if name == "inputs" else value for name, value in group.items()}
        for group in groups
    ]


class PerInput(Learning):
    """A run whose label layer's two inputs have their own rates; the second does not learn in step 2."""

    def __init__(self, record, **changes):
        super().__init__(record, **changes)
        weight, update = self.net.label.weight, self.step.update
        (old,) = (group for group in update.param_groups if any(each is weight for each in group["params"]))
        old["params"] = [each for each in old["params"] if each is not weight]
        shared = {name: value for name, value in old.items() if name != "params"}
        sizes = 3, weight.shape[1] - 3
        inputs = [{**shared, "size": size, "base": rate, "lr": rate} for size, rate in zip(sizes, (0.05, 0.002), strict=True)]
        update.add_param_group({**shared, "params": [weight], "inputs": inputs})
        self.second = inputs[1]

    def windows(self, cases, number):
        if number == 4:  # torch's load_state_dict puts others in the place of all groups, too
            update = self.step.update
            update.param_groups[:] = others(update.param_groups)
            (self.second,) = (group["inputs"][1] for group in update.param_groups if "inputs" in group)
        self.second["base"] = 0.0 if number == 2 else 0.002
        return super().windows(cases, number)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_layer_s_inputs_that_learn_at_rates_of_their_own_are_recorded_to_the_same_bits(precision):
    tapes, scaler = Tapes(), OVERFLOWING if precision == "fp16" else None
    with kernels_on_cpu():
        expected, found = (
            PerInput(record, precision=precision, scaler=scaler, clip=0.1).go() for record in (None, Recorder(tapes))
        )
    assert [tape.played for tape in tapes.made] == [2, 1]
    require_equal(found, expected)


def test_windows_that_lie_elsewhere_are_those_that_are_learnt_from():
    """The step was recorded with windows of the same shape and strides at another address."""
    with kernels_on_cpu():
        expected, found = Learning(None).go(), Elsewhere(Recorder(Tapes())).go()
    require_equal(found, expected)


def test_an_update_of_several_dtypes_is_not_recorded():
    """Its one launch would read all memory as values of the first parameter's dtype."""
    parameters = [torch.ones(3), torch.ones(3, dtype=torch.float64)]
    table = torch.zeros(2, FIELDS, dtype=torch.int64)
    with pytest.raises(ValueError, match="must be one that can be recorded: its parameters are of several dtypes"):
        FixedUpdate(parameters, parameters, parameters, table.numpy(), table)


def test_what_cannot_be_recorded_is_named_and_launched_one_by_one(caplog):
    tapes = Tapes()
    with caplog.at_level(logging.INFO), kernels_on_cpu():
        Learning(Recorder(tapes), optimiser="adamw", momentum=0.9).go(0, 3)
    assert tapes.made == []
    assert "launched one by one: only cuda-convnet's update reads its rates on the device" in caplog.text


@pytest.mark.parametrize("hooked", ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"])
def test_a_network_whose_modules_have_hooks_is_not_recorded(hooked):
    """Hooks would be called twice while recording, and never in a replay."""
    learning = Learning(None)
    assert not_recorded(learning.net, learning.step.update) is None
    getattr(learning.net.columns[0].fc[0], hooked)(lambda *_: None)
    assert not_recorded(learning.net, learning.step.update) == "a module has hooks, which a recording would not call"


def test_a_network_whose_parameters_are_of_several_dtypes_is_not_recorded():
    learning = Learning(None)
    learning.net.label.double()
    assert not_recorded(learning.net, learning.step.update) == "its parameters are of several dtypes"


def test_a_network_of_one_s_own_is_not_recorded():
    class Own(MultiColumn):
        """A subclass, whose forward is unknown."""

    learning = Learning(None)
    assert "are known to do the same" in not_recorded(Own(learning.net.spec), learning.step.update)


def test_a_tape_refuses_what_would_wait_for_the_device():
    value = torch.ones(())
    with pytest.raises(RuntimeError, match="must not wait for the device, as _local_scalar_dense does"):
        Taped([value.item])


def test_a_loss_that_is_not_finite_is_named_by_its_step_when_it_is_read():
    losses = Losses(3)
    due = [losses.add(Launched(torch.tensor(value), 4, stopped=False), At(0, step, 9)) for step, value in enumerate([1.0, 2.0])]
    assert due == [False, False]
    assert losses.read() == [(1.0, 4), (2.0, 4)] and losses.read() == []
    for step, value in enumerate([3.0, float("nan"), float("inf")]):
        due.append(losses.add(Launched(torch.tensor(value), 4, stopped=False), At(1, step, 9)))
    assert due[2:] == [False, False, True]
    with pytest.raises(DivergedError, match=r"the loss must stay finite, got nan at step 10 \(epoch 2\)"):
        losses.read()
