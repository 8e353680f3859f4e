"""The stages from a photograph to its score: read it, run the blocks, and finish it with its batch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from dcnn_fast.data import in_flight, reading
from dcnn_fast.data.remote import Stored
from dcnn_fast.nets import Model
from dcnn_fast.runtime import Executor
from dcnn_fast.scoring.extras import Extras
from dcnn_fast.scoring.prepare import Prepared, prepare
from dcnn_fast.scoring.samples import samples_of, windows_of
from dcnn_fast.scoring.score import Score, summarise
from dcnn_fast.scoring.stream import Begun, Read

# Messages of torch's allocators of main and page-locked memory, whose errors have no specific type.
_TORCH_SAYS = ("can't allocate memory", "CUDA error: out of memory")


class PhotoStages:
    """The `Stages` for photographs; each may run on any thread.

    model: the executor's. options: for reading. samples, grid, seed: as in `Scorer`. long_side: the long side of the
    photographs from which views are made, in pixels; None does not reduce them. extras: the optional contents of scores.
    """

    def __init__(
        self, model: Model, executor: Executor, options: reading.ReadOptions, *, samples: int, grid: int, seed: int,
        long_side: int | None, extras: Extras,
    ) -> None:  # fmt: skip
        self._model, self._executor, self._options, self._extras = model, executor, options, extras
        self._samples, self._grid, self._seed = samples, grid, seed
        self._network = replace(model.spec, long_side=long_side)

    @property
    def executor(self) -> Executor:
        """The executor of the network."""
        return self._executor

    def start(self) -> None:
        """Begin a run of images."""
        self._executor.begin()

    def read(self, image: Any) -> Read:
        """Read the image, make its views, draw and plan its windows. For an unreadable image the score holds the error."""
        try:
            return self.read_or_raise(image)
        except (reading.ReadError, MemoryError, RuntimeError) as error:
            without_memory = _is_of_memory(error)
            if not without_memory and not isinstance(error, reading.ReadError):
                raise
            said = in_flight.no_memory("to score it") if without_memory else str(error)
            notes = error.notes if isinstance(error, reading.ReadError) else ()
            return Read(
                Score(samples_count=self._samples, seed=self._seed, path=_path_of(image), error=said, notes=notes), Prepared()
            )

    def read_or_raise(self, image: Any) -> Read:
        """Like `read`, but raises ReadError for an unreadable image."""
        # The program may have set numpy to raise where it would ignore.
        with np.errstate(all="ignore"):
            prepared = prepare(
                image, self._network, self._options, samples=self._samples, grid=self._grid, seed=self._seed,
                intake=self._executor.intake, extras=self._extras,
            )  # fmt: skip
            shot, seen = prepared.shot, prepared.seen
            known = Score(
                seed=self._seed, plan=prepared.plan, path=_path_of(image), notes=prepared.notes, width=shot.width,
                height=shot.height, taken=shot.taken, camera=shot.camera, faults=seen.faults, measures=seen.measures,
                look=seen.look,
            )  # fmt: skip
            return Read(known, prepared)

    def begin(self, read: Read) -> Begun:
        """Run the network's blocks. Where memory does not suffice, the score's error says so."""
        if not read.prepared.jobs:
            return Begun(read.known, None)
        columns = windows_of(read.prepared.jobs, self._model.spec) if self._extras.per_sample else ()
        try:
            return Begun(read.known, self._executor.blocks(read.prepared.jobs), columns)
        except (MemoryError, RuntimeError) as error:
            if not _is_of_memory(error):
                raise
            return Begun(replace(read.known, samples_count=self._samples, error=in_flight.no_memory("to score it")), None)

    def finish(self, batch: Sequence[Begun]) -> list[Score]:
        """Run the network's head for all images together, or one by one where memory does not suffice. Returns their scores."""
        with np.errstate(all="ignore"):
            try:
                results = iter(self._executor.head([begun.maps for begun in batch if begun.maps is not None]))
            except (MemoryError, RuntimeError) as error:
                if not _is_of_memory(error):
                    raise
                if len(batch) > 1:
                    return [score for begun in batch for score in self.finish([begun])]
                return [replace(batch[0].known, samples_count=self._samples, error=in_flight.no_memory("to score it"))]
            return [
                begun.known if begun.maps is None else self._summary(begun, next(results)) for begun in batch
            ]  # fmt: skip

    def _summary(self, begun: Begun, result: np.ndarray) -> Score:
        known, labels = begun.known, self._model.spec.labels
        if not np.isfinite(result).all():
            return replace(
                known, samples_count=self._samples, error="the model gives numbers that are not finite for this image"
            )
        measured, percentiles = summarise(result, labels), self._model.percentiles
        return replace(
            known, probs=measured.probs, mean=measured.mean, std=measured.std, label=measured.label,
            samples_count=measured.samples_count,
            percentile=None if percentiles is None or measured.mean is None else percentiles.percentile(measured.mean),
            samples=samples_of(result, labels, begun.columns) if self._extras.per_sample else None,
        )  # fmt: skip


def _is_of_memory(error: Exception) -> bool:
    """Whether the error means that host or device memory ran out."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(words in str(error) for words in _TORCH_SAYS)


def _path_of(image: Any) -> str | None:
    """The image's path as a plain `str`, even from a subclass."""
    if isinstance(image, Stored):
        return image.path
    return str.__str__(os.fsdecode(image)) if isinstance(image, (str, os.PathLike)) else None
