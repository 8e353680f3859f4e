"""The training step: forward, backward and update of a mini-batch."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from functools import partial
from weakref import proxy

import torch
from torch import Tensor, nn

from dcnn_fast.ops.plain_torch import plain_torch
from dcnn_fast.ops.recording import CudaGraph, Recorder
from dcnn_fast.training.errors import DivergedError
from dcnn_fast.training.learning_layers import rate_groups
from dcnn_fast.training.losses import counts_of, loss_of, targets_of
from dcnn_fast.training.mini_batches import Cases
from dcnn_fast.training.needs import generator_of
from dcnn_fast.training.optimisers import optimiser_of
from dcnn_fast.training.photographs import generator
from dcnn_fast.training.recorded import RecordedSteps, not_recorded
from dcnn_fast.training.run_examples import Lesson
from dcnn_fast.training.run_place import Place
from dcnn_fast.training.settings import Settings
from dcnn_fast.training.update_rule import ConvNetUpdate


@dataclass(frozen=True)
class At:
    """A mini-batch by its number: `step` of the `steps` of epoch `epoch`, both counting from 0."""

    epoch: int
    step: int
    steps: int

    @property
    def done(self) -> int:
        """Mini-batches before it since the run began."""
        return self.epoch * self.steps + self.step

    def __str__(self) -> str:
        return f"step {self.done} (epoch {self.epoch + 1})"


@dataclass(frozen=True)
class Launched:
    """A mini-batch in flight on the device: its loss, its number of examples, and whether a process was told to stop."""

    loss: Tensor
    cases: int
    stopped: bool


class Step:
    """Updates a network's weights, mini-batch by mini-batch."""

    def __init__(
        self, net: nn.Module, lesson: Lesson, settings: Settings, place: Place, record: Recorder | None = None
    ) -> None:  # fmt: skip
        """record: the recorder of steps (`recorded`), by default CUDA graphs on a GPU."""
        self._net, self._lesson, self._settings, self._place = net, lesson, settings, place
        self._learning = [parameter for parameter in net.parameters() if parameter.requires_grad]
        self.update = optimiser_of(rate_groups(net, settings))
        self.scaler = torch.amp.GradScaler(place.device.type, enabled=settings.precision == "fp16")
        if record is None and place.device.type == "cuda":
            record = Recorder(partial(CudaGraph, place.device))
        self._again = None if record is None or place.world.size > 1 else self._recorded(record)

    @property
    def rate(self) -> float:
        """The present rate of the first group of parameters."""
        return float(self.update.param_groups[0]["lr"])

    def launch(self, cases: Cases, windows: tuple[Tensor, ...], at: At, stopping: bool) -> Launched:
        """Launch forward, backward and update of this process's share of a mini-batch; the device may finish after the return.

        stopping: whether this process was told to stop; every process hears of it.
        """
        self._set_rates(at)
        again = None if self._again is None or not cases.numbers else self._again.of(windows)
        self._seed_dropout(at)
        targets = targets_of([self._lesson.train[number] for number in cases.numbers])
        counts = torch.cat(
            [counts_of(targets, 2), torch.tensor([len(cases.numbers), float(stopping)], dtype=torch.float64, device="cpu")]
        )
        *labelled, present, stopped = self._place.world.sum(counts).tolist()
        if again is not None:
            return Launched(again.run(windows, targets, labelled, cases.numbers), int(present), bool(stopped))
        loss = torch.zeros((), dtype=torch.float32, device=self._place.device)
        self.update.zero_grad()
        if cases.numbers:
            device = self._place.device
            numbers = torch.tensor(cases.numbers, dtype=torch.int64, device="cpu").to(device)
            sums = torch.tensor(labelled, dtype=torch.float64, device="cpu").to(device)
            loss = self.backward(windows, targets.to(device), sums, numbers)
        loss = self._summed(loss.detach())
        if present:
            self._clip()
            self.scaler.step(self.update)
            self.scaler.update()
        return Launched(loss, int(present), bool(stopped))

    def require_finite(self, step: int) -> None:
        """Raise DivergedError, naming the step, where a weight is not finite: a gradient may overflow where the loss does not.

        AdamW's mean of squared gradients may overflow too, and a weight whose mean is infinite would never move again.
        """
        if not all(map(_is_finite, self._learning)):
            raise DivergedError(f"the weights must stay finite, got NaN or infinity at step {step}")
        remembered = (each for state in self.update.state.values() for each in state.values() if isinstance(each, Tensor))
        if not all(map(_is_finite, remembered)):
            raise DivergedError(f"what the update rule remembers must stay finite, got NaN or infinity at step {step}")

    def _set_rates(self, at: At) -> None:
        for group in (part for each in self.update.param_groups for part in (each, *each.get("inputs", ()))):
            group["lr"] = group["base"] * self._settings.factor(at.epoch, at.step, at.steps, group["schedule"])

    def _seed_dropout(self, at: At) -> None:
        """Dropout's masks depend on the seed and the step alone, so a run that goes on from here draws the same ones."""
        words = generator("dropout", self._settings.seed, at.done, self._place.world.rank)
        generator_of(self._place.device).manual_seed(int(words.integers(2**63)))

    def backward(self, windows: tuple[Tensor, ...], targets: Tensor, labelled: Tensor, numbers: Tensor) -> Tensor:
        """The loss of these windows; adds its gradients. labelled: the number of targets in the whole mini-batch."""
        with plain_torch(self._place.device):
            loss = loss_of(self._net(*windows), targets, labelled, self._lesson.aim, numbers)
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        return loss

    def _clip(self) -> None:
        """Clip the whole mini-batch's gradient, which every process has by now."""
        if self._settings.clip:
            self.scaler.unscale_(self.update)
            self.shorten()

    def shorten(self) -> None:
        """Clip the gradient, which is unscaled by now."""
        if self._settings.clip:
            nn.utils.clip_grad_norm_(self._learning, self._settings.clip, foreach=False)

    def _recorded(self, record: Recorder) -> RecordedSteps | None:
        """The recorded steps; None, with the reason in the log, where this network or rule cannot be recorded."""
        if why := not_recorded(self._net, self.update):
            logging.getLogger(__name__).info("training steps are launched one by one: %s", why)
            return None
        assert isinstance(self.update, ConvNetUpdate)
        # A cycle of references would hold the graphs' memory, gigabytes, until Python looks for cycles.
        return RecordedSteps(proxy(self), self.update, self.scaler, self._learning, self._place.device, record)

    def _summed(self, loss: Tensor) -> Tensor:
        """The loss of all processes' shares; their gradients are summed on the way."""
        world = self._place.world
        if world.size > 1:
            for parameter in self._learning:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            world.sum_all([*(parameter.grad for parameter in self._learning if parameter.grad is not None), loss])
        return loss


def _is_finite(values: Tensor) -> bool:
    return bool(torch.isfinite(values).all())


class Losses:
    """The losses of mini-batches in flight, in order. every: the number read at a time."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._waiting: list[tuple[Launched, At]] = []

    def add(self, launched: Launched, at: At) -> bool:
        """Add the loss of mini-batch `at`; returns whether a read is due."""
        self._waiting.append((launched, at))
        return len(self._waiting) >= self._every

    def read(self) -> list[tuple[float, int]]:
        """The loss and the number of cases of each mini-batch added since the last read; waits for the device.

        Raises DivergedError, naming the first step whose loss is not finite.
        """
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return []
        values: list[float] = torch.stack([launched.loss for launched, _ in waiting]).tolist()
        for value, (_, at) in zip(values, waiting, strict=True):
            if not math.isfinite(value):
                raise DivergedError(f"the loss must stay finite, got {value} at {at}")
        return [(value, launched.cases) for value, (launched, _) in zip(values, waiting, strict=True)]
