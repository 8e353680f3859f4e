"""A mini-batch's windows on a GPU: photographs are copied on a separate stream and cut by launches that never change.

As in a fixed evaluation (runtime/fixed.py) only tables say where photographs and windows lie, so that the host fills in a few
numbers for each and issues one graph. A mini-batch with a photograph that this refuses (`ops.views.fixed.refused`) is cut by
launches that are planned for it (`windows.cut_batch`), to the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from dcnn_fast.nets import Input
from dcnn_fast.networks import View
from dcnn_fast.ops.number_tables import NumberTables
from dcnn_fast.ops.recording import Again, Recorder, Step
from dcnn_fast.ops.records import SOURCE
from dcnn_fast.ops.tables import fields
from dcnn_fast.ops.views import ViewParams
from dcnn_fast.ops.views.fixed import CUT_FIELDS, RESIZE_FIELDS, FixedPlanes, refused, resize_of, windows_launch
from dcnn_fast.runtime.copies import Copies
from dcnn_fast.training.mini_batches import Cases, starts_of
from dcnn_fast.training.window_cuts import Place

_RGB, _RGBX = 3, 4  # bytes of a pixel in a photograph and in a plane
_Kind = tuple[View, int]


class DeviceWindows:
    """Cuts windows for a run's mini-batches, at most `batch` photographs each, one window an input."""

    def __init__(self, inputs: Sequence[Input], batch: int, device: torch.device, record: Recorder) -> None:
        self._inputs, self._batch, self._device, self._record = inputs, batch, device, record
        self._fixed: FixedWindows | None = None
        self._copies = Copies(device)

    def of(self, cases: Cases) -> tuple[Tensor, ...]:
        """One [n, 3, window, window] uint8 tensor an input, in channels_last memory that the next mini-batch overwrites."""
        if cases.photos is None:
            return cases.on(self._device, self._inputs)
        photos = self._copies.there(cases.photos)
        if not self._takes(cases):
            return cases.cut(photos, self._inputs)
        if self._fixed is None:
            self._fixed = FixedWindows(self._inputs, self._batch, self._device, self._record)
        return self._fixed.of(photos, cases.shapes, cases.places)

    def _takes(self, cases: Cases) -> bool:
        kinds = set(map(_kind, self._inputs))
        return (
            0 < len(cases.shapes) <= self._batch
            and all(len(places) == len(cases.shapes) for places in cases.places)
            and all(_resize(shape, kind) is not None for shape in set(cases.shapes) for kind in kinds)
        )


class FixedWindows:
    """The launches for `count` photographs, and all memory that they write."""

    def __init__(self, inputs: Sequence[Input], count: int, device: torch.device, record: Recorder) -> None:
        self._inputs, self._count = inputs, count
        kinds = dict.fromkeys(_kind(wanted) for wanted in inputs if wanted.view != "local")
        self._planes = {kind: FixedPlanes.of(*kind, count, device) for kind in kinds}
        shapes = [(count, CUT_FIELDS)] * len(kinds) + [(count, RESIZE_FIELDS)] * len(kinds)
        self._tables = NumberTables([*shapes, *[(count, fields(SOURCE))] * len(inputs)], device)
        self._reads = [torch.empty(0, dtype=torch.uint8, device=device)]
        self._out = [
            torch.zeros(count, wanted.window, wanted.window, _RGB, dtype=torch.uint8, device=device) for wanted in inputs
        ]  # fmt: skip
        for planes, cuts in zip(self._planes.values(), self._tables.tables, strict=False):
            cuts[:] = [planes.cut(i) for i in range(count)]
        self._again = Again(self._steps(), record)

    def of(self, photos: Tensor, shapes: Sequence[tuple[int, int]], places: Sequence[Sequence[Place]]) -> tuple[Tensor, ...]:
        """The windows at `places`, for each input one of each photograph; `photos` holds the photographs packed, RGB bytes."""
        self._tables.settle()
        self._reads[0] = photos
        self._enter(photos.data_ptr(), shapes, places)
        self._tables.send()
        self._again.run()
        return tuple(out[: len(shapes)].permute(0, 3, 1, 2) for out in self._out)

    def _enter(self, base: int, shapes: Sequence[tuple[int, int]], places: Sequence[Sequence[Place]]) -> None:
        """Write the tables. Missing photographs repeat those that are there."""
        which = np.arange(self._count) % len(shapes)
        heights, widths = np.array(shapes, np.int64).T[:, which]
        first = np.array(starts_of(shapes)[:-1], np.int64)[which] + base
        kinds = len(self._planes)
        for number, kind in enumerate(self._planes):
            cuts, resizes = self._tables.tables[number], self._tables.tables[kinds + number]
            cuts[:, 0], cuts[:, 1], cuts[:, 2], cuts[:, 3], cuts[:, 4] = first, _RGB * widths, _RGB, heights, widths
            resizes[:] = np.array([_resize(shape, kind) for shape in shapes], np.int64)[which]
        for wanted, rows, where in zip(self._inputs, self._tables.tables[2 * kinds :], places, strict=True):
            photo, top, left, flip = np.array(where, np.int64).T[:, which]
            step, pitch, origin = _RGB, _RGB * widths[photo], first[photo]
            if wanted.view != "local":
                planes = self._planes[_kind(wanted)]
                step, pitch = _RGBX, np.full(self._count, _RGBX * planes.plane)
                origin = planes.address(0) + photo * (planes.address(1) - planes.address(0))
            rows[:, 0] = origin + top * pitch + (left + flip * (wanted.window - 1)) * step
            rows[:, 2], rows[:, 3], rows[:, 4] = pitch, step * (1 - 2 * flip), 1

    def _steps(self) -> list[Step]:
        there, kinds = self._tables.there, len(self._planes)
        steps: list[Step] = []
        for number, planes in enumerate(self._planes.values()):
            steps += planes.launches(there[number], there[kinds + number], self._reads)
        for wanted, sources, out in zip(self._inputs, there[2 * kinds :], self._out, strict=True):
            local = wanted.view == "local"
            steps.append(windows_launch(sources, out, self._reads if local else [self._planes[_kind(wanted)].out]))
        return steps


def _kind(wanted: Input) -> _Kind:
    return wanted.view, wanted.plane


@lru_cache(maxsize=4096)
def _resize(shape: tuple[int, int], kind: _Kind) -> tuple[int, int, int, int] | None:
    """The row of the table of resizes for a photograph's view; None where the launches have no room for it."""
    params = ViewParams(*shape, *kind)
    return None if refused(params) else resize_of(params)
