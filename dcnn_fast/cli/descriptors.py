"""Standard input, output and error as the process started with them: each may be closed, full or not a terminal."""

from __future__ import annotations

import os
import re

NAMES = {0: "standard input", 1: "standard output", 2: "standard error"}

_closed: set[int] = set()


def occupy_closed() -> None:
    """Open /dev/null in place of each of the three that is closed, so that no file of ours gets its number.

    Otherwise libraries would print into the first file opened. `is_closed` still reports which were closed.
    """
    for number in NAMES:
        try:
            os.fstat(number)
        except OSError:
            _closed.add(number)
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: this one


def is_closed(number: int) -> bool:
    """Whether the process started without this descriptor, or it has been closed since."""
    try:
        os.fstat(number)
    except OSError:
        return True
    return number in _closed


def number_of(path: str) -> int | None:
    """The descriptor of this process that `path` means: /dev/stdout, /dev/fd/3, a link to one of them; None for others."""
    for _ in range(40):  # the kernel's limit on links
        folder, name = os.path.split(os.path.abspath(path))
        folder = os.path.realpath(folder)
        if re.fullmatch(rf"/proc/{os.getpid()}(/task/\d+)?/fd", folder) and name.isdecimal():
            return int(name)
        path = os.path.join(folder, name)
        if not os.path.islink(path):
            return None
        path = os.path.join(folder, os.readlink(path))
    return None
