"""Stands for a process of `tests/warm.py`: `python -I -S warm_client.py FOLDER -c PROGRAM ARGUMENT...`.

It is started often, so it imports little and nothing of the project.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import socket
import struct
import sys
from contextlib import suppress

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
LIMITS = [value for name, value in vars(resource).items() if name.startswith("RLIMIT_")]
_NUMBER = struct.Struct("!i")


def address(folder):
    """The address of that folder's server."""
    return os.path.join(folder, "server")


def connected(folder):
    """A connection to the server. Its number is not 0, 1 or 2, which are free in a process with closed streams."""
    with socket.socket(socket.AF_UNIX) as first:
        first.connect(address(folder))
        return socket.socket(fileno=fcntl.fcntl(first.fileno(), fcntl.F_DUPFD_CLOEXEC, 3))


def ask(connection, words, streams, cwd=None, variables=None, ignored=()):
    """Request a process. streams: the file numbers of its open ones among standard input, output and error."""
    umask = os.umask(0)
    os.umask(umask)
    request = {
        "words": words, "cwd": cwd or os.getcwd(), "variables": dict(os.environ) if variables is None else variables,
        "ignored": ignored, "umask": umask, "limits": [(limit, resource.getrlimit(limit)) for limit in LIMITS],
        "streams": list(streams),
    }  # fmt: skip
    data = json.dumps(request).encode()
    head, numbers = _NUMBER.pack(len(data)), list(streams.values())
    if numbers:
        socket.send_fds(connection, [head], numbers)
    else:
        connection.sendall(head)
    connection.sendall(data)


def asked(connection):
    """The request that `ask` sent, and its streams' numbers here."""
    head, numbers, _, _ = socket.recv_fds(connection, _NUMBER.size, 3)
    request = json.loads(_all(connection, _NUMBER.unpack(head + _all(connection, _NUMBER.size - len(head)))[0]))
    return request, dict(zip(request["streams"], numbers, strict=True))


def say(connection, number):
    """Send a number."""
    connection.sendall(_NUMBER.pack(number))


def number(connection):
    """Receive a number."""
    return _NUMBER.unpack(_all(connection, _NUMBER.size))[0]


def _all(connection, size):
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError("the other side has gone")
        data += part
    return data


def main():
    """Act as the process, as far as its starter can tell."""
    streams = {}
    for stream in range(3):
        with suppress(OSError):  # the stream is closed
            os.fstat(stream)
            streams[stream] = stream
    pid, early = None, []

    def hand_on(signum, _frame):
        if pid is None:
            early.append(signum)
            return
        with suppress(ProcessLookupError):  # the process has ended and its status is on the way
            os.kill(pid, signum)

    ignored = [signum for signum in SIGNALS if signal.getsignal(signum) == signal.SIG_IGN]
    for signum in SIGNALS:
        if signum not in ignored:
            signal.signal(signum, hand_on)
    connection = connected(sys.argv[1])
    ask(connection, sys.argv[2:], streams, ignored=ignored)
    for stream in streams:  # their readers must see when the process closes them
        os.close(stream)
    pid = number(connection)
    for signum in early:
        hand_on(signum, None)
    status = number(connection)
    if status < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(-status, signal.SIG_DFL) if -status not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), -status)
    os._exit(status)


if __name__ == "__main__":
    main()
