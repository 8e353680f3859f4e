"""Printing for the commands: tables that fit a terminal and are never cut in a pipe, and errors on one line.

Everything is printed as plain text: rich's markup is not interpreted, and control characters, which a path, a label or an
error may hold, are shown as escapes. A standard output that is closed, full or a broken pipe raises `StreamError`; failed
writes to standard error are dropped and never end a command.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from typing import IO, NoReturn, cast

import typer
from rich import box
from rich.console import Console, HighlighterType, JustifyMethod, OverflowMethod
from rich.style import Style
from rich.table import Table
from rich.text import Text

from dcnn_fast.cli import descriptors
from dcnn_fast.printable import printable

_WIDTH = 80  # for a terminal that reports no width
_PIPE_WIDTH = 10_000  # for a pipe, which has no width: paths must not be cut there
_quiet = False


class StreamError(OSError):
    """Standard output cannot be written to; the message says why."""


def stdout() -> Console:
    """The console of results. Printing raises StreamError when it fails."""
    return _console(1, quiet=_quiet)


def stderr() -> Console:
    """The console of progress, notes and errors. Printing never raises."""
    return _console(2, quiet=_quiet)


def be_quiet() -> None:
    """From now on print only errors and notes, no tables or progress."""
    global _quiet  # noqa: PLW0603 - one command a process
    _quiet = True


def plain_table(*columns: str) -> Table:
    """A table without a frame; columns after the second are right-aligned."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(columns):
        table.add_column(name, justify="right" if index > 1 else "left", overflow="fold")
    return table


def note(message: str) -> None:
    """Print `message` on standard error, on one line that is never wrapped, even after `be_quiet`."""
    _console(2, quiet=False).print(printable(message), soft_wrap=True)


def fail(message: str, status: int = 2) -> NoReturn:
    """Print `message` as an error, on one line, and exit with `status`."""
    note(f"error: {message}")
    raise typer.Exit(status)


def prepare_streams() -> None:
    """Print characters that the terminal's encoding lacks as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def flush() -> None:
    """Flush standard output and error. Raises StreamError."""
    _Stream(2).flush()
    _Stream(1).flush()


def _drop(number: int) -> None:
    """Discard the buffer of a stream that failed; otherwise Python complains at exit, with status 120."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


def _console(number: int, quiet: bool) -> Console:
    stream = _Stream(number)
    return _PlainConsole(
        file=cast(IO[str], stream), width=_terminal_width() if stream.isatty() else _PIPE_WIDTH,
        soft_wrap=False, highlight=False, markup=False, emoji=False, quiet=quiet,
    )  # fmt: skip


def _terminal_width() -> int | None:
    """Rich's own choice (None), except where COLUMNS is 0, with which rich would print nothing."""
    columns = os.environ.get("COLUMNS", "")
    return _WIDTH if columns.isdigit() and int(columns) < 1 else None


class _PlainConsole(Console):
    """Prints strings as text, never as markup, in tables as well."""

    def render_str(
        self,
        text: str,
        *,
        style: str | Style = "",
        justify: JustifyMethod | None = None,
        overflow: OverflowMethod | None = None,
        emoji: bool | None = None,
        markup: bool | None = None,
        highlight: bool | None = None,
        highlighter: HighlighterType | None = None,
    ) -> Text:
        """`text` without markup, with every line made printable."""
        plain = "\n".join(printable(line) for line in text.split("\n"))
        return super().render_str(
            plain, style=style, justify=justify, overflow=overflow, emoji=False, markup=False, highlight=False,
        )  # fmt: skip


class _Stream(io.TextIOBase):
    """Standard output or error for rich to write to; failures are as in the module's docstring."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._stream: IO[str] | None = sys.stdout if number == 1 else sys.stderr

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The stream's encoding, by which rich chooses the characters of its frames."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        return self._stream is not None and not self._stream.closed and self._stream.isatty()

    def fileno(self) -> int:
        return self._number

    def write(self, text: str) -> int:
        if text:
            self._try(lambda stream: stream.write(text))
        return len(text)

    def flush(self) -> None:
        if self._stream is not None:
            self._try(lambda stream: stream.flush())

    def _try(self, work: Callable[[IO[str]], object]) -> None:
        try:
            if self._stream is None or descriptors.is_closed(self._number):
                raise OSError(errno.EBADF, "it is closed")
            work(self._stream)
        except (OSError, ValueError) as error:  # ValueError: Python has closed the stream
            _drop(self._number)
            if self._number == 1:
                why = (error.strerror if isinstance(error, OSError) else None) or str(error)
                raise StreamError(error.errno if isinstance(error, OSError) else errno.EBADF, why) from None
