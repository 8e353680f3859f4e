"""Worker processes for a list of requests, each with its own pipe to the process that started them.

torch's DataLoader passes tensors through /dev/shm, and data that does not fit there (a container has 64 MB) is lost silently
while the receiver waits. Here everything goes through pipes. Only one process holds a pipe's writing end, so that its death,
at whatever moment, ends the pipe: nobody waits for data that cannot come.
"""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import pickle
import signal
import struct
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from multiprocessing.process import BaseProcess
from typing import Any, BinaryIO, TypeVar, cast

import numpy as np

from dcnn_fast.training.interrupts import ignore_interrupts

_Asked = TypeVar("_Asked")
_Made = TypeVar("_Made")

_LENGTH = struct.Struct("<Q")
_PIPE_BYTES = 2**20  # a pipe's capacity, where the system allows it: three times as fast as the default 64 KB
_SECONDS_TO_END = 5.0


class WorkerError(RuntimeError):
    """A worker process that died or could not do its work; the message says which and why."""


@dataclass(frozen=True)
class _Failed:
    """A worker's message in place of a result."""

    reason: str


class _Done:
    """A worker's message after its last result."""


@dataclass(frozen=True)
class _Worker:
    process: BaseProcess
    results: BinaryIO


def work(make: Callable[[_Asked], _Made], requests: Iterable[_Asked], workers: int) -> Generator[_Made, None, None]:
    """The results of `make` for the requests, in order, computed by `workers` processes.

    The processes are forked and share the parent's memory. Each iterates over `requests`, which must be the same in all of
    them, and takes every `workers`-th. Results are pickled; the arrays in them are not copied on the way. Each process is one
    result ahead at most. They ignore Ctrl-C, SIGTERM and SIGHUP: the generator ends them when it is closed.

    Raises WorkerError where a process died or `make` raised.
    """
    team: list[_Worker] = []
    try:
        for number in range(workers):
            team.append(_started(make, requests, number, workers, [worker.results for worker in team]))
        for worker in cycle(team):
            found = _received(worker)
            if isinstance(found, _Done):
                return
            if isinstance(found, _Failed):
                raise WorkerError(f"worker process {worker.process.pid} failed: {found.reason}")
            yield cast("_Made", found)
    finally:
        for worker in team:
            worker.process.kill()
            worker.results.close()
        for worker in team:
            worker.process.join(_SECONDS_TO_END)


def _started(
    make: Callable[[Any], Any], requests: Iterable[Any], number: int, workers: int, others: Sequence[BinaryIO]
) -> _Worker:
    reading, writing = os.pipe()
    with contextlib.suppress(OSError, AttributeError):  # Linux only, and limited for each user
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    results, sink = open(reading, "rb", buffering=0), open(writing, "wb", buffering=0)  # noqa: SIM115 - the team's
    mine = islice(requests, number, None, workers)
    process = multiprocessing.get_context("fork").Process(
        target=_serve, args=(make, mine, sink, [*others, results]), daemon=True
    )  # fmt: skip
    try:
        process.start()
    except (OSError, AssertionError) as error:  # no memory for a process, or a daemonic process, which may start none
        results.close()
        raise WorkerError(f"worker process {number + 1} of {workers} could not be started: {error}") from None
    finally:
        sink.close()
    return _Worker(process, results)


def _serve(make: Callable[[Any], Any], requests: Iterator[Any], sink: BinaryIO, not_ours: Sequence[BinaryIO]) -> None:
    """A worker's main function; it ends early when the reader has closed the pipe."""
    ignore_interrupts()
    for end in not_ours:
        end.close()
    with contextlib.suppress(BrokenPipeError):
        try:
            for request in requests:
                _send(sink, make(request))
            _send(sink, _Done())
        except BrokenPipeError:
            raise
        except Exception as error:
            _send(sink, _Failed(f"{type(error).__name__}: {' '.join(str(error).split())}"))


def _send(sink: BinaryIO, value: object) -> None:
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    raw = [buffer.raw() for buffer in buffers]
    sizes = [len(head), *(len(part) for part in raw)]
    _write(sink, memoryview(_LENGTH.pack(len(raw)) + b"".join(map(_LENGTH.pack, sizes)) + head))
    for part in raw:
        _write(sink, part)


def _write(sink: BinaryIO, data: memoryview) -> None:
    while data:
        data = data[sink.write(data) :]


def _received(worker: _Worker) -> object:
    try:
        (count,) = _LENGTH.unpack(_read(worker.results, _LENGTH.size))
        head, *sizes = (size for (size,) in _LENGTH.iter_unpack(_read(worker.results, _LENGTH.size * (count + 1))))
        content = _read(worker.results, head)
        return pickle.loads(content, buffers=[_read(worker.results, size) for size in sizes])
    except EOFError:
        raise WorkerError(_obituary(worker.process)) from None


def _read(source: BinaryIO, size: int) -> memoryview:
    """Read `size` bytes. Raises EOFError where the pipe ends before them."""
    found = np.empty(size, np.uint8).data
    left = found
    while left:
        count = source.readinto(left)  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        left = left[count:]
    return found


def _obituary(process: BaseProcess) -> str:
    process.join(_SECONDS_TO_END)
    status = process.exitcode
    if status is None or status >= 0:
        return f"worker process {process.pid} ended before its work was done, with status {status}"
    name = signal.Signals(-status).name
    why = ", as when memory is short: fewer workers need less" if name in ("SIGKILL", "SIGBUS") else ""
    return f"worker process {process.pid} was ended by {name}{why}"
