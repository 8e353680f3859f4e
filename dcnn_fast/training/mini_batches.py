"""From the photographs of a set to mini-batches of windows: the order, the draws, and the processes that decode."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dcnn_fast.data import ReadError
from dcnn_fast.nets import Input
from dcnn_fast.ops import views
from dcnn_fast.training.photographs import Picture, Pictures, generator
from dcnn_fast.training.window_cuts import Place, cut_batch
from dcnn_fast.training.workers import work

_ALIGNMENT = 16  # bytes, of photographs that travel in one piece


@dataclass(frozen=True)
class Request:
    """A mini-batch: the numbers of its examples, and the epoch that decides their windows; None: the evaluation's windows."""

    epoch: int | None
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Cases:
    """The result of a request: windows, or photographs and the places to cut them from.

    numbers: the examples that could be read, in the request's order. bad: the others, each with the reason. windows: one
    [n * samples, window, window, 3] uint8 array for each input, an example's samples adjacent; None when the device cuts them
    out of `photos` (one array for all, and each one's height, width) at `places`. Arrays, not tensors: a worker process makes
    them, where torch's threads must not be started after the fork.
    """

    numbers: tuple[int, ...]
    bad: tuple[tuple[int, str], ...]
    windows: tuple[np.ndarray, ...] | None = None
    photos: np.ndarray | None = None
    shapes: tuple[tuple[int, int], ...] = ()
    places: tuple[tuple[Place, ...], ...] = ()

    def on(self, device: torch.device, inputs: Sequence[Input]) -> tuple[Tensor, ...]:
        """The windows on `device`: [n * samples, 3, window, window] uint8, in channels_last memory."""
        if self.windows is not None:
            return tuple(torch.from_numpy(batch).permute(0, 3, 1, 2).to(device) for batch in self.windows)
        assert self.photos is not None
        return self.cut(torch.from_numpy(self.photos).to(device), inputs)

    def cut(self, photos: Tensor, inputs: Sequence[Input]) -> tuple[Tensor, ...]:
        """The windows, in the form of `on`, cut out of `photos`, the packed photographs on a device."""
        return cut_batch(_unpacked(photos, self.shapes), inputs, self.places)


class Draws:
    """The windows of a set, request by request: a pure function of the seed, the request and the photographs.

    In training an example gets one window for each input, drawn anew each epoch by its key, the epoch and the input's key; in
    the evaluation `samples` windows, always the same. flip: half of the examples, drawn likewise, are mirrored, for every
    input.
    """

    def __init__(self, pictures: Pictures, *, seed: int, samples: int = 1, flip: bool = False) -> None:
        self.pictures = pictures
        self.seed = seed
        self.samples = samples
        self.flip = flip

    def __getitem__(self, request: Request) -> Cases:
        """The result of a request."""
        numbers, read, bad = [], [], []
        for number in request.numbers:
            try:
                read.append(self.pictures.picture(number))
                numbers.append(number)
            except ReadError as error:
                bad.append((number, str(error)))
        inputs = self.pictures.inputs
        places = tuple(
            tuple(
                place
                for index, (number, picture) in enumerate(zip(numbers, read, strict=True))
                for place in self._places(index, number, picture, request.epoch, i)
            )
            for i in inputs
        )
        if self.pictures.decoded:
            photos = [picture.photo for picture in read if picture.photo is not None]
            shapes = tuple((photo.shape[0], photo.shape[1]) for photo in photos)
            return Cases(tuple(numbers), tuple(bad), None, _packed(photos), shapes, places)
        cut = tuple(cut_planes(read, i, where) for i, where in zip(inputs, places, strict=True))
        return Cases(tuple(numbers), tuple(bad), cut)

    def _places(self, index: int, number: int, picture: Picture, epoch: int | None, wanted: Input) -> Iterator[Place]:
        key = self.pictures.examples[number].key
        purpose = "evaluation" if epoch is None else f"epoch {epoch}"
        drawn = views.draw_windows(
            f"{purpose}|{key}", self.seed, wanted.key, 1 if epoch is not None else self.samples, view=wanted.view,
            plane_shape=picture.shape(wanted.view, wanted.plane), plane=wanted.plane, window=wanted.window,
        )  # fmt: skip
        flip = self.flip and epoch is not None and _coin(self.seed, epoch, key)
        for top, left in drawn.tolist():
            yield index, top, left, flip


def epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """The numbers 0 ... count - 1 in an epoch's order."""
    return generator("order", seed, epoch).permutation(count)


def load(draws: Draws, requests: Iterable[Request], workers: int = 0) -> Generator[Cases, None, None]:
    """The results of the requests, in their order, whatever the number of worker processes; 0 loads in this process.

    Workers are forked, so that they share the photographs that are held in memory. They ignore SIGTERM: close the generator to
    end them. Raises WorkerError where one of them dies.
    """
    if not workers:
        for request in requests:
            yield draws[request]
        return
    yield from work(draws.__getitem__, requests, workers)


def _coin(seed: int, epoch: int, key: str) -> bool:
    return hashlib.sha256(f"dcnn_fast flip 1|{seed}|{epoch}|{key}".encode()).digest()[0] % 2 == 1


def cut_planes(pictures: Sequence[Picture], wanted: Input, places: Sequence[Place]) -> np.ndarray:
    """The windows at `places` of pictures' planes: [n, window, window, 3] uint8."""
    result = np.empty((len(places), wanted.window, wanted.window, 3), np.uint8)
    planes: dict[int, np.ndarray] = {}
    for row, (index, top, left, flip) in zip(result, places, strict=True):
        if index not in planes:
            planes[index] = pictures[index].plane(wanted.view, wanted.plane)
        part = planes[index][top : top + wanted.window, left : left + wanted.window]
        row[...] = part[:, ::-1] if flip else part
    return result


def _packed(photos: Sequence[np.ndarray]) -> np.ndarray:
    """All photographs in one array, so that one copy takes them to a device."""
    starts = _starts([photo.size for photo in photos])
    result = np.zeros(starts[-1], np.uint8)
    for start, photo in zip(starts, photos, strict=False):
        result[start : start + photo.size] = photo.reshape(-1)
    return result


def _unpacked(packed: Tensor, shapes: Sequence[tuple[int, int]]) -> list[Tensor]:
    sizes = [height * width * 3 for height, width in shapes]
    starts = starts_of(shapes)
    return [
        packed[start : start + size].view(height, width, 3)
        for start, size, (height, width) in zip(starts, sizes, shapes, strict=False)
    ]


def starts_of(shapes: Sequence[tuple[int, int]]) -> list[int]:
    """The offset of each photograph of these heights and widths in their packed array, then that array's length."""
    return _starts([height * width * 3 for height, width in shapes])


def _starts(sizes: Sequence[int]) -> list[int]:
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + -(-size // _ALIGNMENT) * _ALIGNMENT)
    return starts
