"""The training of a network on a data set, from the settings to the model files (paper III-A to III-G, design.md section 3)."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from dcnn_fast.data import DataSet, Example
from dcnn_fast.data.plane_cache import PlaneCache
from dcnn_fast.nets import AnyColumn, Column, Input, Model, MultiColumn, keeping_means, save_model
from dcnn_fast.ops.plain_torch import default_modes, plain_torch
from dcnn_fast.training import checkpoint as runs
from dcnn_fast.training.distributed import World, joined
from dcnn_fast.training.folder import BEST, BOARD, CHECKPOINT, CURVES, LAST, LOG, SKIPPED, Folder, require_folder
from dcnn_fast.training.interrupts import Asked, interrupts
from dcnn_fast.training.learning import columns_of, computed_in, held_still, multi_column, rate_groups, still_columns
from dcnn_fast.training.learnt import summary_of
from dcnn_fast.training.loading import Cases, Draws, Request, epoch_order, load
from dcnn_fast.training.log import Advance, Board, progress_bar, write_csv, write_skipped
from dcnn_fast.training.losses import counts_of, loss_of, targets_of
from dcnn_fast.training.machine import generator_of, require_machine
from dcnn_fast.training.pictures import Pictures, generator, means
from dcnn_fast.training.progress import Progress
from dcnn_fast.training.settings import Settings, differences
from dcnn_fast.training.signs import is_looked_at, signs_of
from dcnn_fast.training.update_rule import ConvNetUpdate
from dcnn_fast.training.validation import look
from dcnn_fast.training.workers import WorkerError
from dcnn_fast.version import version
from dcnn_fast.viz.curves import save_curves

if TYPE_CHECKING:
    from rich.console import Console

_SECONDS_BETWEEN_PICTURES = 60.0


class DivergedError(ArithmeticError):
    """A loss or a weight that is not finite; the message names the step."""


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    steps: mini-batches in all. history: a row for each epoch, in the columns of `log.FIELDS`. best: the row of the best epoch,
    None without held-out examples. skipped: the photographs that could not be read when they were last tried, each with the
    reason. unwritten: the files of the run that could not be written, each with the reason.
    """

    steps: int
    history: tuple[dict[str, Any], ...]
    best: dict[str, Any] | None
    skipped: dict[str, str]
    unwritten: dict[str, str] = field(default_factory=dict)


def _warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=2)


def train(
    net: nn.Module,
    data: DataSet,
    settings: Settings,
    out: Path,
    *,
    resume: bool = False,
    device: torch.device | str = "cpu",
    workers: int = 0,
    cache: int | PlaneCache = 0,
    threads: int = 1,
    progress: Console | bool = False,
    tensorboard: bool = False,
    origin: str = "",
    seen: Collection[str] = (),
    warn: Callable[[str], None] = _warn,
) -> Outcome:
    """Train `net` on data.train, look at data.test, and leave the run in the folder `out`.

    net: any module with `inputs` (a tuple of `nets.Input`) whose forward takes one batch of windows for each and gives logits
        [n, labels], or a tuple of them where there is a second task (paper eq. 3). It comes back trained, in evaluation mode;
        `best.safetensors` has the weights of the best epoch.
    resume: go on from the checkpoint in `out` where there is one: the result is that of a run that was never interrupted, bit
        for bit on the same machine with the same number of threads. Settings, data and network must be those of the run.
    device: "cpu", "cuda", ... workers: processes that decode; they change no result. cache: megabytes of photographs, or of
        their planes, kept in memory, or a cache of planes on disk, for those that are looked
        at too. threads: that fill it. progress: a bar on stderr or on that console. tensorboard: write
        its log too. origin: what the network starts from, in words or as a digest; a run that goes on must have the same.
        seen: marks of photographs that it learnt from before (`Learnt.seen`), which the model files go on naming.
        warn: told, at once, of a file that cannot be written, and of signs that nothing is learnt (`signs_of`).

    `out` gets checkpoint.safetensors after each epoch, best.safetensors and last.safetensors (model files, or plain weights
    for a module that is not a `MultiColumn`), log.csv and curves.png; one that cannot be written is named in
    `Outcome.unwritten`, and the run goes on without it. A photograph that cannot be read is skipped and named in skipped.csv:
    its mini-batch is smaller and the mean over the cases that are left; the next epoch tries it again. Ctrl-C, SIGTERM and
    SIGHUP finish the step, write a checkpoint and raise KeyboardInterrupt with the signal's number. What the process has set
    (autocast, modes, default device, generators) changes nothing and is as it was afterwards. Under torchrun every process
    takes its share of each mini-batch and the gradients are summed, so that the weights are those of one process within
    rounding, but for dropout, whose masks each process draws for its own share.

    Raises ValueError naming what cannot be used (device, settings, labels, no readable photograph), CheckpointError where `out`
    holds another run or anything else, and DivergedError when the loss or a weight is not finite; the checkpoint is then the
    last good one. WorkerError, after a checkpoint, where a worker process died.
    """
    require_machine(torch.device(device), tensorboard=tensorboard)
    if any(parameter.is_inference() for parameter in net.parameters()):
        raise ValueError("net must not have been made in torch.inference_mode, where nothing can be learnt")
    folder = Folder(out, warn)
    with ExitStack() as stack:
        stack.enter_context(default_modes(gradients=True))
        world, where = stack.enter_context(joined(torch.device(device)))
        if world.first:
            require_folder(out, resume=resume)
            stack.enter_context(folder.locked())
            require_folder(out, resume=resume)  # another run may have been here meanwhile
        world.wait()
        stack.enter_context(computed_in(net, settings.precision, where))
        stack.enter_context(keeping_means(net))
        still = still_columns(net, settings)
        stack.enter_context(held_still(still))
        stack.enter_context(torch.random.fork_rng([where] if where.type == "cuda" else []))
        run = _Run(net.to(where), data, settings, folder, world, where, workers, still, origin, seen)
        run.begin(cache, threads)
        board = Board(out / BOARD, run.steps_done) if tensorboard and world.first else None
        if board is not None:
            stack.callback(board.close)
        stop = stack.enter_context(interrupts())
        advance = stack.enter_context(progress_bar(*run.images(), shown=progress if world.first else False))
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
        self, net: nn.Module, data: DataSet, settings: Settings, out: Folder, world: World, device: torch.device, workers: int,
        still: list[AnyColumn], origin: str, seen: Collection[str],
    ) -> None:  # fmt: skip
        inputs: tuple[Input, ...] = net.inputs  # type: ignore[assignment]
        self.net, self.data, self.settings, self.out = net, data, settings, out
        self.world, self.device, self.workers, self.still = world, device, workers, still
        self.ours, self.columns = multi_column(net), columns_of(net)
        self.train_set, self.test_set = _usable(self.ours, data)
        self.summary = summary_of(data, self.train_set, seen)
        self.fingerprint = runs.fingerprint_of(data, inputs, _architecture(self.columns))
        self.identity = runs.identity_of(data, inputs, _architecture(self.columns), origin)
        decoded = device.type != "cpu"
        self.pictures = Pictures(self.train_set, inputs, decoded=decoded)
        self.draws = Draws(self.pictures, seed=settings.seed, flip=settings.flip)
        held_out = Pictures(self.test_set, inputs, decoded=decoded)
        self.held_out = Draws(held_out, seed=settings.seed, views=settings.test_views)
        self.update = ConvNetUpdate(rate_groups(net, settings))
        self.learning = [parameter for parameter in net.parameters() if parameter.requires_grad]
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "fp16")
        self.steps = math.ceil(len(self.train_set) / settings.batch)
        self.progress = Progress()
        self.readable: set[str] = set()  # skipped before, and read in this epoch
        self.drawn = time.monotonic()

    @property
    def steps_done(self) -> int:
        """Mini-batches since the run began."""
        return self.progress.epoch * self.steps + self.progress.step

    def images(self) -> tuple[int, int]:
        """The images of the whole run, and those that are done."""
        count = len(self.train_set)
        return self.settings.epochs * count, self.progress.epoch * count + self.progress.step * self.settings.batch

    def begin(self, cache: int | PlaneCache, threads: int) -> None:
        """Start afresh or take up the checkpoint, and fill the cache."""
        path = self.out / CHECKPOINT
        found = self.world.first_ones(path.is_file())
        if found:
            self._take_up(runs.load_checkpoint(path))
        if cache:
            self.pictures.hold(cache, threads)
        if isinstance(cache, PlaneCache):
            self.held_out.pictures.hold(cache, threads)
        if not found and self.settings.mean == "data" and self.columns:
            self.progress.means = self.world.first_ones(self._means_of_data(threads))
        if self.progress.means is not None:
            self._set_means(self.progress.means)
        self.world.share([*self.net.parameters(), *self.net.buffers()])

    def go(self, stop: Asked, advance: Advance, board: Board | None) -> None:
        """Every epoch that is left. Raises KeyboardInterrupt, after a checkpoint, when `stop` is set."""
        with closing(load(self.draws, _Requests(self), self.workers)) as stream:
            self._go(stream, stop, advance, board)

    def _go(self, stream: Iterator[Cases], stop: Asked, advance: Advance, board: Board | None) -> None:
        ready = self._next(stream)
        while self.progress.epoch < self.settings.epochs:
            self._learn_mode()
            started, before = time.monotonic(), self.progress.seconds
            while self.progress.step < self.steps:
                assert ready is not None
                launched = self._launch(*ready, stop.is_set())
                died: WorkerError | None = None
                try:
                    ready = self._next(stream)  # while the device computes
                except WorkerError as error:
                    died = error
                stopped = self._account(launched)
                self.progress.seconds = before + time.monotonic() - started
                advance(self._cases_of_step(), self._text())
                every = self.settings.checkpoint_steps
                inside = self.progress.step < self.steps
                if stopped or died or (every and inside and self.progress.step % every == 0):
                    self._save()
                if stopped:
                    raise KeyboardInterrupt(*([] if stop.signum is None else [stop.signum]))
                if died:
                    raise died
            self._end_epoch(board)

    def finish(self) -> Outcome:
        """Write the last model and leave the network ready for use."""
        self.net.eval()
        progress = self.progress
        if self.world.first:
            self._save_model(LAST, progress.history[-1])
            self._write_log(last=True)
        self.world.wait()
        skipped, unwritten = dict(progress.skipped), dict(self.out.unwritten)
        return Outcome(self.steps_done, tuple(progress.history), progress.best, skipped, unwritten)

    def _take_up(self, checkpoint: runs.Checkpoint) -> None:
        found = differences(checkpoint.settings, self.settings)
        found += runs.identity_differences(checkpoint.identity, self.identity)
        if not found and checkpoint.fingerprint != self.fingerprint:
            found.append("the data set or the network is another")
        if found:
            raise runs.CheckpointError(f"the run in {self.out.path} cannot be resumed: {'; '.join(found)}")
        self._require_fits(checkpoint.progress)
        runs.restore(checkpoint, self.net, self.update)
        self.progress = checkpoint.progress
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(checkpoint.progress.scaler)

    def _require_fits(self, progress: Progress) -> None:
        """Raise CheckpointError where a run with these settings cannot stand there."""
        if progress.epoch > self.settings.epochs or progress.step > self.steps:
            raise runs.CheckpointError(
                f"the checkpoint must be of at most {self.settings.epochs} epochs of {self.steps} steps, got epoch "
                f"{progress.epoch}, step {progress.step}"
            )
        if progress.best is not None and progress.best.get(f"test_{self.settings.best_by}") is None:
            raise runs.CheckpointError(f"the checkpoint's best epoch must have a {self.settings.best_by}, got none")
        channels = [len(column.spec.mean) for column in self.columns]
        if progress.means is not None and [len(mean) for mean in progress.means] != channels:
            raise runs.CheckpointError(f"the checkpoint's means must be of {channels} channels, a number for each column")
        if self.scaler.is_enabled() and not progress.scaler:
            raise runs.CheckpointError("the checkpoint must have the loss scale of fp16, got none")

    def _means_of_data(self, threads: int) -> list[list[float]]:
        """The means of the training set's planes; a column that does not learn keeps the one it was trained with."""
        if not self.world.first:
            return []
        found = means(self.pictures, self.settings.mean_images, self.settings.seed, threads)
        return [
            list(column.spec.mean if column.keeps_mean or column in self.still else found[column.spec.view, column.spec.plane])
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
        counts = torch.cat(
            [counts_of(targets, 2), torch.tensor([len(cases.numbers), float(stopping)], dtype=torch.float64, device="cpu")]
        )
        *labelled, present, stopped = self.world.sum(counts).tolist()
        loss = torch.zeros((), dtype=torch.float32, device=self.device)
        self.update.zero_grad()
        if cases.numbers:
            with plain_torch(self.device):
                loss = loss_of(
                    self.net(*windows), targets.to(self.device), torch.tensor(labelled, dtype=torch.float64, device="cpu")
                )
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        loss = self._summed(loss.detach())
        if present:
            self.scaler.step(self.update)
            self.scaler.update()
        self._note_read([self.train_set[number].key for number in cases.numbers])
        for number, reason in cases.bad:
            progress.skipped[self.train_set[number].key] = reason
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

    def _note_read(self, keys: Sequence[str]) -> None:
        """What is read now is no longer skipped: a drive that was away for a while is back."""
        for key in keys:
            if self.progress.skipped.pop(key, None) is not None:
                self.readable.add(key)

    def _gather_skipped(self) -> None:
        """What all processes skipped, but for what one of them has read since."""
        everyones = self.world.gather((self.progress.skipped, self.readable))
        read = set().union(*(readable for _, readable in everyones))
        for skipped, _ in everyones:
            self.progress.skipped.update(skipped)
        self._note_read(list(read))
        self.readable = set()

    def _seed_dropout(self) -> None:
        """Dropout's masks depend on the seed and the step alone, so a run that goes on from here draws the same ones."""
        words = generator("dropout", self.settings.seed, self.steps_done, self.world.rank)
        generator_of(self.device).manual_seed(int(words.integers(2**63)))

    def _end_epoch(self, board: Board | None) -> None:
        progress, settings = self.progress, self.settings
        self._require_finite()
        self._gather_skipped()
        if not progress.cases:
            key, reason = next(iter(progress.skipped.items()))
            raise ValueError(f"data.train must hold readable photographs, got none: {key}: {reason}")
        if not progress.history:
            self._save()  # a model without a checkpoint beside it could not be told from another's, nor the run be resumed
        measured: dict[str, float] = {}
        if self._is_looked_at():
            try:
                measured, bad = look(
                    self.net, self.held_out, self.world, self.device, batch=settings.batch, workers=self.workers
                )
            except WorkerError:
                self._save()
                raise
            self._note_read([example.key for example in self.test_set])
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
            if is_looked_at(progress.epoch, settings.epochs):
                for sign in signs_of(progress.history, self.train_set):
                    self.out.warn(sign)
            self._write_log()
            if board is not None:
                self.out.attempt(BOARD, lambda: board.row(row))

    def _is_looked_at(self) -> bool:
        every, epoch = self.settings.evaluate_every, self.progress.epoch + 1
        return bool(self.test_set) and bool(every) and (epoch % every == 0 or epoch == self.settings.epochs)

    def _is_best(self, row: dict[str, Any]) -> bool:
        name = f"test_{self.settings.best_by}"
        if row.get(name) is None:
            return False
        best = self.progress.best
        if best is None or row["test_count"] != best["test_count"]:  # fewer could be read: no measure beside that of all
            return best is None or row["test_count"] > best["test_count"]
        better: bool = row[name] < best[name] if self.settings.best_by == "loss" else row[name] > best[name]
        return better

    def _require_finite(self) -> None:
        """A gradient may overflow where the loss did not: such weights are neither looked at nor kept."""
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self.learning):
            raise DivergedError(f"the weights must stay finite, got NaN or infinity at step {self.steps_done}")

    def _save(self) -> None:
        self._require_finite()
        self.progress.scaler = self.scaler.state_dict()
        if self.world.first:
            self.out.put(
                CHECKPOINT,
                lambda partial: runs.save_checkpoint(
                    partial, self.net, self.update, self.progress, self.settings.to_dict(), self.fingerprint, self.identity
                ),
            )

    def _save_model(self, name: str, row: dict[str, Any]) -> None:
        provenance = {
            "settings": self.settings.to_dict(), "epoch": row["epoch"], "steps": row["step"], "measures": row,
            "data": self.summary, "skipped": len(self.progress.skipped), "version": version(),
        }  # fmt: skip
        net = self.net
        if isinstance(net, MultiColumn):
            self.out.put(name, lambda partial: save_model(Model(net, {"training": provenance}), partial))
            return
        tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in net.state_dict().items()}
        self.out.put(name, lambda partial: save_file(tensors, str(partial)))

    def _write_log(self, last: bool = False) -> None:
        progress = self.progress
        self.out.put(LOG, lambda partial: write_csv(progress.history, partial))
        if progress.skipped or (self.out / SKIPPED).exists():
            self.out.put(SKIPPED, lambda partial: write_skipped(progress.skipped, partial))
        if last or time.monotonic() - self.drawn > _SECONDS_BETWEEN_PICTURES:
            self.out.put(CURVES, lambda partial: save_curves(progress.history, partial))
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


def _architecture(columns: Sequence[AnyColumn]) -> list[Any]:
    """What the columns are, without what a run itself changes in them."""
    return [
        replace(column.spec, mean=(0.0,) * column.spec.channels) if isinstance(column, Column) else column.spec
        for column in columns
    ]
