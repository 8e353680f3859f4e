"""`python -c` in a process forked from one that has imported the commands, which takes a cold process two seconds.

`python()` is a path that stands for that of Python where what follows is `-c`, a program and its arguments. `run`
is the same for those who need no process of their own. The forked process has its starter's streams, folder, environment,
limits and ignored signals, and ends as a cold one does; `warm_client.py`, which stands for it, hands on signals, and dies of
what it died of.

What differs: its parent, session and process group are the server's, the modules of the commands are loaded already, and
variables that Python or torch read when they start say nothing any more. Tests of these things start a cold process.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import os
import pkgutil
import resource
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path

from tests import warm_client

ROOT = Path(__file__).parents[1]
# The server's program; each child runs its own program at the top of it.
START = "from tests.warm import ending, program\nwith ending: exec(program())"
MORE = (  # modules that commands import only when needed
    "dcnn_fast.evaluation.reproduce", "matplotlib.backends.backend_agg", "matplotlib.figure", "scipy.stats",
    "sklearn.linear_model", "sklearn.metrics", "typer._adapters", "dcnn_fast.serve.app", "uvicorn", "httptools",
)  # fmt: skip
SECONDS = 200  # a process's limit of time


def python():
    """The path that stands for Python's."""
    return os.path.join(_server(os.getpid()), "python")


def run(code, arguments=(), cwd=None, input="", env=None):
    """Run `code` in a process to its end, with its output as text. env: all its variables, this process's if None."""
    with ExitStack() as stack:
        streams = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
        streams[0].write(input.encode(errors="surrogateescape"))
        streams[0].seek(0)
        connection = stack.enter_context(warm_client.connected(_server(os.getpid())))
        numbers = {number: stream.fileno() for number, stream in enumerate(streams)}
        words = ["-c", code, *map(str, arguments)]
        warm_client.ask(connection, words, numbers, cwd=cwd and os.fspath(cwd), variables=env)
        connection.settimeout(SECONDS)
        warm_client.number(connection)
        status = warm_client.number(connection)
        said = []
        for stream in streams[1:]:
            stream.seek(0)
            said.append(stream.read().decode(errors="surrogateescape"))
    return subprocess.CompletedProcess(words, status, *said)


@cache
def _server(_pid):
    """The folder of this process's server, which ends when this process does. _pid: a forked child gets its own."""
    folder = tempfile.mkdtemp(prefix="warm")
    path = Path(folder, "python")
    path.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-I", "-S", warm_client.__file__, folder])} "$@"\n')
    path.chmod(0o700)
    mine, its = socket.socketpair()
    with its, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(warm_client.address(folder))
        listening.listen(16)
        numbers = listening.fileno(), its.fileno()
        process = subprocess.Popen(
            [sys.executable, "-c", START, folder, *map(str, numbers)], cwd=ROOT, pass_fds=numbers, stdin=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True,
        )  # fmt: skip
    _KEPT.append((mine, process))
    return folder


_KEPT = []  # the servers, each with a socket whose other end reads as closed when this process is gone


def program():
    """Serve until a child is forked; in the child, returns the code to run. The server itself does not return."""
    folder, *numbers = sys.argv[1:]
    atexit.register(ending.end)  # registered before the imports' functions, hence run after them
    _load()
    listening, alive = (socket.socket(fileno=int(number)) for number in numbers)
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children, left = {}, []  # each child's connection by its process id, and children whose starters are gone
    while True:
        ready, _, _ = select.select([listening, alive, woken, *children.values()], [], [])
        if woken in ready:
            with suppress(BlockingIOError):
                os.read(woken, 1000)
        for pid, connection in list(children.items()):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                del children[pid]
                with connection, suppress(OSError):
                    warm_client.say(connection, os.waitstatus_to_exitcode(status))
            elif connection in ready or alive in ready:  # nothing is ever sent there, so it was closed
                os.kill(pid, signal.SIGKILL)
                children.pop(pid).close()
                left.append(pid)
        left = [pid for pid in left if not os.waitpid(pid, os.WNOHANG)[0]]
        if alive in ready:
            shutil.rmtree(folder, ignore_errors=True)
            os._exit(0)
        if listening not in ready:
            continue
        connection, _ = listening.accept()
        try:
            request, streams = warm_client.asked(connection)
        except EOFError:  # the starter was killed
            connection.close()
            continue
        pid = os.fork()
        if pid:
            children[pid] = connection
            with suppress(OSError):
                warm_client.say(connection, pid)
            for stream in streams.values():
                os.close(stream)
            continue
        for each in (listening, alive, connection, *children.values()):
            each.close()
        signal.set_wakeup_fd(-1)
        os.close(woken)
        os.close(wake)
        return _become(request, streams)


class Ending:
    """Ends a child once Python has run everything that a program can see, before the slow release of its modules."""

    def __init__(self):
        self._status = 0

    def __enter__(self):
        pass

    def __exit__(self, kind, error, _traceback):
        """Keep the status with which Python is about to end, as it sees the error next; a signal is negative."""
        if kind is SystemExit:
            code = error.code
            self._status = code & 255 if isinstance(code, int) else int(code is not None)
        elif kind is not None:
            self._status = -signal.SIGINT if issubclass(kind, KeyboardInterrupt) else 1

    def end(self):
        """Run after all other functions that are registered for the end."""
        for stream in (sys.stdout, sys.stderr):
            try:
                if stream is not None and not stream.closed:
                    stream.flush()
            except Exception as error:
                if stream is sys.stdout:
                    with suppress(Exception):
                        print(f"Exception ignored in: {stream!r}\n{type(error).__name__}: {error}", file=sys.stderr, flush=True)
                    self._status = 120
        if self._status < 0:
            signal.signal(-self._status, signal.SIG_DFL)
            os.kill(os.getpid(), -self._status)
        os._exit(self._status)


ending = Ending()


def _load():
    import dcnn_fast.cli  # noqa: PLC0415 - for the server alone

    for name in (*(f"dcnn_fast.cli.{each.name}" for each in pkgutil.iter_modules(dcnn_fast.cli.__path__)), *MORE):
        with suppress(ImportError):  # an extra that is not installed
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # so that children share these pages


def _become(request, streams):
    """Become the requested process; returns its program."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in request["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    for number, limits in request["limits"]:
        if resource.getrlimit(number) != tuple(limits):
            resource.setrlimit(number, limits)
    os.umask(request["umask"])
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["variables"])
    time.tzset()
    for number in range(3):
        if number in streams:
            os.dup2(streams[number], number)
        else:
            os.close(number)
    for stream in streams.values():
        os.close(stream)
    sys.stdin, sys.stdout, sys.stderr = (_stream(number) if number in streams else None for number in range(3))
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    flag, code, *arguments = request["words"]
    assert flag == "-c"
    sys.argv = [flag, *arguments]
    return compile(code, "<string>", "exec")


def _stream(number):
    """A standard stream, as Python makes it at its start."""
    before = (sys.stdin, sys.stdout, sys.stderr)[number]
    encoding, _, errors = os.environ.get("PYTHONIOENCODING", "").partition(":")
    encoding = encoding or before.encoding
    if number == 2:
        errors = "backslashreplace"
    elif not errors:
        errors = "strict" if "PYTHONIOENCODING" in os.environ else before.errors
    raw = io.FileIO(number, "w" if number else "r", closefd=False)
    binary = io.BufferedWriter(raw) if number else io.BufferedReader(raw)
    lines = number == 2 or raw.isatty()
    return io.TextIOWrapper(binary, encoding, errors, newline="\n" if number else None, line_buffering=lines)
