"""The training of a network on a data set, from the settings to the model files (paper III, docs/design.md#update-rule)."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from dcnn_fast.data import DataSet
from dcnn_fast.data.plane_cache import PlaneCache
from dcnn_fast.ops.plain_torch import default_modes
from dcnn_fast.runtime.contexts import own_stream
from dcnn_fast.training.distributed import joined
from dcnn_fast.training.errors import DivergedError
from dcnn_fast.training.features import kept_features, require_features
from dcnn_fast.training.folder import BOARD, FEATURES, Folder, require_folder
from dcnn_fast.training.interrupts import interrupts
from dcnn_fast.training.learning_layers import computed_in, held_still, still_columns, tied
from dcnn_fast.training.log import Board, progress_bar
from dcnn_fast.training.needs import require_machine
from dcnn_fast.training.observers import Log, Models, Observer, OnBoard, Options, Signs, Times
from dcnn_fast.training.options import options_of
from dcnn_fast.training.run_examples import Lesson, lesson_of
from dcnn_fast.training.run_place import Place
from dcnn_fast.training.session import Session
from dcnn_fast.training.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["DivergedError", "Outcome", "train"]


@dataclass(frozen=True)
class Outcome:
    """The result of a run.

    Attributes:
        steps: Mini-batches in all.
        history: A row for each epoch, in the columns of `log.FIELDS` and, unless its times were lost, `log.CLOCK`.
        best: The row of the best epoch, None without held-out examples.
        skipped: The photographs that could not be read when they were last tried, each with the reason.
        unwritten: The files of the run that could not be written, each with the reason.
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
    new_rates: bool = False,
    device: torch.device | str = "cpu",
    workers: int = 0,
    cache: int | PlaneCache = 0,
    threads: int = 1,
    progress: Console | bool = False,
    tensorboard: bool = False,
    features: Path | None = None,
    options: Mapping[str, Any] | None = None,
    origin: str = "",
    seen: Collection[str] = (),
    warn: Callable[[str], None] = _warn,
) -> Outcome:
    """Train `net` on data.train, look at data.test, and leave the run in the folder `out`.

    `out` gets checkpoint.safetensors after each epoch, best.safetensors and last.safetensors (model files, or plain weights for
    a module that is not a `MultiColumn`), log.csv, times.csv, curves.png and run.toml; one that cannot be written is named in
    `Outcome.unwritten`, and the run goes on without it. A photograph that cannot be read is skipped, as skipped.csv says: its
    mini-batch is smaller and the mean over the cases that are left; the next epoch tries it again. Ctrl-C, SIGTERM and SIGHUP
    finish the step, write a checkpoint and raise KeyboardInterrupt with the signal's number. What the process has set
    (autocast, modes, default device, generators) changes nothing and is as it was afterwards. Under torchrun every process
    takes its share of each mini-batch and the gradients are summed, so that the weights are those of one process within
    rounding, but for dropout, whose masks each process draws for its own share.

    Args:
        net: Any module with `inputs` (a tuple of `nets.Input`) whose forward takes one batch of windows for each and gives
            logits [n, labels], or a tuple of them where there is a second task (paper eq. 3). It comes back trained, in
            evaluation mode; `best.safetensors` has the weights of the best epoch.
        data: The examples to train on, to choose by and to test on.
        settings: The options that decide the result.
        out: The folder of the run.
        resume: Whether to go on from the checkpoint in `out` where there is one: the result is that of a run that was never
            interrupted, bit for bit on the same machine with the same number of threads. Settings, data and network must be
            those of the run.
        new_rates: Whether a run that goes on may have other rates from here on, as when cuda-convnet's users lower them by
            hand; the update rule's memory stays.
        device: "cpu", "cuda", ...
        workers: Processes that decode; they change no result.
        cache: Megabytes of photographs, or of their planes, kept in memory, or a cache of planes on disk.
        threads: Threads that fill the cache.
        progress: True for a bar on stderr, or the console for one.
        tensorboard: Whether to write TensorBoard's log too.
        features: A file that keeps the outputs of layers that do not learn, from whole views, for other runs too; by default
            one in `out`.
        options: The run's options as run.toml lists them, by default its settings.
        origin: The weights that the network starts from, in words or as a digest; a run that goes on must have the same.
        seen: Marks of photographs that the network learnt from before (`Learnt.seen`), which the model files go on naming.
        warn: Told, at once, of a file that cannot be written, and of signs that nothing is learnt (`signs_of`).

    Returns:
        The numbers of the run, and its photographs and files that failed.

    Raises:
        ValueError: The device, a setting or the labels cannot be used, or no photograph can be read; the message names it.
        CheckpointError: `out` holds another run or anything else.
        DivergedError: The loss or a weight is not finite; the checkpoint is then the last good one.
        WorkerError: A worker process died; a checkpoint is written first.
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP came.

    Source:
        docs/design.md#update-rule
    """
    require_machine(torch.device(device), tensorboard=tensorboard)
    if any(parameter.is_inference() for parameter in net.parameters()):
        raise ValueError("net must not have been made in torch.inference_mode, where nothing can be learnt")
    if isinstance(cache, PlaneCache) and os.path.realpath(cache.folder) == os.path.realpath(out):
        raise ValueError(f"the cache of planes must be in a folder of its own, not in that of the run, got {out} for both")
    folder = Folder(out, warn)
    with ExitStack() as stack:
        stack.enter_context(default_modes(gradients=True))
        world, where = stack.enter_context(joined(torch.device(device)))
        if world.first:
            require_folder(out, resume=resume)
            stack.enter_context(folder.locked())
            require_folder(out, resume=resume)  # another run may have used the folder meanwhile
        world.wait()
        stack.enter_context(own_stream(where))
        stack.enter_context(computed_in(net, settings.precision, where))
        stack.enter_context(tied(net, settings.ties))
        still = still_columns(net, settings)
        stack.enter_context(held_still(net, still, settings.freeze))
        if features is not None:
            require_features(features, net, where)
        stack.enter_context(torch.random.fork_rng([where] if where.type == "cuda" else []))
        lesson = lesson_of(net.to(where), data, settings, decoded=where.type != "cpu", origin=origin, seen=seen)
        session = Session(net, lesson, settings, Place(world, where, workers), folder, still)
        session.begin(cache, threads, new_rates=new_rates)
        features_kept = stack.enter_context(kept_features(net, features or out / FEATURES, folder))
        if world.first:
            session.observers = (
                *_observers(net, lesson, settings, folder), Options(options or options_of(settings), folder), features_kept,
            )  # fmt: skip
            if tensorboard:
                board = Board(out / BOARD, session.at.done)
                stack.callback(board.close)
                session.observers = (*session.observers, OnBoard(board, folder))
        stop = stack.enter_context(interrupts())
        advance = stack.enter_context(progress_bar(*session.images(), shown=progress if world.first else False))
        session.go(stop, advance)
        session.finish()
        return _outcome(session)


def _observers(net: nn.Module, lesson: Lesson, settings: Settings, folder: Folder) -> Sequence[Observer]:
    second = any(example.attribute >= 0 for example in lesson.train)  # its loss is summed with the labels'
    apart = settings.targets != "labels" or bool(settings.class_weights) or second
    return Models(net, lesson, settings, folder), Signs(lesson, settings, folder), Log(folder, apart=apart), Times(folder)


def _outcome(session: Session) -> Outcome:
    progress = session.progress
    skipped, unwritten = dict(progress.skipped), dict(session.out.unwritten)
    return Outcome(session.at.done, tuple(progress.history), progress.best, skipped, unwritten)
