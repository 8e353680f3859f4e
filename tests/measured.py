"""What the command costs: seconds of the processor and memory beyond what a process has that has loaded everything."""

from __future__ import annotations

import os
import resource
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import reduction

from tests.cli import command

SECONDS, MEGABYTES, LETTERS = 5, 1000, 2000  # of any hostile file; of what is said of it
_GIGABYTES = 4  # that a process may take more, so that a fault hurts no other program


@dataclass(frozen=True)
class Measured:
    """How the command ended (None: it was killed by its limits), what it said, and what it cost."""

    status: int
    said: str
    seconds: float
    megabytes: float


def run(*arguments, cwd=None):
    """The command in a process of its own, forked from one that has imported all."""
    with ExitStack() as stack:
        streams = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(4)]
        numbers = [reduction.DupFd(stream.fileno()) for stream in streams]
        process = command.warm().Process(target=_in_child, args=(list(map(str, arguments)), cwd, numbers, dict(os.environ)))
        process.start()
        process.join(120)
        for stream in streams:
            stream.seek(0)
        _, out, err, costs = (stream.read().decode(errors="surrogateescape") for stream in streams)
    seconds, megabytes = map(float, costs.split()) if costs else (float("inf"), float("inf"))
    return Measured(process.exitcode, out + err, seconds, megabytes)


def require_refused(message, *arguments, cwd=None, status=2):
    """That the command ends with `message` on one line, within the budget of a hostile file."""
    found = run(*arguments, cwd=cwd)
    assert found.status == status, (found.status, found.said[-1500:])
    assert message in found.said and len(found.said) < LETTERS and found.said.count("\n") == 1, found.said[-1500:]
    require_cheap(found)


def require_cheap(found):
    """That it stayed within the budget of a hostile file."""
    assert found.seconds < SECONDS and found.megabytes < MEGABYTES, found


def _in_child(arguments, cwd, numbers, variables):
    costs = numbers.pop().detach()
    before, started = _kilobytes("VmRSS"), time.process_time()
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
    limit = (_kilobytes("VmSize") << 10) + (_GIGABYTES << 30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        command.in_child(arguments, cwd, numbers, variables)
    finally:
        os.write(costs, f"{time.process_time() - started} {(_kilobytes('VmHWM') - before) / 1024}".encode())


def _kilobytes(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name + ":"))
