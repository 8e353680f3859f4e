"""The command's cost: processor seconds and memory beyond those of a process that has loaded everything."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass

from tests import warm
from tests.cli import command

SECONDS, MEGABYTES, LETTERS = 5, 1000, 2000  # for any hostile file; for its messages
# The process itself may take 4 GB and a minute of processor time, so that a fault hurts no other program.
PROGRAM = f"""
import resource, sys, time
costs = open(sys.argv.pop(1), "w")

def kilobytes(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name + ":"))

before, started = kilobytes("VmRSS"), time.process_time()
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
limit = (kilobytes("VmSize") << 10) + (4 << 30)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    {command.PROGRAM}
finally:
    costs.write(f"{{time.process_time() - started}} {{(kilobytes('VmHWM') - before) / 1024}}")
    costs.close()
"""


@dataclass(frozen=True)
class Measured:
    """The command's status (None: its limits killed it), output and cost."""

    status: int
    said: str
    seconds: float
    megabytes: float


def run(*arguments, cwd=None):
    """Run the command in its own process, forked from one that has imported everything."""
    with tempfile.NamedTemporaryFile("r") as file:
        found = warm.run(PROGRAM, [file.name, *arguments], cwd)
        costs = file.read()
    seconds, megabytes = map(float, costs.split()) if costs else (float("inf"), float("inf"))
    return Measured(found.returncode, found.stdout + found.stderr, seconds, megabytes)


def made(content):
    """The content of a case. Large contents are functions, as constants would stay in every process of the tests."""
    return content() if callable(content) else content


def require_refused(message, *arguments, cwd=None, status=2):
    """Require that the command ends with `message` on one line, within the budget of a hostile file."""
    found = run(*arguments, cwd=cwd)
    assert found.status == status, (found.status, found.said[-1500:])
    assert message in found.said and len(found.said) < LETTERS and found.said.count("\n") == 1, found.said[-1500:]
    require_cheap(found)


def require_cheap(found):
    """Require that the command stayed within the budget of a hostile file."""
    assert found.seconds < SECONDS and found.megabytes < MEGABYTES, found
