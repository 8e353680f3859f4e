"""torch's own operations on the cpu as they are by default, whatever the process around has set.

A process's settings decide an operation's result: autocast and oneDNN's precision round operands, flushed denormal
numbers change a sum's last bits. And after a fork torch's threads are those of the parent: an operation that waits for one
waits for ever. They belong to the thread that started them, so a new thread of the child has others (`apart`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch

_PRODUCTS = (torch.backends.mkldnn.conv, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]
_PRECISE = ("ieee", "none")  # none: set nowhere, which is ieee


_P = ParamSpec("_P")
_T = TypeVar("_T")
_FORKED = 0x40  # Linux: PF_FORKNOEXEC, of a process that was forked and has not started a program since


def _forked_before() -> bool:
    """Whether this process was forked before this module was there to see it; False where the system does not say."""
    try:
        flags = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[6]
    except OSError:
        return False
    return bool(int(flags) & _FORKED)


def _renew_pool() -> None:
    """Have torch make its pool of threads for mobile kernels anew, which a child of a fork cannot have from its parent.

    Otherwise whichever threads use torch first do that, without a lock: of two at a time one finds no pool, and fails.
    """
    torch.set_num_threads(torch.get_num_threads())


class _Process:
    """turn: whose torch operations run; they use all of torch's threads. forked: this process is a child made by a fork."""

    def __init__(self) -> None:
        self.turn, self.forked = threading.RLock(), _forked_before()
        if self.forked:
            _renew_pool()
        os.register_at_fork(after_in_child=self._in_child)

    def _in_child(self) -> None:
        self.turn, self.forked = threading.RLock(), True  # the parent's lock may have been held by a thread that is not here
        _renew_pool()


_process = _Process()


class _Thread(threading.local):
    """own: this thread was started for one piece of torch's work."""

    own = False


_thread = _Thread()


def apart(work: Callable[[], _T]) -> _T:
    """`work()`, on a thread of its own where this process is a child made by a fork. Its exceptions are raised here."""
    if not _process.forked or _thread.own:
        return work()
    results: list[_T] = []
    failures: list[BaseException] = []
    gradients, inference, device = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_device()

    def run() -> None:
        _thread.own = True
        try:
            with torch.inference_mode(inference), torch.set_grad_enabled(gradients), torch.device(device):
                results.append(work())
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=copy_context().run, args=(run,), name="dcnn-fast-torch", daemon=True)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def plainly(operation: Callable[_P, _T]) -> Callable[_P, _T]:
    """Decorates an operation: it runs inside `plain_torch`, and `apart`."""

    @wraps(operation)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        def settled() -> _T:
            with _as_by_default():
                return operation(*args, **kwargs)

        if _thread.own:  # the thread that waits for this one has the turn
            return settled()
        with _process.turn:
            return apart(settled)

    return run


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
    with _process.turn, _as_by_default(), ExitStack() as threads:
        if _process.forked and not _thread.own and torch.get_num_threads() > 1:
            threads.enter_context(_one_thread())
        yield


@contextmanager
def _as_by_default() -> Iterator[None]:
    """Inside, settings that the process has changed are as by default."""
    with ExitStack() as settings:
        settings.enter_context(_no_autocast())
        for products in _PRODUCTS:
            if products.fp32_precision not in _PRECISE:
                settings.enter_context(_precise(products))
        if np.float32(1e-40) * np.float32(1) == 0:
            settings.enter_context(_denormals())
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
