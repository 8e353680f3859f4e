"""Resuming a run from its checkpoint, which needs the same settings, data and network."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from dcnn_fast.nets import AnyColumn
from dcnn_fast.training import checkpoint as runs
from dcnn_fast.training.progress import Progress, with_rates
from dcnn_fast.training.run_examples import Lesson
from dcnn_fast.training.settings import Settings, differences
from dcnn_fast.training.step import Step


def take_up(
    checkpoint: runs.Checkpoint, net: nn.Module, step: Step, lesson: Lesson, settings: Settings, columns: Sequence[AnyColumn],
    steps: int, where: str, *, new_rates: bool = False,
) -> Progress:  # fmt: skip
    """Restore the network and the update rule from the checkpoint; returns the run's progress.

    steps: mini-batches of an epoch. where: the folder of the run, for messages. new_rates: whether it may go on at other rates,
    as cuda-convnet's users lower them by hand; the rule's state stays. Raises CheckpointError naming the differences.
    """
    found = differences(checkpoint.settings, settings, new_rates=new_rates)
    found += runs.identity_differences(checkpoint.identity, lesson.identity)
    if not found and checkpoint.fingerprint != lesson.fingerprint:
        found.append("the data set or the network is another")
    if found:
        raise runs.CheckpointError(f"the run in {where} cannot be resumed: {'; '.join(found)}")
    _require_fits(checkpoint.progress, settings, columns, steps, lesson.judge, scaled=step.scaler.is_enabled())
    runs.restore(checkpoint, net, step.update)
    if step.scaler.is_enabled():
        step.scaler.load_state_dict(checkpoint.progress.scaler)
    progress, before = checkpoint.progress, checkpoint.settings
    progress.rates = with_rates(
        progress.rates or [[0, before.rate, before.bias_rate]], progress.epoch * steps + progress.step, settings.rate,
        settings.bias_rate,
    )  # fmt: skip
    return progress


def _require_fits(
    progress: Progress, settings: Settings, columns: Sequence[AnyColumn], steps: int, judge: str, *, scaled: bool
) -> None:  # fmt: skip
    """Raise CheckpointError where a run with these settings cannot have this progress."""
    if progress.epoch > settings.epochs or progress.step > steps:
        raise runs.CheckpointError(
            f"the checkpoint must be of at most {settings.epochs} epochs of {steps} steps, got epoch "
            f"{progress.epoch}, step {progress.step}"
        )
    if progress.best is not None and progress.best.get(f"{judge}_{settings.best_by}") is None:
        raise runs.CheckpointError(f"the checkpoint's best epoch must have a {settings.best_by}, got none")
    channels = [len(column.spec.mean) for column in columns]
    if progress.means is not None and [len(mean) for mean in progress.means] != channels:
        raise runs.CheckpointError(f"the checkpoint's means must be of {channels} channels, a number for each column")
    if scaled and not progress.scaler:
        raise runs.CheckpointError("the checkpoint must have the loss scale of fp16, got none")
