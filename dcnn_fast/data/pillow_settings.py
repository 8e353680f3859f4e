"""Makes reading independent of a program's settings in Pillow and in Python's warnings, without changing them.

Such settings are module variables, one for the whole process. While one of our threads reads, those that programs often change
hold stand-ins: every other thread sees the program's setting, reading threads see Pillow's default. Warnings of Pillow about a
file are ignored meanwhile, neither printed nor raised.
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
"""The formats that are read, by Pillow's names: no other is tried, not even within another file. Pillow's other readers are
rarely used, and one (EPS) runs Ghostscript on the file's program. HEIF needs a plug-in.
"""

_OPEN = Image.open  # Pillow's own


def formats_read() -> tuple[str, ...]:
    """The formats of `FORMATS` with a reader. Determined at each call, as plug-ins may be registered at any time."""
    return tuple(name for name in Image.ID if name in FORMATS)


# Settings that programs rarely change: they are reset during a reading, for all threads.
_PLAIN: tuple[tuple[Any, str, Any], ...] = (
    (PngImagePlugin, "MAX_TEXT_CHUNK", 2**20),
    (PngImagePlugin, "MAX_TEXT_MEMORY", 2**26),
    (GifImagePlugin, "LOADING_STRATEGY", GifImagePlugin.LoadingStrategy.RGB_AFTER_FIRST),
    (BmpImagePlugin, "USE_RAW_ALPHA", False),
    (TiffImagePlugin, "READ_LIBTIFF", False),
    (AvifImagePlugin, "DECODE_CODEC_CHOICE", "auto"),
)


class _Reader(threading.local):
    """The depth of nested readings in the calling thread."""

    depth = 0


_reader = _Reader()


class _PixelLimit:
    """The program's Image.MAX_IMAGE_PIXELS; no limit for reading threads, whose own limit `reading` checks."""

    program: Any

    def __rmul__(self, other: Any) -> Any:
        return float("inf") if _reader.depth else other * self.program

    def __lt__(self, other: Any) -> bool:
        return not _reader.depth and bool(self.program < other)


class _WholePixelLimit(_PixelLimit, int):
    """A limit that is an int, which other threads see as one."""


class _OtherPixelLimit(_PixelLimit, float):
    """A limit that is no int, such as infinity."""


def _limit(program: Any) -> Any:
    limit: _PixelLimit = _WholePixelLimit(program) if isinstance(program, int) else _OtherPixelLimit(program)
    limit.program = program
    return limit


class _Truncated(int):
    """The program's ImageFile.LOAD_TRUNCATED_IMAGES; False for reading threads."""

    def __new__(cls, program: Any) -> _Truncated:
        """program: the value that the program set."""
        return super().__new__(cls, bool(program))

    def __init__(self, program: Any) -> None:
        self.program = program

    def __bool__(self) -> bool:
        return not _reader.depth


class _Open:
    """The program's Image.open; for reading threads Pillow's own, restricted to `FORMATS`.

    A reader may open a picture within its file: without a list of formats, Pillow would try all its readers.
    """

    def __init__(self, program: Any) -> None:
        self.program = program

    def __call__(self, fp: Any, mode: Any = "r", formats: Any = None) -> Any:
        """Open as Image.open does."""
        if not _reader.depth:
            return self.program(fp, mode, formats)
        allowed = formats_read()
        return _OPEN(fp, mode, allowed if formats is None else [name for name in formats if name.upper() in allowed])


class _WhileReading:
    """A stand-in for a warning filter's pattern of module names: matches any module in a reading thread."""

    def match(self, name: str) -> bool:
        """Whether the calling thread is reading."""
        return bool(_reader.depth)


_IGNORED: tuple[Any, ...] = ("ignore", None, Warning, _WhileReading(), 0)


class _StandIns:
    """Installs the stand-ins with the first of overlapping readings, and removes them after the last."""

    def __init__(self) -> None:
        self._guard, self._readings = threading.Lock(), 0
        self._before: list[tuple[Any, str, Any, Any]] = []
        os.register_at_fork(after_in_child=self._in_child)

    def _in_child(self) -> None:
        """Forget the readings of the parent's other threads, which do not exist in the child."""
        self._guard, others = threading.Lock(), self._readings - bool(_reader.depth)
        if others > 0:
            self._readings = bool(_reader.depth) + 1
            self.leave()

    def enter(self) -> None:
        """Begin a reading."""
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
        """End a reading."""
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
                if getattr(module, name) == shipped:  # otherwise the program has set it meanwhile
                    setattr(module, name, value)


_stand_ins = _StandIns()


@contextmanager
def as_shipped() -> Iterator[None]:
    """Within it, and in this thread only, Pillow reads with its default settings, except that it has no limit of pixels and
    reads `FORMATS` alone.
    """
    _stand_ins.enter()
    _reader.depth += 1
    try:
        yield
    finally:
        _reader.depth -= 1
        _stand_ins.leave()
