"""Puts load on a server started here, on loopback. They share the machine, so the client's processor time is reported.

Answers are counted by status; a request without an answer counts as 0.
"""

from __future__ import annotations

import asyncio
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_STATUS = re.compile(rb"HTTP/1\.1 (\d+)")
_PROGRAM = "from dcnn_fast.cli.main import run; run()"


@dataclass(frozen=True)
class Load:
    """answers: by status, 0 for none. seconds: the duration. client: the client's processor time during it."""

    answers: Counter[int]
    seconds: float
    client: float

    @property
    def rate(self) -> float:
        """Scored pictures per second."""
        return self.answers[200] / self.seconds


@dataclass(frozen=True)
class Server:
    """A running server. port: on loopback. process: its id."""

    port: int
    process: int

    def peak(self) -> int:
        """Its peak memory, in bytes."""
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.process}/status").read_text())
        return 1024 * int(found[1]) if found else 0


@contextmanager
def server(*options: str) -> Iterator[Server]:
    """A server with the shipped model and these options of `dcnn-fast serve`, stopped with SIGTERM."""
    command = [sys.executable, "-c", _PROGRAM, "serve", "--port", "0", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        if not said.startswith("serving on "):
            raise RuntimeError(f"the server did not start: {said}{process.stderr.read()}")
        yield Server(int(said.rsplit(":", 1)[1]), process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=120)


def closed(port: int, bodies: Sequence[bytes], clients: int, seconds: float) -> Load:
    """Closed loop: each client sends its next request after its answer."""
    return _measured(_closed(port, bodies, clients, seconds))


def opened(port: int, bodies: Sequence[bytes], rate: float, seconds: float) -> Load:
    """Open loop: requests are sent at this rate, whatever the answers."""
    return _measured(_opened(port, bodies, rate, seconds))


class _Client:
    """One persistent connection; the body is sent at once."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def post(self, body: bytes) -> int:
        """The status of /v1/score's answer."""
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        head = f"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        self._writer.write(head + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", answer)
        status = _STATUS.match(answer)
        if length is None or status is None:
            raise OSError("no answer of HTTP")
        await self._reader.readexactly(int(length[1]))
        return int(status[1])


async def _closed(port: int, bodies: Sequence[bytes], clients: int, seconds: float) -> Counter[int]:
    answers: Counter[int] = Counter()
    end = time.monotonic() + seconds

    async def one(number: int) -> None:
        client, at = _Client(port), number
        while time.monotonic() < end:
            answers[await client.post(bodies[at % len(bodies)])] += 1
            at += clients

    await asyncio.gather(*(one(number) for number in range(clients)))
    return answers


async def _opened(port: int, bodies: Sequence[bytes], rate: float, seconds: float) -> Counter[int]:
    answers: Counter[int] = Counter()
    idle: list[_Client] = []

    async def one(body: bytes) -> None:
        client = idle.pop() if idle else _Client(port)
        try:
            answers[await client.post(body)] += 1
            idle.append(client)
        except (OSError, asyncio.IncompleteReadError):
            answers[0] += 1

    start, tasks = time.monotonic(), []
    for number in range(max(1, int(rate * seconds))):
        delay = start + number / rate - time.monotonic()
        if delay > 0:
            await asyncio.sleep(delay)
        tasks.append(asyncio.create_task(one(bodies[number % len(bodies)])))
    await asyncio.gather(*tasks)
    return answers


def _measured(work: Coroutine[Any, Any, Counter[int]]) -> Load:
    used, start = _processor(), time.monotonic()
    answers = asyncio.run(work)
    return Load(answers, time.monotonic() - start, _processor() - used)


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
