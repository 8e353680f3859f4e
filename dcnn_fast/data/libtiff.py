"""What libtiff says while Pillow decodes: kept for the thread that reads, instead of printed to the process's standard error.

libtiff has one handler for the whole process. Ours passes on to the one before it what other threads' decoding says.
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
    """said: where what concerns the calling thread goes; None while it does not read."""

    said: list[str] | None = None


_listener = _Listener()
_kept: list[Any] = []  # what C holds pointers to


@contextmanager
def heard(said: list[str]) -> Iterator[None]:
    """Inside, what libtiff says in this thread is appended to `said`, a line each."""
    before, _listener.said = _listener.said, said
    try:
        yield
    finally:
        _listener.said = before


def listen() -> None:
    """Put the handlers in place, once; nothing happens where Pillow has no libtiff or hides it."""
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
