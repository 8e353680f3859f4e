"""The queue's limits: counts the images that wait or are computed, and their bytes."""

from __future__ import annotations

import math
import time
from types import TracebackType

from dcnn_fast.serve.errors import RefusedError
from dcnn_fast.serve.settings import Settings

_MOST_WAIT = 60  # seconds: the largest Retry-After


class Gate:
    """The limits' counters, used only by the event loop's thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.images = self.bytes = 0
        self._seconds = 0.1  # the server's recent time per image
        self._done = time.monotonic()

    def room(self) -> Room:
        """An empty share for one request."""
        return Room(self)

    def take(self, images: int, size: int) -> None:
        """Add images and bytes. Raises RefusedError, 429 with Retry-After, where they do not fit."""
        if self.images + images > self._settings.images:
            raise self._full(self._of_images())
        if self.bytes + size > self._settings.bytes:
            raise self._full(f"the images that wait or are computed already have {self.bytes} of {self._settings.bytes} bytes")
        self.images, self.bytes = self.images + images, self.bytes + size

    def refusal(self) -> RefusedError | None:
        """The error that `take` of one image would raise."""
        return None if self.images < self._settings.images else self._full(self._of_images())

    def give_back(self, images: int, size: int, done: int = 0) -> None:
        """Subtract images and bytes. done: the number of computed images."""
        self.images, self.bytes = self.images - images, self.bytes - size
        if done:
            now = time.monotonic()
            self._seconds += 0.2 * (min(now - self._done, 10.0) / done - self._seconds)
            self._done = now

    def _of_images(self) -> str:
        return f"{self._settings.images} images wait or are computed already"

    def _full(self, why: str) -> RefusedError:
        wait = max(1, min(_MOST_WAIT, math.ceil(self.images * self._seconds)))
        return RefusedError(429, f"the server is busy: {why}", {"Retry-After": str(wait)})


class Room:
    """The share of one request; a with statement gives it back at its end."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._images = self._bytes = 0
        self.done = 0  # computed images

    def take(self, images: int = 0, size: int = 0) -> None:
        """Hold more. Raises RefusedError, 429."""
        self._gate.take(images, size)
        self._images, self._bytes = self._images + images, self._bytes + size

    @property
    def images(self) -> int:
        """The number of images held, or held at the end."""
        return self._images

    @property
    def bytes(self) -> int:
        """The number of bytes held."""
        return self._bytes

    def __enter__(self) -> Room:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._gate.give_back(self._images, self._bytes, self.done)
