"""Connections of `dcnn-fast serve`: a head that does not come is not waited for, and idle ones give way to new ones.

uvicorn limits neither. Without room for another descriptor its loop would log the same error hundreds of times a second.
"""

from __future__ import annotations

import asyncio
import resource
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MOST_HEAD = 2**16  # bytes
_OF_PROGRAM = 64  # descriptors for all else: files of requests, the model's, the event loop's
_MOST = 10_000


@dataclass(frozen=True)
class Limits:
    """connections: open at a time at most. backlog: those that the system keeps, and that one turn of the loop takes.

    seconds: that a request's head may take, and a new connection may be idle.
    """

    connections: int
    backlog: int
    seconds: float

    @staticmethod
    def of_process(seconds: float) -> Limits:
        """As many connections as this process may have descriptors for."""
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = _MOST if descriptors == resource.RLIM_INFINITY else descriptors
        backlog = max(4, min(128, most // 8))
        return Limits(max(4, min(_MOST, most - 2 * backlog - _OF_PROGRAM)), backlog, seconds)


def protocol_of(limits: Limits) -> type[HttpToolsProtocol]:
    """The protocol that uvicorn is to run each connection by."""

    class Connection(_Connection):
        _limits = limits

    return Connection


class _Connection(HttpToolsProtocol):
    _limits: Limits

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._late: asyncio.TimerHandle | None = None
        self._head = 0  # bytes of the head that have come

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a head; where there are too many connections, the oldest idle one is closed, or else this one."""
        super().connection_made(transport)
        self._wait_for_head()
        if len(self.connections) > self._limits.connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_has_come()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Of a request that has not begun, the head is waited for, whatever comes before it."""
        if self.is_idle and self._late is None:
            self._wait_for_head()
        super().data_received(data)

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count(len(name) + len(value))

    def on_headers_complete(self) -> None:
        self._head_has_come()
        self._head = 0
        super().on_headers_complete()

    @property
    def is_idle(self) -> bool:
        """Whether no request of it is in work."""
        return self.cycle is None or self.cycle.response_complete

    def _make_room(self) -> None:
        there = [each for each in self.connections if isinstance(each, _Connection) and not each.transport.is_closing()]
        if len(there) > self._limits.connections:
            idle = (each for each in there if each.is_idle)  # this one is
            min(idle, key=lambda each: each.since).transport.abort()

    def _wait_for_head(self) -> None:
        self.since = self.loop.time()
        self._late = self.loop.call_later(self._limits.seconds, self._close)

    def _head_has_come(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > _MOST_HEAD:
            self._close()

    def _close(self) -> None:
        self._late = None
        if not self.transport.is_closing():
            self.transport.abort()
