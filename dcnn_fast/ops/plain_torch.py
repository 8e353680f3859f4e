"""torch's own operations on the cpu with torch's default settings, whatever the process has set.

A process's settings decide an operation's result: autocast and oneDNN's precision round operands, flushed denormal
numbers change a sum's last bits. After a fork torch's threads exist only in the parent, so an operation that waits for one
waits for ever. Thread pools belong to the thread that started them, so a new thread of the child gets its own (`apart`).
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
_PRECISE = ("ieee", "none")  # none: not set, which means ieee


_P = ParamSpec("_P")
_T = TypeVar("_T")
_FORKED = 0x40  # Linux: PF_FORKNOEXEC, the flag of a process forked without an exec since


def _forked_before() -> bool:
    """Whether this process was forked before this module was imported; False where the system does not say."""
    try:
        flags = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[6]
    except OSError:
        return False
    return bool(int(flags) & _FORKED)


def _renew_pool() -> None:
    """Have torch recreate its thread pool for mobile kernels, which a forked child does not inherit.

    Otherwise the first threads that use torch recreate it, without a lock: with two at a time one finds no pool, and fails.
    """
    torch.set_num_threads(torch.get_num_threads())


class _Process:
    """turn: held while torch operations run, which use all of torch's threads. forked: this process is a forked child."""

    def __init__(self) -> None:
        self.turn, self.forked = threading.RLock(), _forked_before()
        if self.forked:
            _renew_pool()
        os.register_at_fork(after_in_child=self._in_child)

    def _in_child(self) -> None:
        self.turn, self.forked = threading.RLock(), True  # the parent's lock may be held by a thread that the child lacks
        _renew_pool()


_process = _Process()


class _Thread(threading.local):
    """own: this thread was started for one piece of torch's work."""

    own = False


_thread = _Thread()


def apart(work: Callable[[], _T]) -> _T:
    """`work()`, run on a new thread where this process is a forked child. Its exceptions are raised here."""
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
    """Decorate an operation to run with the settings of `plain_torch`, and `apart`."""

    @wraps(operation)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        def settled() -> _T:
            with _as_by_default():
                return operation(*args, **kwargs)

        if _thread.own:  # the thread that waits for this one holds the turn
            return settled()
        with _process.turn:
            return apart(settled)

    return run


@contextmanager
def default_modes(*, gradients: bool) -> Iterator[None]:
    """Set this thread's modes to torch's defaults within the context; other threads keep theirs.

    gradients: whether they are recorded. Inference mode and autocast are off, new tensors are on the cpu unless a device is
    named, and numpy raises nothing. The default dtype, which all threads share, is left alone: code inside must name its
    dtypes.
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
    """Inside, torch's operations on the cpu compute with default settings: one thread of the process at a time, others wait.

    Changed settings are reset for the duration and then restored, unless something set them meanwhile; a process with default
    settings sees no change. In a forked child the operations use one thread. device: of the operations; on a device other than
    the cpu this does nothing.
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
    """Inside, settings that the process has changed have their default values."""
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
