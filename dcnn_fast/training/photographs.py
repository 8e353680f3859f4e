"""A set's photographs for training: decoded, made into planes, and kept in memory while there is room."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dcnn_fast.data import Example, ReadError, read
from dcnn_fast.data.plane_cache import PHOTO, Entry, PlaneCache, Wanted
from dcnn_fast.data.reduction import reduced
from dcnn_fast.nets import Input
from dcnn_fast.networks import View
from dcnn_fast.ops import views


@dataclass(frozen=True)
class Picture:
    """One photograph: its decoded pixels, uint8 [H, W, 3], or the planes that windows are cut from, by view and size."""

    photo: np.ndarray | None = None
    planes: dict[tuple[View, int], np.ndarray] = field(default_factory=dict)

    def plane(self, view: View, size: int) -> np.ndarray:
        """The plane [h, w, 3] uint8 of one view, made now if missing."""
        if (view, size) in self.planes:
            return self.planes[view, size]
        assert self.photo is not None
        return views.plane(self.photo, view, size).pixels

    def shape(self, view: View, size: int) -> tuple[int, int]:
        """(height, width) of a plane, without making it."""
        if (view, size) in self.planes:
            height, width, _ = self.planes[view, size].shape
            return height, width
        assert self.photo is not None
        return views.planned(self.photo, view, size)[0].shape

    @property
    def bytes(self) -> int:
        """Its size in memory; planes that are the photograph itself count once."""
        arrays = [*self.planes.values(), *(() if self.photo is None else (self.photo,))]
        return sum({id(array): array.nbytes for array in arrays}.values())


class Pictures:
    """Examples' photographs by their number in the set.

    decoded: leave them without views, for a device that makes the planes itself; otherwise `picture` makes those of `inputs`.
    Larger ones than the inputs' `long_side`, which is one for all, are reduced to it.
    """

    def __init__(self, examples: Sequence[Example], inputs: Sequence[Input], *, decoded: bool = False) -> None:
        self.examples = tuple(examples)
        self.inputs = tuple(inputs)
        self.decoded = decoded
        sides = {i.long_side for i in self.inputs}
        if len(sides) > 1:
            raise ValueError(f"inputs must have one long_side, as photographs are reduced once, got {sides}")
        self.long_side = next(iter(sides), None)
        self._held: dict[int, Picture] = {}
        self._cache: PlaneCache | None = None

    def __len__(self) -> int:
        return len(self.examples)

    def picture(self, number: int) -> Picture:
        """The photograph of example `number`. Raises ReadError when it cannot be read or has no such plane."""
        if number in self._held:
            return self._held[number]
        entry = None if self._cache is None else self._cache.entry(self.examples[number].source, self._wanted, self.long_side)
        found = None if entry is None else self._loaded(entry)
        if found is not None:
            return found
        picture = self._decoded(self.examples[number].source if entry is None else entry.path)
        if entry is not None and entry.cache.stores:
            entry.store([self._array(picture, wanted) for wanted in self._wanted])
        return picture

    @property
    def _wanted(self) -> tuple[Wanted, ...]:
        """The cache's entries for each photograph."""
        return (PHOTO,) if self.decoded else tuple(dict.fromkeys((i.view, i.plane) for i in self.inputs))

    def _loaded(self, entry: Entry) -> Picture | None:
        planes = entry.load()
        if planes is None:
            return None
        return Picture(planes[0]) if self.decoded else Picture(None, dict(zip(self._wanted, planes, strict=True)))  # type: ignore[arg-type]

    def _array(self, picture: Picture, wanted: Wanted) -> np.ndarray:
        return picture.plane(*wanted) if picture.photo is None else picture.photo  # type: ignore[arg-type]

    def _decoded(self, source: Any) -> Picture:
        pixels = reduced(read(source).pixels, self.long_side)
        if self.decoded:
            return Picture(pixels)
        try:
            return Picture(None, {(i.view, i.plane): views.plane(pixels, i.view, i.plane).pixels for i in self.inputs})
        except ValueError as error:
            raise ReadError(str(error)) from None

    def use(self, cache: PlaneCache) -> None:
        """Read from a cache that another process fills."""
        self._cache = cache

    def hold(self, megabytes: int | PlaneCache, threads: int = 1, advance: Callable[[], object] = lambda: None) -> int:
        """Read photographs in order and keep them until `megabytes`, or the cache on disk, is full; returns the number of
        those read.

        Worker processes started afterwards share them. Unreadable photographs are passed over. advance: called after each.
        """
        if isinstance(megabytes, PlaneCache):
            self.use(megabytes)
            return self._fill(megabytes, threads, advance)
        room = megabytes * 2**20
        for number, picture in self.readable(range(len(self)), threads):
            room -= picture.bytes
            if room < 0:
                break
            self._held[number] = picture
        return len(self._held)

    def _fill(self, cache: PlaneCache, threads: int, advance: Callable[[], object]) -> int:
        """As `hold`; reads nothing where another process fills the cache or there is no room."""
        count = 0
        with cache.filling():
            for _ in self.readable(range(len(self) if cache.stores else 0), threads):
                count += 1
                advance()
                if not cache.stores:
                    break
        return count

    def readable(self, numbers: Iterable[int], threads: int = 1) -> Iterable[tuple[int, Picture]]:
        """The readable photographs among `numbers`, in order, read by `threads` threads."""
        chosen = list(numbers)
        with ThreadPoolExecutor(max(1, threads)) as pool:
            for start in range(0, len(chosen), 64):
                part = chosen[start : start + 64]
                for number, picture in zip(part, pool.map(self._picture_or_none, part), strict=True):
                    if picture is not None:
                        yield number, picture

    def _picture_or_none(self, number: int) -> Picture | None:
        try:
            return self.picture(number)
        except ReadError:
            return None


def means(pictures: Pictures, images: int, seed: int, threads: int = 1) -> dict[tuple[View, int], tuple[float, ...]]:
    """The mean per channel, 0-255, of the planes of each view and size of the inputs, every photograph weighing the same.

    images: photographs to average at most, a seeded choice where the set holds more. A local plane is a whole photograph.
    Raises ValueError when none of them can be read.
    """
    numbers = sorted(generator("mean", seed).permutation(len(pictures))[:images].tolist())
    sums, count = {(i.view, i.plane): np.zeros(3) for i in pictures.inputs}, 0
    for _, picture in pictures.readable(numbers, threads):
        count += 1
        for key in sums:
            sums[key] += picture.plane(*key).mean(axis=(0, 1), dtype=np.float64)
    if not count:
        raise ValueError(f"photographs must be readable for their mean, got none of {len(numbers)} that is")
    return {key: tuple((total / count).tolist()) for key, total in sums.items()}


def generator(*key: Any) -> np.random.Generator:
    """A generator that depends on the key alone (Philox, as the views' generator)."""
    digest = hashlib.sha256("|".join(map(str, ("dcnn_fast training 1", *key))).encode()).digest()[:16]
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest, dtype="<u8").astype(np.uint64)))
