"""Failures at every place in turn: writes that find the disk full or are the process's last, allocations that fail.

`Host` is a process that has imported the command and forks a child for each run, which saves each the seconds of importing.
What fails is decided below Python, in a library of C that stands before the system's (`injected.c`, compiled by the machine's
cc).
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("injected.c")
KINDS = ("none", "full", "kill", "memory", "kill_names")


def compiler():
    """The C compiler, or None."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


@dataclass(frozen=True)
class Run:
    """status: as os.waitpid's code; minus the signal that ended it. count: the number of places, 0 for a killed run."""

    status: int
    stdout: str
    stderr: str
    count: int


class Host:
    """Runs the command with a failure injected; use it in a with statement."""

    def __init__(self, folder):
        self.folder = Path(folder)
        library = self.folder / "injected.so"
        subprocess.run([compiler(), "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE)], check=True)
        environment = {**os.environ, "LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1", "INJECTED": str(library)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.injected"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
            cwd=Path(__file__).parents[1],
        )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait()

    def run(self, kind, at, arguments, *, under, least=1):
        """Run `dcnn-fast` with these arguments. kind: "none" to count only, "full" from write number `at` on to files in the
        folder `under`, "kill" within that write, "memory": allocation number `at`, of at least `least` bytes, while a
        picture is read, or "kill_names": before name number `at` is given or taken in that folder. Counted from 1.
        """
        task = {
            "kind": KINDS.index(kind),
            "at": at,
            "least": least,
            "under": str(under),
            "arguments": list(map(str, arguments)),
        }
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        return Run(**json.loads(self._process.stdout.readline()))


def _serve():
    from dcnn_fast.cli import score_run, train_run  # noqa: F401, PLC0415 - imported once, for all children
    from dcnn_fast.cli.main import run  # noqa: PLC0415
    from dcnn_fast.data import reading  # noqa: PLC0415

    library = ctypes.CDLL(os.environ["INJECTED"])
    plain = reading._guarded

    def armed(work):
        library.injected_arm(1)
        try:
            return plain(work)
        finally:
            library.injected_arm(0)

    reading._guarded = armed
    for line in sys.stdin:
        task = json.loads(line)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as counted:
            child = os.fork()
            if not child:
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                sys.argv = ["dcnn-fast", *task["arguments"]]
                library.injected_start(
                    task["kind"], ctypes.c_long(task["at"]), ctypes.c_long(task["least"]), task["under"].encode()
                )
                status = 1
                try:
                    run()
                    status = 0
                except SystemExit as error:
                    status = error.code if isinstance(error.code, int) else int(error.code is not None)
                except BaseException:
                    sys.excepthook(*sys.exc_info())
                finally:
                    number = library.injected_stop()
                    os.write(counted.fileno(), str(number).encode())
                    sys.stdout.flush()
                    sys.stderr.flush()
                    os._exit(status)
            _, code = os.waitpid(child, 0)
            said = []
            for stream in (out, err, counted):
                stream.seek(0)
                said.append(stream.read().decode(errors="replace"))
        found = {"status": os.waitstatus_to_exitcode(code), "stdout": said[0], "stderr": said[1], "count": int(said[2] or 0)}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    _serve()
