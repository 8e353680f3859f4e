"""Collects libtiff's messages for the thread that reads, instead of their going to the process's standard error.

libtiff has one handler for the whole process. Ours passes messages of other threads on to the previous handler.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from PIL import _imaging

_LONGEST = 500  # bytes of a message
_Handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)  # module, format, va_list


class _Listener(threading.local):
    """said: receives the calling thread's messages; None while it does not read."""

    said: list[str] | None = None


_listener = _Listener()
_kept: list[Any] = []  # keeps alive the objects that C points to


@contextmanager
def heard(said: list[str]) -> Iterator[None]:
    """Within it, libtiff's messages in this thread are appended to `said`, one line each."""
    before, _listener.said = _listener.said, said
    try:
        yield
    finally:
        _listener.said = before


def listen() -> None:
    """Install the handlers, once; does nothing where Pillow lacks libtiff or hides its symbols."""
    if _kept:
        return
    _kept.append(None)
    try:
        library = ctypes.CDLL(_imaging.__file__)
        printed = ctypes.CDLL(None).vsnprintf
        setters = [getattr(library, name) for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler")]
    except (OSError, AttributeError):
        return
    printed.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_void_p]
    for setter in setters:
        setter.restype, setter.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
        cell: list[Any] = [None]
        handler = _Handler(partial(_say, printed, cell))
        _kept.extend((handler, cell))
        before = setter(handler)
        cell[0] = _Handler(before) if before else None


def _say(printed: Any, before: list[Any], module: bytes | None, text: bytes, values: int | None) -> None:
    if _listener.said is None:
        if before[0] is not None:
            before[0](module, text, values)
        return
    buffer = ctypes.create_string_buffer(_LONGEST)
    printed(buffer, _LONGEST, text, values)
    message = buffer.value.decode(errors="replace")
    _listener.said.append(" ".join(message.split()))
