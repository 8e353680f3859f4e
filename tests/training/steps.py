"""Training steps of a small network like a run's, one by one or recorded."""

from __future__ import annotations

import torch

from dcnn_fast.training.distributed import World
from dcnn_fast.training.learning_layers import computed_in
from dcnn_fast.training.mini_batches import Request
from dcnn_fast.training.optimisers import remember, remembered
from dcnn_fast.training.run_examples import lesson_of
from dcnn_fast.training.run_place import Place
from dcnn_fast.training.settings import Settings
from dcnn_fast.training.step import At, Losses, Step
from devtools.taped import Taped
from tests.training.sets import data_set, net, weights

CPU = torch.device("cpu")
BATCHES = [(0, 1, 2, 3), (4, 5), (6, 7, 8, 9), (1, 2), (3, 9, 0, 5)]  # the second batch of each epoch is part-filled


class Tapes:
    """A recorder that collects its recordings in order."""

    def __init__(self):
        self.made = []

    def __call__(self, steps):
        self.made.append(Taped(steps))
        return self.made[-1]


class Learning:
    """A run of steps with a falling rate."""

    def __init__(self, record, device=CPU, scaler=None, **changes):
        """scaler: changes to the initial state of torch's gradient scaler."""
        settings = {"epochs": 3, "batch": 4, "schedule": "linear[tgtFactor=10]", "rate": 0.01, "momentum": 0.5, "decay": 0.01}
        self.settings, self.device = Settings(**{**settings, **changes}), device
        self.net = net(views=("warp",)).to(device).train()
        self.lesson = lesson_of(self.net, data_set(10, 2), self.settings, decoded=True)
        self.step = Step(self.net, self.lesson, self.settings, Place(World(), device), record)
        if scaler:
            self.step.scaler.load_state_dict({**self.step.scaler.state_dict(), **scaler})
        self.losses = []

    def windows(self, cases, number):
        """The windows of step `number`."""
        return cases.on(self.device, self.lesson.draws.pictures.inputs)

    def go(self, first=0, last=None):
        """Run the steps first ... last - 1, by default all; returns itself."""
        losses = Losses(len(BATCHES))
        with computed_in(self.net, self.settings.precision, self.device):
            for number in range(first, len(BATCHES) if last is None else last):
                cases, at = self.lesson.draws[Request(number // 2, BATCHES[number])], At(number // 2, number % 2, 2)
                losses.add(self.step.launch(cases, self.windows(cases, number), at, stopping=False), at)
        self.losses += [loss for loss, _ in losses.read()]
        return self

    def state(self):
        """The state from which a run resumes."""
        return {**weights(self.net), **remembered(self.step.update, dict(self.net.named_parameters()))}

    def take_up(self, other):
        """Continue from the state of another run, as from its checkpoint."""
        state = {name: tensor.clone() for name, tensor in other.state().items()}
        self.net.load_state_dict({name: state[name] for name in self.net.state_dict()})
        remember(self.step.update, dict(self.net.named_parameters()), state)
        self.step.scaler.load_state_dict(other.step.scaler.state_dict())
        return self


def require_equal(found, expected):
    """Assert that losses, weights, increments and scale are equal to the bit."""
    assert found.losses == expected.losses
    ours, theirs = found.state(), expected.state()
    assert ours.keys() == theirs.keys()
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
    assert found.step.scaler.state_dict() == expected.step.scaler.state_dict()
