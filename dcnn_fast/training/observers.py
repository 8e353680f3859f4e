"""Observers of a run, which write model files, log and curves, or warn. None of them changes its result."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from safetensors.torch import save_file
from torch import nn

from dcnn_fast.nets import Model, MultiColumn, save_model
from dcnn_fast.training.curves import save_curves
from dcnn_fast.training.folder import BEST, BOARD, CHECKPOINT, CURVES, LAST, LOG, OPTIONS, SKIPPED, TIMES, Folder
from dcnn_fast.training.log import Board, write_csv, write_skipped, write_times
from dcnn_fast.training.no_learning import is_looked_at, signs_of
from dcnn_fast.training.options import RATES, options_text
from dcnn_fast.training.progress import Progress, timeless, times_of
from dcnn_fast.training.run_examples import Lesson
from dcnn_fast.training.settings import Settings
from dcnn_fast.version import version

_SECONDS_BETWEEN_PICTURES = 60.0


@dataclass(frozen=True)
class Told:
    """The message to an observer: the run's progress and the row of its last epoch."""

    progress: Progress
    row: dict[str, Any]


class Observer(Protocol):
    """An observer of a run, in the process that writes files."""

    def saved(self, progress: Progress) -> None:
        """Called when a checkpoint was written or failed: within an epoch, at its end, or at an interruption."""

    def measured(self, told: Told, best: bool) -> None:
        """Called after an epoch's evaluation, before its checkpoint. best: whether the epoch is the best so far."""

    def ended(self, told: Told) -> None:
        """Called after the checkpoint at an epoch's end."""

    def finished(self, told: Told) -> None:
        """Called when the run is over."""


class Silent:
    """An observer that does nothing, as a base class."""

    def saved(self, progress: Progress) -> None:
        """As in `Observer`."""

    def measured(self, told: Told, best: bool) -> None:
        """As in `Observer`."""

    def ended(self, told: Told) -> None:
        """As in `Observer`."""

    def finished(self, told: Told) -> None:
        """As in `Observer`."""


class Models(Silent):
    """Writes the model files of the best epoch and of the last: with their provenance, or plain weights of other modules."""

    def __init__(self, net: nn.Module, lesson: Lesson, settings: Settings, out: Folder) -> None:
        self._net, self._lesson, self._settings, self._out = net, lesson, settings, out

    def measured(self, told: Told, best: bool) -> None:
        """Write the best epoch's model."""
        if best:
            self._write(BEST, told)

    def finished(self, told: Told) -> None:
        """Write the last epoch's model."""
        self._write(LAST, told)

    def _write(self, name: str, told: Told) -> None:
        net = self._net
        if isinstance(net, MultiColumn):
            model = Model(net, {"training": self._provenance(told)})
            self._out.put(name, lambda partial: save_model(model, partial))
            return
        tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in net.state_dict().items()}
        self._out.put(name, lambda partial: save_file(tensors, str(partial)))

    def _provenance(self, told: Told) -> dict[str, Any]:
        row, rates = told.row, told.progress.rates
        return {
            "settings": self._settings.to_dict(), "epoch": row["epoch"], "steps": row["step"], "measures": timeless(row),
            "data": self._lesson.summary, "skipped": len(told.progress.skipped), "version": version(),
            **({"rates": rates} if len(rates) > 1 else {}),
        }  # fmt: skip


class Log(Silent):
    """Writes the rows of the run, the photographs that could not be read and, at most once a minute, the curves.

    apart: as in `save_curves`.
    """

    def __init__(self, out: Folder, *, apart: bool = False) -> None:
        self._out, self._apart, self._drawn = out, apart, time.monotonic()

    def ended(self, told: Told) -> None:
        """Write the rows; draw the curves when the last drawing is a minute old."""
        self._write(told.progress)
        if time.monotonic() - self._drawn > _SECONDS_BETWEEN_PICTURES:
            self._draw(told.progress.history)

    def finished(self, told: Told) -> None:
        """Write the rows and draw the curves."""
        self._write(told.progress)
        self._draw(told.progress.history)

    def _write(self, progress: Progress) -> None:
        self._out.put(LOG, lambda partial: write_csv(progress.history, partial))
        if progress.skipped or (self._out / SKIPPED).exists():
            self._out.put(SKIPPED, lambda partial: write_skipped(progress.skipped, partial))

    def _draw(self, history: Sequence[dict[str, Any]]) -> None:
        self._out.put(CURVES, lambda partial: save_curves(history, partial, apart=self._apart))
        self._drawn = time.monotonic()


class Times(Silent):
    """Writes the epochs' times beside each checkpoint, which has none."""

    def __init__(self, out: Folder) -> None:
        self._out = out

    def saved(self, progress: Progress) -> None:
        """Write the times."""
        under_way = {"epoch": progress.epoch + 1, "images": progress.cases, **times_of(progress.cases, progress.seconds)}
        rows = [*progress.history, *([under_way] if progress.step else [])]
        self._out.put(TIMES, lambda partial: write_times(rows, partial))


class Options(Silent):
    """Writes the run's options to a file beside the checkpoint that they belong to."""

    def __init__(self, options: Mapping[str, Any], out: Folder) -> None:
        self._options, self._out = options, out

    def saved(self, progress: Progress) -> None:
        """Write the options, unless the file already has them."""
        if CHECKPOINT in self._out.unwritten and (self._out / OPTIONS).exists():
            return  # the file belongs to the former checkpoint
        changed = {RATES: progress.rates} if len(progress.rates) > 1 else {}
        text = options_text({**self._options, **changed})
        if not self._is_there(text):
            self._out.put(OPTIONS, lambda partial: _fill(partial, text))

    def _is_there(self, text: bytes) -> bool:
        try:
            return (self._out / OPTIONS).read_bytes() == text
        except OSError:
            return False


class Signs(Silent):
    """Warns of a run that learns nothing."""

    def __init__(self, lesson: Lesson, settings: Settings, out: Folder) -> None:
        self._lesson, self._epochs, self._out = lesson, settings.epochs, out

    def ended(self, told: Told) -> None:
        """Look for signs after the epochs that `is_looked_at` names."""
        if is_looked_at(told.progress.epoch, self._epochs):
            for sign in signs_of(told.progress.history, self._lesson.train, self._lesson.aim):
                self._out.warn(sign)


class OnBoard(Silent):
    """Writes each epoch's numbers to a TensorBoard log."""

    def __init__(self, board: Board, out: Folder) -> None:
        self._board, self._out = board, out

    def ended(self, told: Told) -> None:
        """Write the last epoch's numbers."""
        self._out.attempt(BOARD, lambda: self._board.row(told.row))


def _fill(path: Path, content: bytes) -> None:
    path.write_bytes(content)
