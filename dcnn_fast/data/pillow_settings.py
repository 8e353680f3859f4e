"""Reading that does not depend on what a program has set in Pillow or in Python's warnings, and that changes neither.

Such settings are variables of modules, one for the whole process. While one of our threads reads, those that decide what is
read hold stand-ins: to every other thread they are what the program set, to the threads that read they are as Pillow ships
them. What Pillow and libtiff have to say about a file is kept for whoever reads it, instead of being printed or raised.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from PIL import AvifImagePlugin, BmpImagePlugin, GifImagePlugin, Image, ImageFile, PngImagePlugin, TiffImagePlugin

FORMATS = frozenset(("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "PNG", "TIFF", "WEBP"))
"""What is read of a file, by Pillow's names: nothing else is even tried, within another file either. Pillow's other readers are
rarely used, and one (EPS) runs Ghostscript on what the file says. HEIF is a plug-in's.
"""

_OPEN = Image.open  # as Pillow ships it


def formats_read() -> tuple[str, ...]:
    """Those of `FORMATS` that there is a reader for. Asked each time: a plug-in counts from when it was registered."""
    return tuple(name for name in Image.ID if name in FORMATS)


# What a program sets even less often; these are set for the time of a reading, for all threads.
_PLAIN: tuple[tuple[Any, str, Any], ...] = (
    (PngImagePlugin, "MAX_TEXT_CHUNK", 2**20),
    (PngImagePlugin, "MAX_TEXT_MEMORY", 2**26),
    (GifImagePlugin, "LOADING_STRATEGY", GifImagePlugin.LoadingStrategy.RGB_AFTER_FIRST),
    (BmpImagePlugin, "USE_RAW_ALPHA", False),
    (TiffImagePlugin, "READ_LIBTIFF", False),
    (AvifImagePlugin, "DECODE_CODEC_CHOICE", "auto"),
)


class _Reader(threading.local):
    """How many readings the calling thread is in, one within another."""

    depth = 0


_reader = _Reader()


class _PixelLimit:
    """The program's Image.MAX_IMAGE_PIXELS; no limit to threads that read here: their own limit is checked by `reading`."""

    program: Any

    def __rmul__(self, other: Any) -> Any:
        return float("inf") if _reader.depth else other * self.program

    def __lt__(self, other: Any) -> bool:
        return not _reader.depth and bool(self.program < other)


class _WholePixelLimit(_PixelLimit, int):
    """One that is an int, as every other thread has it."""


class _OtherPixelLimit(_PixelLimit, float):
    """One that is not: infinity, say."""


def _limit(program: Any) -> Any:
    limit: _PixelLimit = _WholePixelLimit(program) if isinstance(program, int) else _OtherPixelLimit(program)
    limit.program = program
    return limit


class _Truncated(int):
    """The program's ImageFile.LOAD_TRUNCATED_IMAGES; False to threads that read here."""

    def __new__(cls, program: Any) -> _Truncated:
        """program: as the program set it."""
        return super().__new__(cls, bool(program))

    def __init__(self, program: Any) -> None:
        self.program = program

    def __bool__(self) -> bool:
        return not _reader.depth


class _Open:
    """The program's Image.open; to threads that read here Pillow's own, which opens `FORMATS` alone.

    A reader may open what lies in its file: without saying of which formats, Pillow would try all that it has.
    """

    def __init__(self, program: Any) -> None:
        self.program = program

    def __call__(self, fp: Any, mode: Any = "r", formats: Any = None) -> Any:
        """As Image.open."""
        if not _reader.depth:
            return self.program(fp, mode, formats)
        allowed = formats_read()
        return _OPEN(fp, mode, allowed if formats is None else [name for name in formats if name.upper() in allowed])


class _WhileReading:
    """In the place of a warning filter's pattern for a module's name: any module, in a thread that reads here."""

    def match(self, name: str) -> bool:
        """Whether a warning of the calling thread comes from a reading."""
        return bool(_reader.depth)


_IGNORED: tuple[Any, ...] = ("ignore", None, Warning, _WhileReading(), 0)


class _StandIns:
    """Puts the stand-ins in place with the first of the readings that overlap, and takes them away after the last."""

    def __init__(self) -> None:
        self._guard, self._readings = threading.Lock(), 0
        self._before: list[tuple[Any, str, Any, Any]] = []
        os.register_at_fork(after_in_child=self._in_child)

    def _in_child(self) -> None:
        """The readings of the parent's other threads do not go on here."""
        self._guard, others = threading.Lock(), self._readings - bool(_reader.depth)
        if others > 0:
            self._readings = bool(_reader.depth) + 1
            self.leave()

    def enter(self) -> None:
        """A reading begins."""
        with self._guard:
            most: Any = Image.MAX_IMAGE_PIXELS
            if most is not None and not isinstance(most, _PixelLimit):
                Image.MAX_IMAGE_PIXELS = _limit(most)
            truncated: Any = ImageFile.LOAD_TRUNCATED_IMAGES
            if type(truncated) is not _Truncated and truncated:
                ImageFile.LOAD_TRUNCATED_IMAGES = _Truncated(truncated)  # type: ignore[assignment]
            if not isinstance(Image.open, _Open):
                Image.open = _Open(Image.open)
            if _IGNORED not in warnings.filters:
                warnings.filters.insert(0, _IGNORED)  # type: ignore[attr-defined]
            for module, name, shipped in _PLAIN:
                if getattr(module, name) != shipped:
                    self._before.append((module, name, shipped, getattr(module, name)))
                    setattr(module, name, shipped)
            self._readings += 1

    def leave(self) -> None:
        """It ends."""
        with self._guard:
            self._readings -= 1
            if self._readings:
                return
            most: Any = Image.MAX_IMAGE_PIXELS
            if isinstance(most, _PixelLimit):
                Image.MAX_IMAGE_PIXELS = most.program
            truncated: Any = ImageFile.LOAD_TRUNCATED_IMAGES
            if type(truncated) is _Truncated:
                ImageFile.LOAD_TRUNCATED_IMAGES = truncated.program
            if isinstance(Image.open, _Open):
                Image.open = Image.open.program
            if _IGNORED in warnings.filters:
                warnings.filters.remove(_IGNORED)  # type: ignore[attr-defined]
            while self._before:
                module, name, shipped, value = self._before.pop()
                if getattr(module, name) == shipped:  # or the program has set it meanwhile
                    setattr(module, name, value)


_stand_ins = _StandIns()


@contextmanager
def as_shipped() -> Iterator[None]:
    """Inside, and in this thread only, Pillow reads as it does by default, but for its limit of pixels, which is none, and for
    its formats, which are `FORMATS`.
    """
    _stand_ins.enter()
    _reader.depth += 1
    try:
        yield
    finally:
        _reader.depth -= 1
        _stand_ins.leave()
