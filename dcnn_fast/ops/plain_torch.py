"""torch's own operations on the cpu as they are by default, whatever the process around has set.

What a process can set decides what the same operation gives: autocast and oneDNN's precision round operands, flushed denormal
numbers change a sum's last bits. And after a fork torch's threads are those of the parent: an operation that waits for one
waits for ever.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch

_CONVOLUTIONS = torch.backends.mkldnn.conv  # type: ignore[attr-defined]
_PRECISE = ("ieee", "none")  # none: not set, which is ieee unless a setting above it says otherwise


class _Process:
    """turn: whose torch operations run; they use all of torch's threads. forked: this process is a child made by a fork."""

    def __init__(self) -> None:
        self.turn, self.forked = threading.RLock(), False
        os.register_at_fork(after_in_child=self._in_child)

    def _in_child(self) -> None:
        self.turn, self.forked = threading.RLock(), True  # the parent's lock may have been held by a thread that is not here


_process = _Process()


@contextmanager
def plain_torch() -> Iterator[None]:
    """Inside, torch's operations on the cpu compute as by default: one thread of the process at a time, others wait.

    What the process has set otherwise is set for the time and put back, if nothing set it meanwhile; a process that has set
    nothing sees no change. In a child made by a fork they use one thread.
    """
    with _process.turn, ExitStack() as settings:
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                settings.enter_context(torch.autocast(device, enabled=False))
        if _precision() not in _PRECISE:
            settings.enter_context(_precise_convolutions())
        if np.float32(1e-40) * np.float32(1) == 0:
            settings.enter_context(_denormals())
        if _process.forked and torch.get_num_threads() > 1:
            settings.enter_context(_one_thread())
        yield


def _precision() -> str:
    return str(_CONVOLUTIONS.fp32_precision)


@contextmanager
def _precise_convolutions() -> Iterator[None]:
    before = _precision()
    _CONVOLUTIONS.fp32_precision = "ieee"
    try:
        yield
    finally:
        if _precision() == "ieee":
            _CONVOLUTIONS.fp32_precision = before


@contextmanager
def _denormals() -> Iterator[None]:
    torch.set_flush_denormal(False)
    try:
        yield
    finally:
        torch.set_flush_denormal(True)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
