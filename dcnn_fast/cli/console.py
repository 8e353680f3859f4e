"""Printing for the commands: tables that fit a terminal and are whole in a pipe, and errors on one line."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer
from rich import box
from rich.console import Console
from rich.table import Table

_PIPE_WIDTH = 10_000  # a pipe has no width: never cut a path there


def stdout() -> Console:
    """The console of results."""
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, soft_wrap=False, highlight=False)


def stderr() -> Console:
    """The console of progress, notes and errors."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else _PIPE_WIDTH, highlight=False)


def plain_table(*columns: str) -> Table:
    """A table without a frame; columns after the second are right-aligned."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(columns):
        table.add_column(name, justify="right" if index > 1 else "left", overflow="fold")
    return table


def fail(message: str, status: int = 2) -> NoReturn:
    """Print `message` as an error and leave with `status`."""
    stderr().print(f"error: {message}", markup=False)
    raise typer.Exit(status)


def printable(path: str) -> str:
    """`path` with bytes that are not text shown as escapes, and without control characters."""
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
