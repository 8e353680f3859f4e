"""The training of a network on a data set, from the settings to the model files (paper III-A to III-G, design.md section 3)."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors.torch import save_file
from torch import Tensor, nn

from dcnn_fast.data import DataSet, Example
from dcnn_fast.nets import Column, Input, Model, MultiColumn, save_model
from dcnn_fast.training import checkpoint as runs
from dcnn_fast.training.distributed import World, joined
from dcnn_fast.training.files import put
from dcnn_fast.training.interrupts import interrupts
from dcnn_fast.training.learning import columns_of, computed_in, held_still, multi_column, rate_groups, still_columns
from dcnn_fast.training.loading import Cases, Draws, Request, epoch_order, load
from dcnn_fast.training.log import Advance, Board, progress_bar, write_csv, write_skipped
from dcnn_fast.training.losses import counts_of, loss_of, targets_of
from dcnn_fast.training.machine import require_machine
from dcnn_fast.training.pictures import Pictures, generator, means
from dcnn_fast.training.settings import Settings, differences, settings_from_dict
from dcnn_fast.training.update_rule import ConvNetUpdate
from dcnn_fast.training.validation import look
from dcnn_fast.viz.curves import save_curves

CHECKPOINT, BEST, LAST = "checkpoint.safetensors", "best.safetensors", "last.safetensors"
LOG, SKIPPED, CURVES = "log.csv", "skipped.csv", "curves.png"
_SECONDS_BETWEEN_PICTURES = 60.0


class DivergedError(ArithmeticError):
    """A loss or a weight that is not finite; the message names the step."""


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    steps: mini-batches in all. history: a row for each epoch, in the columns of `log.FIELDS`. best: the row of the best epoch,
    None without held-out examples. skipped: the photographs that could not be read, each with the reason.
    """

    steps: int
    history: tuple[dict[str, Any], ...]
    best: dict[str, Any] | None
    skipped: dict[str, str]


def train(
    net: nn.Module,
    data: DataSet,
    settings: Settings,
    out: Path,
    *,
    resume: bool = False,
    device: torch.device | str = "cpu",
    workers: int = 0,
    cache: int = 0,
    threads: int = 1,
    progress: bool = False,
    tensorboard: bool = False,
) -> Outcome:
    """Train `net` on data.train, look at data.test, and leave the run in the folder `out`.

    net: any module with `inputs` (a tuple of `nets.Input`) whose forward takes one batch of windows for each and gives logits
        [n, labels], or a tuple of them where there is a second task (paper eq. 3). It comes back trained, in evaluation mode;
        `best.safetensors` has the weights of the best epoch.
    resume: go on from the checkpoint in `out` where there is one: the result is that of a run that was never interrupted, bit
        for bit on the same machine with the same number of threads. Settings, data and network must be those of the run.
    device: "cpu", "cuda", ... workers: processes that decode; they change no result. cache: megabytes of photographs, or of
        their planes, kept in memory. threads: that fill it. progress: a bar on stderr. tensorboard: write its log too.

    `out` gets checkpoint.safetensors after each epoch, best.safetensors and last.safetensors (model files, or plain weights
    for a module that is not a `MultiColumn`), log.csv and curves.png. A photograph that cannot be read is skipped and named in
    skipped.csv: its mini-batch is smaller and the mean over the cases that are left. Ctrl-C and SIGTERM finish the step, write
    a checkpoint and raise KeyboardInterrupt. Under torchrun every process takes its share of each mini-batch and the gradients
    are summed, so that the weights are those of one process within rounding, but for dropout, whose masks each process draws
    for its own share.

    Raises ValueError naming what cannot be used (device, settings, labels, no readable photograph), CheckpointError where `out`
    holds another run, and DivergedError when the loss or a weight is not finite; the checkpoint is then the last good one.
    """
    require_machine(torch.device(device), tensorboard=tensorboard)
    with ExitStack() as stack:
        world, where = stack.enter_context(joined(torch.device(device)))
        if world.first:
            out.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_locked(out))
        world.wait()
        stack.enter_context(computed_in(net, settings.precision))
        still = still_columns(net, settings)
        stack.enter_context(held_still(still))
        stack.enter_context(torch.random.fork_rng([where] if where.type == "cuda" else []))
        run = _Run(net.to(where), data, settings, out, world, where, workers, still)
        run.begin(resume, cache, threads)
        board = Board(out / "tensorboard", run.steps_done) if tensorboard and world.first else None
        if board is not None:
            stack.callback(board.close)
        stop = stack.enter_context(interrupts())
        advance = stack.enter_context(progress_bar(*run.images(), shown=progress and world.first))
        run.go(stop, advance, board)
        return run.finish()


@dataclass(frozen=True)
class _Launched:
    """A mini-batch that the device works on: its loss, how many examples it has, and whether a process was told to stop."""

    loss: Tensor
    cases: int
    stopped: bool


class _Run:
    """One run: what it is given, and where it stands."""

    def __init__(
        self, net: nn.Module, data: DataSet, settings: Settings, out: Path, world: World, device: torch.device, workers: int,
        still: list[Column],
    ) -> None:  # fmt: skip
        inputs: tuple[Input, ...] = net.inputs  # type: ignore[assignment]
        self.net, self.data, self.settings, self.out = net, data, settings, out
        self.world, self.device, self.workers, self.still = world, device, workers, still
        self.ours, self.columns = multi_column(net), columns_of(net)
        self.train_set, self.test_set = _usable(self.ours, data)
        self.fingerprint = runs.fingerprint_of(data, inputs, _architecture(self.columns))
        decoded = device.type != "cpu"
        self.pictures = Pictures(self.train_set, inputs, decoded=decoded)
        self.draws = Draws(self.pictures, seed=settings.seed, flip=settings.flip)
        held_out = Pictures(self.test_set, inputs, decoded=decoded)
        self.held_out = Draws(held_out, seed=settings.seed, views=settings.test_views)
        self.update = ConvNetUpdate(rate_groups(net, settings))
        self.learning = [parameter for parameter in net.parameters() if parameter.requires_grad]
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "fp16")
        self.steps = math.ceil(len(self.train_set) / settings.batch)
        self.progress = runs.Progress()
        self.drawn = time.monotonic()

    @property
    def steps_done(self) -> int:
        """Mini-batches since the run began."""
        return self.progress.epoch * self.steps + self.progress.step

    def images(self) -> tuple[int, int]:
        """The images of the whole run, and those that are done."""
        count = len(self.train_set)
        return self.settings.epochs * count, self.progress.epoch * count + self.progress.step * self.settings.batch

    def begin(self, resume: bool, cache: int, threads: int) -> None:
        """Fill the cache, then start afresh or take up the checkpoint."""
        path = self.out / CHECKPOINT
        found = self.world.first_ones(path.is_file())
        if found and not resume:
            raise runs.CheckpointError(f"out must not hold a run unless it is to be resumed, got {self.out}")
        if cache:
            self.pictures.hold(cache, threads)
        if found:
            self._take_up(runs.load_checkpoint(path))
        elif self.settings.mean == "data" and self.columns:
            self.progress.means = self.world.first_ones(self._means_of_data(threads))
        if self.progress.means is not None:
            self._set_means(self.progress.means)
        self.world.share([*self.net.parameters(), *self.net.buffers()])

    def go(self, stop: threading.Event, advance: Advance, board: Board | None) -> None:
        """Every epoch that is left. Raises KeyboardInterrupt, after a checkpoint, when `stop` is set."""
        with closing(load(self.draws, _Requests(self), self.workers)) as stream:
            self._go(stream, stop, advance, board)

    def _go(self, stream: Iterator[Cases], stop: threading.Event, advance: Advance, board: Board | None) -> None:
        ready = self._next(stream)
        while self.progress.epoch < self.settings.epochs:
            self._learn_mode()
            started, before = time.monotonic(), self.progress.seconds
            while self.progress.step < self.steps:
                assert ready is not None
                launched = self._launch(*ready, stop.is_set())
                ready = self._next(stream)  # while the device computes
                stopped = self._account(launched)
                self.progress.seconds = before + time.monotonic() - started
                advance(self._cases_of_step(), self._text())
                every = self.settings.checkpoint_steps
                inside = self.progress.step < self.steps
                if stopped or (every and inside and self.progress.step % every == 0):
                    self._save()
                if stopped:
                    raise KeyboardInterrupt
            self._end_epoch(board)

    def finish(self) -> Outcome:
        """Write the last model and leave the network ready for use."""
        self.net.eval()
        progress = self.progress
        if self.world.first:
            self._save_model(LAST, progress.history[-1])
            self._write_log(last=True)
        self.world.wait()
        return Outcome(self.steps_done, tuple(progress.history), progress.best, dict(progress.skipped))

    def _take_up(self, checkpoint: runs.Checkpoint) -> None:
        found = differences(settings_from_dict(checkpoint.settings), self.settings)
        if checkpoint.fingerprint != self.fingerprint:
            found.append("the data set or the network is another")
        if found:
            raise runs.CheckpointError(f"the run in {self.out} cannot be resumed: {'; '.join(found)}")
        runs.restore(checkpoint, self.net, self.update)
        self.progress = checkpoint.progress
        self.scaler.load_state_dict(checkpoint.progress.scaler)

    def _means_of_data(self, threads: int) -> list[list[float]]:
        """The means of the training set's planes; a column that does not learn keeps the one it was trained with."""
        if not self.world.first:
            return []
        found = means(self.pictures, self.settings.mean_images, self.settings.seed, threads)
        return [
            list(column.spec.mean if column.spec.frozen or column in self.still else found[column.spec.view, column.spec.plane])
            for column in self.columns
        ]

    def _set_means(self, wanted: list[list[float]]) -> None:
        if self.ours is not None:
            self.ours.set_means(wanted)
            return
        for column, mean in zip(self.columns, wanted, strict=True):
            column.set_mean(mean)

    def _learn_mode(self) -> None:
        self.net.train()
        for column in self.still:
            column.eval()

    def _next(self, stream: Iterator[Cases]) -> tuple[Cases, tuple[Tensor, ...]] | None:
        """The next mini-batch and its windows on the device, None at the end."""
        cases = next(stream, None)
        if cases is None:
            return None
        return cases, cases.on(self.device, self.draws.pictures.inputs) if cases.numbers else ()

    def _launch(self, cases: Cases, windows: tuple[Tensor, ...], stopping: bool) -> _Launched:
        """Forward, backward and update of one mini-batch, of which the device may still be at work."""
        progress = self.progress
        for group in self.update.param_groups:
            factor = self.settings.factor(progress.epoch, progress.step, self.steps, group["schedule"])
            group["lr"] = group["base"] * factor
        self._seed_dropout()
        targets = targets_of([self.train_set[number] for number in cases.numbers])
        counts = torch.cat([counts_of(targets, 2), torch.tensor([len(cases.numbers), float(stopping)]).double()])
        *labelled, present, stopped = self.world.sum(counts).tolist()
        loss = torch.zeros((), device=self.device)
        self.update.zero_grad()
        if cases.numbers:
            loss = loss_of(self.net(*windows), targets.to(self.device), torch.tensor(labelled))
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        loss = self._summed(loss.detach())
        if present:
            self.scaler.step(self.update)
            self.scaler.update()
        for number, reason in cases.bad:
            progress.skipped.setdefault(self.train_set[number].key, reason)
        return _Launched(loss, int(present), bool(stopped))

    def _account(self, launched: _Launched) -> bool:
        """Wait for a mini-batch and count it; returns whether any process was told to stop.

        Raises DivergedError; weights that such a step has spoilt never get into a checkpoint.
        """
        progress, value = self.progress, launched.loss.item()
        if not math.isfinite(value):
            where = f"step {self.steps_done} (epoch {progress.epoch + 1})"
            raise DivergedError(f"the loss must stay finite, got {value} at {where}")
        progress.loss += value * launched.cases
        progress.cases += launched.cases
        progress.step += 1
        return launched.stopped

    def _summed(self, loss: Tensor) -> Tensor:
        """The loss of all processes' shares; their gradients are summed on the way."""
        if self.world.size > 1:
            for parameter in self.learning:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            self.world.sum_all([*(parameter.grad for parameter in self.learning if parameter.grad is not None), loss])
        return loss

    def _seed_dropout(self) -> None:
        """Dropout's masks depend on the seed and the step alone, so a run that goes on from here draws the same ones."""
        words = generator("dropout", self.settings.seed, self.steps_done, self.world.rank)
        torch.manual_seed(int(words.integers(2**63)))

    def _end_epoch(self, board: Board | None) -> None:
        progress, settings = self.progress, self.settings
        self._require_finite()
        for found in self.world.gather(progress.skipped):
            progress.skipped.update(found)
        if not progress.cases:
            key, reason = next(iter(progress.skipped.items()))
            raise ValueError(f"data.train must hold readable photographs, got none: {key}: {reason}")
        measured: dict[str, float] = {}
        if self._is_looked_at():
            measured, bad = look(self.net, self.held_out, self.world, self.device, batch=settings.batch, workers=self.workers)
            progress.skipped.update(bad)
        row: dict[str, Any] = {
            "epoch": progress.epoch + 1, "step": self.steps_done, "rate": self.update.param_groups[0]["lr"],
            "loss": progress.loss / progress.cases, "images": progress.cases, "seconds": round(progress.seconds, 3),
            "images_per_second": round(progress.cases / max(progress.seconds, 1e-9), 1), "skipped": len(progress.skipped),
            **{f"test_{name}": None if math.isnan(value) else value for name, value in measured.items()},
        }  # fmt: skip
        progress.history.append(row)
        if self._is_best(row):
            progress.best = row
            if self.world.first:
                self._save_model(BEST, row)
        progress.epoch, progress.step = progress.epoch + 1, 0
        progress.loss, progress.cases, progress.seconds = 0.0, 0, 0.0
        self._save()
        if self.world.first:
            self._write_log()
            if board is not None:
                board.row(row)

    def _is_looked_at(self) -> bool:
        every, epoch = self.settings.evaluate_every, self.progress.epoch + 1
        return bool(self.test_set) and bool(every) and (epoch % every == 0 or epoch == self.settings.epochs)

    def _is_best(self, row: dict[str, Any]) -> bool:
        name = f"test_{self.settings.best_by}"
        if row.get(name) is None:
            return False
        best = self.progress.best
        return best is None or (row[name] < best[name] if self.settings.best_by == "loss" else row[name] > best[name])

    def _require_finite(self) -> None:
        """A gradient may overflow where the loss did not: such weights are neither looked at nor kept."""
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self.learning):
            raise DivergedError(f"the weights must stay finite, got NaN or infinity at step {self.steps_done}")

    def _save(self) -> None:
        self._require_finite()
        self.progress.scaler = self.scaler.state_dict()
        if self.world.first:
            runs.save_checkpoint(
                self.out / CHECKPOINT, self.net, self.update, self.progress, self.settings.to_dict(), self.fingerprint
            )

    def _save_model(self, name: str, row: dict[str, Any]) -> None:
        provenance = {
            "settings": self.settings.to_dict(), "epoch": row["epoch"], "steps": row["step"], "measures": row,
            "data": _summary(self.data), "skipped": len(self.progress.skipped), "version": metadata.version("dcnn-fast"),
        }  # fmt: skip
        net = self.net
        if isinstance(net, MultiColumn):
            put(self.out / name, lambda partial: save_model(Model(net, {"training": provenance}), partial))
            return
        tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in net.state_dict().items()}
        put(self.out / name, lambda partial: save_file(tensors, str(partial)))

    def _write_log(self, last: bool = False) -> None:
        write_csv(self.progress.history, self.out / LOG)
        if self.progress.skipped:
            write_skipped(self.progress.skipped, self.out / SKIPPED)
        if last or time.monotonic() - self.drawn > _SECONDS_BETWEEN_PICTURES:
            put(self.out / CURVES, lambda partial: save_curves(self.progress.history, partial))
            self.drawn = time.monotonic()

    def _cases_of_step(self) -> int:
        return min(self.settings.batch, len(self.train_set) - (self.progress.step - 1) * self.settings.batch)

    def _text(self) -> str:
        mean = self.progress.loss / max(self.progress.cases, 1)
        return f"epoch {self.progress.epoch + 1} of {self.settings.epochs}, loss {mean:.4f}"


class _Requests:
    """The mini-batches that are left of a run: this process's share of each, through all epochs, so that workers never idle."""

    def __init__(self, run: _Run) -> None:
        self.run = run
        self.epoch, self.step = run.progress.epoch, run.progress.step

    def __iter__(self) -> Iterator[Request]:
        settings, world = self.run.settings, self.run.world
        for epoch in range(self.epoch, settings.epochs):
            order = epoch_order(settings.seed, epoch, len(self.run.train_set))
            for step in range(self.step if epoch == self.epoch else 0, self.run.steps):
                batch = order[step * settings.batch : (step + 1) * settings.batch]
                yield Request(epoch, tuple(batch[world.rank :: world.size].tolist()))


def _usable(net: MultiColumn | None, data: DataSet) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """The examples that have what is learnt or looked at. Raises ValueError when there is none, or the labels differ."""
    if net is not None:
        for name, ours, theirs in (
            ("labels", net.spec.labels, data.labels),
            ("attributes", net.spec.attributes, data.attributes if net.spec.attributes else ()),
        ):
            if ours != theirs:
                raise ValueError(f"the network's {name} must be the data's, {list(theirs)}; got {list(ours)}")
    second = net is None or bool(net.spec.attributes)
    trained = tuple(example for example in data.train if example.label >= 0 or (second and example.attribute >= 0))
    if not trained:
        raise ValueError(f"data.train must hold labelled examples, got none of {len(data.train)}")
    return trained, tuple(example for example in data.test if example.label >= 0)


def _architecture(columns: Sequence[Column]) -> list[Any]:
    """What the columns are, without what a run itself changes in them."""
    return [replace(column.spec, mean=(0.0,) * column.spec.channels) for column in columns]


def _summary(data: DataSet) -> dict[str, Any]:
    return {"labels": list(data.labels), "train": len(data.train), "test": len(data.test), "notes": list(data.notes)}


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """The folder for this run alone: two runs in one folder would write over each other."""
    try:
        with FileLock(out / ".lock", timeout=0):
            yield
    except Timeout:
        raise runs.CheckpointError(f"out must not be in use by another run, got {out}") from None
