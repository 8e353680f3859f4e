"""The fixed evaluation: launches that never change, from photographs of any sizes to the probabilities of `pictures` of them.

No window shares its work with another, so the launches depend only on the network and the numbers of pictures and samples.
Batches differ in one buffer of numbers: each photograph's address and size, and each window's start. The launches are recorded
once, on a GPU as one CUDA graph, including fully-connected layers and head. A batch is a copy of each photograph, a copy of the
numbers, a replay, and a copy of the probabilities. A batch of fewer pictures repeats them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from dcnn_fast import networks
from dcnn_fast.ops.launch import Launch, copy
from dcnn_fast.ops.number_tables import NumberTables
from dcnn_fast.ops.recording import Again, Recorder, Step, collected
from dcnn_fast.ops.records import SOURCE
from dcnn_fast.ops.tables import fields
from dcnn_fast.ops.views.fixed import CUT_FIELDS, RESIZE_FIELDS, FixedPlanes, resize_of
from dcnn_fast.runtime.contexts import DeviceStream
from dcnn_fast.runtime.device_columns import DeviceColumn, FixedWindows
from dcnn_fast.runtime.executor import PhotoJob

_BEGIN = 256  # bytes: the alignment of a photograph's address
_LEAST_ARENA = 2**22
_RGB, _RGBX = 3, 4  # bytes of a photograph's pixel and of a plane's pixel


@dataclass(frozen=True)
class FixedColumn:
    """A column of a fixed evaluation. one: all windows of a picture are the same, the whole plane."""

    spec: networks.AnyColumn
    weights: DeviceColumn

    @property
    def one(self) -> bool:
        """Whether every window is the whole plane."""
        return self.spec.view != "local" and self.spec.window == self.spec.plane

    def windows(self, samples: int) -> int:
        """Windows computed for a picture with that number of samples."""
        return 1 if self.one else samples


Head = Callable[[Sequence[Tensor], Sequence[int], Sequence[Tensor | None]], Tensor]
"""The probabilities [samples, labels], from each column's features, each picture's number of samples, and each column's row
of each sample (None: row i is sample i's).
"""


class Arena:
    """The photographs of one batch on the device, one after the other. reads: their memory, for `Launch.reads`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.reads = [torch.empty(0, dtype=torch.uint8, device=device)]

    def addresses(self, photos: Sequence[np.ndarray]) -> list[int]:
        """Queue copies of the photographs (dense bytes) on the current stream, each once; the result is their addresses."""
        places: dict[int, int] = {}
        size = 0
        for photo in photos:
            if id(photo) not in places:
                places[id(photo)] = size
                size += -(-photo.nbytes // _BEGIN) * _BEGIN
        if size > self.reads[0].numel():
            room = 1 << (max(size, _LEAST_ARENA) - 1).bit_length()
            self.reads[0] = torch.empty(room, dtype=torch.uint8, device=self._device)
        (memory,) = self.reads
        for photo in {id(photo): photo for photo in photos}.values():
            first = places[id(photo)]
            copy(memory[first : first + photo.nbytes], torch.from_numpy(photo.reshape(-1)))
        base = memory.data_ptr()
        return [base + places[id(photo)] for photo in photos]


class FixedEvaluation:
    """The launches for `pictures` pictures of `samples` samples, and all memory they use, on one stream, which must be
    current when this is made and run.
    """

    def __init__(
        self, columns: Sequence[FixedColumn], head: Head, *, pictures: int, samples: int, arena: Arena, stream: DeviceStream,
        device: torch.device, record: Recorder,
    ) -> None:  # fmt: skip
        self._columns, self._pictures, self._samples = columns, pictures, samples
        self._arena, self._stream = arena, stream
        self._planes = _planes_of(columns, pictures, device)
        shapes = [(pictures, CUT_FIELDS)] * len(self._planes) + [(pictures, RESIZE_FIELDS)] * len(self._planes)
        shapes += [(pictures * column.windows(samples), fields(SOURCE)) for column in columns]
        self._numbers = NumberTables(shapes, device)
        kinds, tables = len(self._planes), self._numbers.tables
        self._cuts, self._resizes = tables[:kinds], tables[kinds : 2 * kinds]
        self._sources = [table.reshape(pictures, -1, fields(SOURCE)) for table in tables[2 * kinds :]]
        looks = [None if column.spec.view == "local" else _kind(column.spec) for column in columns]
        self._first = [looks.index(kind) for kind in self._planes]  # a column that uses each kind of plane
        self._begin()
        steps, self._probs = self._steps(head, device)
        self._steps_again = Again(steps, record)
        self._result = torch.empty(
            self._probs.shape, dtype=self._probs.dtype, device="cpu", pin_memory=device.type == "cuda"
        )  # fmt: skip

    def probabilities(self, pictures: Sequence[Sequence[PhotoJob]]) -> list[np.ndarray]:
        """Each picture's [samples, labels] float64; waits for the results.

        pictures: at most the number this is made for; each has one job per column.
        """
        try:
            addresses = self._arena.addresses([jobs[0].photo for jobs in pictures])
            for i in range(self._pictures):
                which = i % len(pictures)
                self._enter(i, pictures[which], addresses[which])
            copy(self._numbers.device, self._numbers.host)
            self._steps_again.run()
            copy(self._result, self._probs)
        finally:  # even on an error: photographs being copied must not be freed
            self._stream.wait()
        found = self._result.numpy().reshape(self._pictures, self._samples, -1)[: len(pictures)].astype(np.float64)
        return list(found)

    def _begin(self) -> None:
        """Enter the numbers that are the same for all photographs."""
        for planes, cuts in zip(self._planes.values(), self._cuts, strict=True):
            cuts[:] = [planes.cut(i) for i in range(self._pictures)]
        for column, rows in zip(self._columns, self._sources, strict=True):
            rows[...] = (0, 0, 0, _RGB, 1)
            if column.spec.view != "local":
                rows[..., 2:4] = _RGBX * column.spec.plane, _RGBX

    def _enter(self, i: int, jobs: Sequence[PhotoJob], address: int) -> None:
        """Enter picture i: the addresses of its photograph and its windows."""
        height, width, _ = jobs[0].photo.shape
        pitch = _RGB * width
        for column, table, job in zip(self._columns, self._sources, jobs, strict=True):
            rows = table[i]
            if column.spec.view == "local":
                rows[:, 0] = job.windows @ np.array((pitch, _RGB)) + address
                rows[:, 2] = pitch
                continue
            planes = self._planes[_kind(column.spec)]
            first = planes.address(i)
            rows[:, 0] = first if column.one else job.windows @ np.array((_RGBX * planes.plane, _RGBX)) + first
        for first_column, cuts, resizes in zip(self._first, self._cuts, self._resizes, strict=True):
            cuts[i, :5] = address, pitch, _RGB, height, width
            resizes[i] = resize_of(jobs[first_column].view)

    def _steps(self, head: Head, device: torch.device) -> tuple[list[Step], Tensor]:
        """All steps, and the memory of the probabilities."""
        there, kinds = self._numbers.there, len(self._planes)
        steps: list[Step] = []
        for number, planes in enumerate(self._planes.values()):
            steps += planes.launches(there[number], there[kinds + number], self._arena.reads)
        features, rows = [], []
        for number, column in enumerate(self._columns):
            windows = self._windows(column, there[2 * kinds + number], device)
            made, maps = column.weights.fixed(windows)
            layers, found = collected(partial(column.weights.features, maps), device)
            if len(column.spec.fc) > 1:
                _require_launched(layers)
            steps += [*made, *layers]
            features.append(found)
            rows.append(self._rows(device) if column.one else None)
        last, probs = collected(lambda: head(features, [self._samples] * self._pictures, rows), device)
        _require_launched(last)
        return [*steps, *last], probs

    def _windows(self, column: FixedColumn, sources: Tensor, device: torch.device) -> FixedWindows:
        side = column.spec.window
        if column.spec.view == "local":
            like = torch.empty(1, side, side, _RGB, dtype=torch.uint8, device=device).permute(0, 3, 1, 2)
            reads: Sequence[Tensor] = self._arena.reads
        else:
            out = self._planes[_kind(column.spec)].out
            like, reads = out[:1].permute(0, 3, 1, 2)[:, :3], [out]
        return FixedWindows(len(sources), sources, like, reads)

    def _rows(self, device: torch.device) -> Tensor:
        """Each sample's row in a column with one window per picture."""
        return torch.arange(self._pictures, dtype=torch.int64, device=device).repeat_interleave(self._samples)


def _require_launched(found: Sequence[Launch]) -> None:
    """Raise RuntimeError where nothing was launched: a result computed now would be replayed for every photograph.

    `Fixed` refuses such networks.
    """
    if not found:
        raise RuntimeError("a layer has launched no kernel: the backend must not be changed after a Scorer is made")


def _planes_of(
    columns: Sequence[FixedColumn], pictures: int, device: torch.device
) -> dict[tuple[networks.View, int], FixedPlanes]:  # fmt: skip
    """The planes of each view and size that the columns use."""
    kinds = dict.fromkeys(_kind(column.spec) for column in columns if column.spec.view != "local")
    return {kind: FixedPlanes.of(*kind, pictures, device) for kind in kinds}


def _kind(column: networks.AnyColumn) -> tuple[networks.View, int]:
    return column.view, column.plane
