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
from typing import Any

import numpy as np
import torch

_PRODUCTS = (torch.backends.mkldnn.conv, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]
_PRECISE = ("ieee", "none")  # none: set nowhere, which is ieee


class _Process:
    """turn: whose torch operations run; they use all of torch's threads. forked: this process is a child made by a fork."""

    def __init__(self) -> None:
        self.turn, self.forked = threading.RLock(), False
        os.register_at_fork(after_in_child=self._in_child)

    def _in_child(self) -> None:
        self.turn, self.forked = threading.RLock(), True  # the parent's lock may have been held by a thread that is not here


_process = _Process()


@contextmanager
def default_modes(*, gradients: bool) -> Iterator[None]:
    """The modes of this thread as they are by default, for as long as the context lasts; other threads keep theirs.

    gradients: whether they are recorded. Inference mode and autocast are off, new tensors lie on the cpu unless they say
    otherwise, and numpy raises nothing. The default dtype, which is every thread's, is not touched: what is computed inside
    names its own.
    """
    with ExitStack() as modes:
        modes.enter_context(torch.inference_mode(False))
        modes.enter_context(torch.set_grad_enabled(gradients))
        modes.enter_context(np.errstate(all="ignore"))
        if torch.get_default_device() != torch.device("cpu"):
            modes.enter_context(torch.device("cpu"))
        modes.enter_context(_no_autocast())
        yield


@contextmanager
def plain_torch(device: torch.device | None = None) -> Iterator[None]:
    """Inside, torch's operations on the cpu compute as by default: one thread of the process at a time, others wait.

    What the process has set otherwise is set for the time and put back, if nothing set it meanwhile; a process that has set
    nothing sees no change. In a child made by a fork they use one thread. device: where the operations are; with another than
    the cpu nothing is done.
    """
    if device is not None and device.type != "cpu":
        yield
        return
    with _process.turn, ExitStack() as settings:
        settings.enter_context(_no_autocast())
        for products in _PRODUCTS:
            if products.fp32_precision not in _PRECISE:
                settings.enter_context(_precise(products))
        if np.float32(1e-40) * np.float32(1) == 0:
            settings.enter_context(_denormals())
        if _process.forked and torch.get_num_threads() > 1:
            settings.enter_context(_one_thread())
        yield


@contextmanager
def _no_autocast() -> Iterator[None]:
    with ExitStack() as stack:
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield


@contextmanager
def _precise(products: Any) -> Iterator[None]:
    before = products.fp32_precision
    products.fp32_precision = "ieee"
    try:
        yield
    finally:
        if products.fp32_precision == "ieee":
            products.fp32_precision = before


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
