"""A run: its state, and its loop over epochs."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any

from torch import Tensor, nn

from dcnn_fast.data.plane_cache import PlaneCache
from dcnn_fast.nets import AnyColumn
from dcnn_fast.ops.recording import CudaGraph, Recorder
from dcnn_fast.training import checkpoint as runs
from dcnn_fast.training.device_windows import DeviceWindows
from dcnn_fast.training.epochs import Left, is_best, is_looked_at, is_out_of_patience, row_of
from dcnn_fast.training.folder import CHECKPOINT, TIMES, Folder
from dcnn_fast.training.interrupts import Asked
from dcnn_fast.training.learning_layers import columns_of, keeps_pixels, multi_column
from dcnn_fast.training.log import Advance, read_times
from dcnn_fast.training.mini_batches import Cases, Draws, load
from dcnn_fast.training.observers import Observer, Told
from dcnn_fast.training.photographs import means
from dcnn_fast.training.progress import Progress, timeless, with_rates, with_times
from dcnn_fast.training.resuming import take_up
from dcnn_fast.training.run_examples import Lesson
from dcnn_fast.training.run_place import Place
from dcnn_fast.training.settings import Settings
from dcnn_fast.training.skips import Skips
from dcnn_fast.training.step import At, Launched, Losses, Step
from dcnn_fast.training.validation import look
from dcnn_fast.training.workers import WorkerError

_SECONDS_BETWEEN_SIGNS = 30.0  # of life, of a process that others wait for: a wait of minutes would count as a failure
LOSSES_AT_A_TIME = 16  # losses per read from a GPU, as each read makes the host wait
_Ready = tuple[Cases, tuple[Tensor, ...]]


class Session:
    """A network that learns a lesson, and its progress.

    still: columns that this run does not change. observers: called in the process that writes.
    """

    def __init__(
        self, net: nn.Module, lesson: Lesson, settings: Settings, place: Place, out: Folder, still: Sequence[AnyColumn]
    ) -> None:  # fmt: skip
        self.net, self.lesson, self.settings, self.place, self.out = net, lesson, settings, place, out
        self.still = tuple(still)
        self.step = Step(net, lesson, settings, place)
        self.progress, self.skips = Progress(), Skips()
        on_gpu, inputs = place.device.type == "cuda", lesson.draws.pictures.inputs
        self._losses = Losses(LOSSES_AT_A_TIME if on_gpu else 1)
        share = math.ceil(settings.batch / place.world.size)
        self._cutting = (
            DeviceWindows(inputs, share, place.device, Recorder(partial(CudaGraph, place.device))) if on_gpu else None
        )  # fmt: skip
        self.observers: Sequence[Observer] = ()

    @property
    def steps(self) -> int:
        """Mini-batches of an epoch."""
        return math.ceil(len(self.lesson.train) / self.settings.batch)

    @property
    def at(self) -> At:
        """The next mini-batch."""
        return At(self.progress.epoch, self.progress.step, self.steps)

    def images(self) -> tuple[int, int]:
        """The images of the whole run, and the finished ones."""
        count = len(self.lesson.train)
        return self.settings.epochs * count, self.progress.epoch * count + self.progress.step * self.settings.batch

    def begin(self, cache: int | PlaneCache, threads: int, *, new_rates: bool = False) -> None:
        """Start afresh or from the checkpoint, and fill the cache (megabytes, or a cache on disk) by `threads` threads.

        new_rates: whether the run may go on at other rates than before.
        """
        path, world = self.out / CHECKPOINT, self.place.world
        columns = columns_of(self.net)
        found = world.first_ones(path.is_file())
        if found:
            self.progress = take_up(
                runs.load_checkpoint(path), self.net, self.step, self.lesson, self.settings, columns, self.steps,
                str(self.out.path), new_rates=new_rates,
            )  # fmt: skip
            with_times(self.progress, read_times(self.out / TIMES))
        else:
            self.progress.rates = with_rates((), 0, self.settings.rate, self.settings.bias_rate)
        if isinstance(cache, PlaneCache):
            self._share_planes(cache, threads)
        elif cache:
            self.lesson.draws.pictures.hold(cache, threads)
        if not found and self.settings.mean == "data" and columns:
            self.progress.means = world.first_ones(self._means_of_data(threads) if world.first else [])
        if self.progress.means is not None:
            self._set_means(self.progress.means)
        world.share([*self.net.parameters(), *self.net.buffers()])

    def _share_planes(self, cache: PlaneCache, threads: int) -> None:
        """Fill the cache on disk in the first process; the others wait for it, however long that takes, and use it."""
        every = [draws.pictures for draws in (self.lesson.draws, self.lesson.validation, self.lesson.held_out)]
        world, told = self.place.world, time.monotonic()

        def advance() -> None:
            nonlocal told
            if time.monotonic() - told > _SECONDS_BETWEEN_SIGNS:
                told = time.monotonic()
                world.first_ones(True)

        for pictures in every:
            if world.first:
                pictures.hold(cache, threads, advance)
            else:
                pictures.use(cache)
        if world.first:
            world.first_ones(False)
        while not world.first and world.first_ones(None):
            pass

    def go(self, stop: Asked, advance: Advance) -> None:
        """Run the remaining epochs. Raises KeyboardInterrupt, after a checkpoint, when `stop` is set."""
        left = Left(
            self.settings, self.place.world, len(self.lesson.train), self.progress.epoch, self.progress.step
        )  # fmt: skip
        with closing(load(self.lesson.draws, left, self.place.workers)) as stream:
            ready = self._next(stream)
            while not self._is_over():
                ready = self._epoch(ready, stream, stop, advance)
                self._end_epoch()

    def _is_over(self) -> bool:
        settings, history = self.settings, self.progress.history
        return self.progress.epoch >= settings.epochs or is_out_of_patience(history, settings.best_by, settings.patience)

    def finish(self) -> None:
        """Leave the network ready for use, and tell the observers that the run is over."""
        self.net.eval()
        for observer in self.observers:
            observer.finished(Told(self.progress, self.progress.history[-1]))
        self.place.world.wait()

    def _epoch(self, ready: _Ready | None, stream: Iterator[Cases], stop: Asked, advance: Advance) -> _Ready | None:
        """Run an epoch's remaining mini-batches; returns the next epoch's first."""
        self._learn_mode()
        started, before = time.monotonic(), self.progress.seconds
        while self.progress.step < self.steps:
            assert ready is not None
            launched = self._launch(ready, stop.is_set())
            died: WorkerError | None = None
            try:
                ready = self._next(stream)  # while the device computes
            except WorkerError as error:
                died = error
            self._account(launched)
            self.progress.seconds = before + time.monotonic() - started
            advance(self._cases_of_step(), self._text())
            if launched.stopped or died or self._is_kept():
                self._save()
            if launched.stopped:
                raise KeyboardInterrupt(*([] if stop.signum is None else [stop.signum]))
            if died:
                raise died
        return ready

    def _launch(self, ready: _Ready, stopping: bool) -> Launched:
        cases, windows = ready
        launched = self.step.launch(cases, windows, self.at, stopping)
        examples, skipped = self.lesson.train, self.progress.skipped
        self.skips.read(skipped, [examples[number].key for number in cases.numbers])
        skipped.update({examples[number].key: reason for number, reason in cases.bad})
        return launched

    def _account(self, launched: Launched) -> None:
        """Count a mini-batch, and read the losses when due. Raises DivergedError as `_settle`."""
        due = self._losses.add(launched, self.at)
        self.progress.step += 1
        if due:
            self._settle()

    def _settle(self) -> None:
        """Wait for all mini-batches so far. Raises DivergedError, so that spoilt weights never get into a checkpoint."""
        for loss, cases in self._losses.read():
            self.progress.loss += loss * cases
            self.progress.cases += cases

    def _is_kept(self) -> bool:
        """Whether a checkpoint inside the epoch is due."""
        every, step = self.settings.checkpoint_steps, self.progress.step
        return bool(every) and step < self.steps and step % every == 0

    def _end_epoch(self) -> None:
        progress = self.progress
        self._settle()
        self.step.require_finite(self.at.done)
        self.skips.gather(progress.skipped, self.place.world)
        self._require_cases()
        if not progress.history:
            self._save()  # a model without a checkpoint beside it could not be told from another's, nor the run be resumed
        row = row_of(progress, self.at.done, self.step.rate, self._measured())
        best = is_best(row, progress.best, self.settings.best_by, self.lesson.judge)
        progress.history.append(row)
        if best:
            progress.best = timeless(row)
        told = Told(progress, row)
        for observer in self.observers:
            observer.measured(told, best)
        progress.epoch, progress.step = progress.epoch + 1, 0
        progress.loss, progress.cases, progress.seconds = 0.0, 0, 0.0
        self._save()
        for observer in self.observers:
            observer.ended(told)

    def _require_cases(self) -> None:
        if not self.progress.cases:
            key, reason = next(iter(self.progress.skipped.items()))
            raise ValueError(f"data.train must hold readable photographs, got none: {key}: {reason}")

    def _measured(self) -> dict[str, float]:
        """The measures on validation and test photographs; none in an epoch without an evaluation.

        Raises WorkerError, after a checkpoint.
        """
        if not is_looked_at(self.settings, self.progress.epoch + 1):
            return {}
        parts = {"val": self.lesson.validation, "test": self.lesson.held_out}
        try:
            return {
                f"{part}_{name}": value
                for part, draws in parts.items()
                if len(draws.pictures)
                for name, value in self._look(draws).items()
            }
        except WorkerError:
            self._save()
            raise

    def _look(self, draws: Draws) -> dict[str, float]:
        place, progress = self.place, self.progress
        found, bad = look(self.net, draws, place.world, place.device, batch=self.settings.batch, workers=place.workers)
        self.skips.read(progress.skipped, [example.key for example in draws.pictures.examples])
        progress.skipped.update(bad)
        return found

    def _save(self) -> None:
        self._settle()
        self.step.require_finite(self.at.done)
        self.progress.scaler = self.step.scaler.state_dict()
        if self.place.world.first:
            self.out.put(CHECKPOINT, lambda partial: runs.save_checkpoint(partial, self.net, self.step.update, **self._state()))
        for observer in self.observers:
            observer.saved(self.progress)

    def _state(self) -> dict[str, Any]:
        return {
            "progress": self.progress, "settings": self.settings.to_dict(), "fingerprint": self.lesson.fingerprint,
            "identity": self.lesson.identity,
        }  # fmt: skip

    def _means_of_data(self, threads: int) -> list[list[float]]:
        """The means of the training set's planes; a column that does not learn keeps its own."""
        found = means(self.lesson.draws.pictures, self.settings.mean_images, self.settings.seed, threads)
        return [
            list(column.spec.mean if kept else found[column.spec.view, column.spec.plane])
            for column, kept in ((each, keeps_pixels(each) or each in self.still) for each in columns_of(self.net))
        ]

    def _set_means(self, wanted: list[list[float]]) -> None:
        ours = multi_column(self.net)
        if ours is not None:
            ours.set_means(wanted)
            return
        for column, mean in zip(columns_of(self.net), wanted, strict=True):
            column.set_mean(mean)

    def _learn_mode(self) -> None:
        self.net.train()
        for column in self.still:
            column.eval()

    def _next(self, stream: Iterator[Cases]) -> _Ready | None:
        """The next mini-batch and its windows on the device, None at the end."""
        cases = next(stream, None)
        if cases is None:
            return None
        return cases, self._windows(cases) if cases.numbers else ()

    def _windows(self, cases: Cases) -> tuple[Tensor, ...]:
        if self._cutting is not None:
            return self._cutting.of(cases)
        return cases.on(self.place.device, self.lesson.draws.pictures.inputs)

    def _cases_of_step(self) -> int:
        return min(self.settings.batch, len(self.lesson.train) - (self.progress.step - 1) * self.settings.batch)

    def _text(self) -> str:
        progress = self.progress
        said = f", loss {progress.loss / progress.cases:.4f}" if progress.cases else ""
        return f"epoch {progress.epoch + 1} of {self.settings.epochs}{said}"
