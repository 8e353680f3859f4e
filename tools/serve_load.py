"""Load on a server of one's own, on loopback: how it compares with `Scorer.score_many`, and at four times its rate.

    python -m tools.serve_load PHOTOGRAPHS [--seconds 10] [--over 4]

Client and server share the machine: the client's processor time is printed. Every answer is counted by its status; a request
without one is an error.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dcnn_fast import Scorer
from dcnn_fast.data.folders import find_images

_STATUS = re.compile(rb"HTTP/1\.1 (\d+)")


class Client:
    """One connection that is kept; the body is sent at once."""

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


async def closed(port: int, bodies: Sequence[bytes], clients: int, seconds: float) -> Counter[int]:
    """Each client sends its next request when it has its answer."""
    answers: Counter[int] = Counter()
    end = time.monotonic() + seconds

    async def one(number: int) -> None:
        client, at = Client(port), number
        while time.monotonic() < end:
            answers[await client.post(bodies[at % len(bodies)])] += 1
            at += clients

    await asyncio.gather(*(one(number) for number in range(clients)))
    return answers


async def opened(port: int, bodies: Sequence[bytes], rate: float, seconds: float) -> Counter[int]:
    """Requests come at that rate, whatever becomes of the others."""
    answers: Counter[int] = Counter()
    idle: list[Client] = []

    async def one(body: bytes) -> None:
        client = idle.pop() if idle else Client(port)
        try:
            answers[await client.post(body)] += 1
            idle.append(client)
        except (OSError, asyncio.IncompleteReadError):
            answers[0] += 1

    start, tasks = time.monotonic(), []
    for number in range(int(rate * seconds)):
        delay = start + number / rate - time.monotonic()
        if delay > 0:
            await asyncio.sleep(delay)
        tasks.append(asyncio.create_task(one(bodies[number % len(bodies)])))
    await asyncio.gather(*tasks)
    return answers


def _peak(process: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    return int(found[1]) if found else 0


def _seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _in_process(bodies: Sequence[bytes], seconds: float) -> float:
    """Pictures a second of score_many."""
    scorer, done = Scorer(), 0
    list(scorer.score_many(bodies[:8]))
    start = time.monotonic()
    while time.monotonic() < start + seconds:
        done += sum(score.error is None for score in scorer.score_many(bodies))
    return done / (time.monotonic() - start)


def main() -> None:
    """Print the rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--over", type=float, default=4.0)
    options = parser.parse_args()
    bodies = [path.read_bytes() for path in find_images([options.photographs])][:200]
    alone = _in_process(bodies, options.seconds)
    program = "from dcnn_fast.cli.main import run; run()"
    command = [sys.executable, "-c", program, "serve", "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    assert server.stderr is not None
    port = int(server.stderr.readline().rsplit(":", 1)[1])
    asyncio.run(closed(port, bodies, 4, 2.0))
    before, used = _peak(server.pid), _seconds()
    answers = asyncio.run(closed(port, bodies, 8, options.seconds))
    capacity, client = answers[200] / options.seconds, _seconds() - used
    print(f"score_many in process {alone:.1f} a second; served {capacity:.1f} a second, {capacity / alone:.1%}")
    print(f"  client {client:.2f} s of processor time in {options.seconds:g} s; answers {dict(answers)}")
    used, start = _seconds(), time.monotonic()
    answers = asyncio.run(opened(port, bodies, options.over * capacity, options.seconds))
    taken, client = time.monotonic() - start, _seconds() - used
    print(f"offered {options.over:g} x: served {answers[200] / taken:.1f} a second, {answers[200] / taken / capacity:.1%}")
    memory = f"memory {before // 1024} -> {_peak(server.pid) // 1024} MB"
    print(f"  client {client:.2f} s; answers {dict(answers)}, none {answers[0]}; {memory}")
    server.send_signal(signal.SIGTERM)
    print(f"SIGTERM: status {server.wait(60)}")


if __name__ == "__main__":
    main()
