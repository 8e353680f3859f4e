"""Connections of `dcnn-fast serve`: timeouts for request heads and for clients that do not read; new connections replace idle
ones.

uvicorn limits neither. When out of file descriptors, its loop would log the same error hundreds of times per second.
"""

from __future__ import annotations

import asyncio
import resource
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MOST_HEAD = 2**16  # bytes
_LEAST_READ = 2**14  # bytes of an answer that a client must read within a head's time limit
_OF_PROGRAM = 64  # descriptors for everything else: files of requests, the model's, the event loop's
_MOST = 10_000


@dataclass(frozen=True)
class Limits:
    """connections: the most open at a time. backlog: the most that the system queues and that one turn of the loop accepts.

    seconds: the limit for a request's head, for a new connection's idling, and for leaving an answer unread.
    """

    connections: int
    backlog: int
    seconds: float

    @staticmethod
    def of_process(seconds: float) -> Limits:
        """As many connections as the process's descriptor limit allows."""
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = _MOST if descriptors == resource.RLIM_INFINITY else descriptors
        backlog = max(4, min(128, most // 8))
        return Limits(max(4, min(_MOST, most - 2 * backlog - _OF_PROGRAM)), backlog, seconds)


def protocol_of(limits: Limits) -> type[HttpToolsProtocol]:
    """The protocol class for uvicorn's connections."""

    class Connection(_Connection):
        _limits = limits

    return Connection


class _Connection(HttpToolsProtocol):
    _limits: Limits

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._late: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._head = 0  # received bytes of the head
        self._begun = 0  # bytes received since the last whole head or piece of a body
        self._aborted = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a head; with too many connections, close the oldest idle one, possibly this one."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # so that any unread byte starts the time limit
        self._wait_for_head()
        if len(self.connections) > self._limits.connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_has_come()
        self._is_read()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; until a request has begun, the head's time limit runs, whatever comes before it.

        The parser joins the pieces of one field, of head or trailer, and reports it at its end: an overlong one must not reach
        it.
        """
        if self.is_idle and self._late is None:
            self._wait_for_head()
        if self._begun > _MOST_HEAD:
            self._abort()
            return
        self._begun += len(data)
        super().data_received(data)

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count(len(name) + len(value))

    def on_headers_complete(self) -> None:
        self._head_has_come()
        self._head = self._begun = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._begun = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Mark the connection as idle."""
        self.since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Start the time limit for a client that has not read all of an answer."""
        super().pause_writing()
        if self._unread is None and not self._aborted:
            self._wait_for_reading()

    def resume_writing(self) -> None:
        self._is_read()
        super().resume_writing()

    @property
    def is_idle(self) -> bool:
        """Whether it has no request in progress."""
        return self.cycle is None or self.cycle.response_complete

    def _make_room(self) -> None:
        """Close the oldest idle connection. Closing ones count, as they hold a descriptor until the client has read all."""
        there = [each for each in self.connections if isinstance(each, _Connection) and not each._aborted]
        if len(there) > self._limits.connections:
            idle = (each for each in there if each.is_idle)  # this one is idle
            min(idle, key=lambda each: each.since)._abort()

    def _wait_for_head(self) -> None:
        self.since = self.loop.time()
        self._late = self.loop.call_later(self._limits.seconds, self._abort)

    def _head_has_come(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _wait_for_reading(self) -> None:
        unsent = self.transport.get_write_buffer_size()

        def look() -> None:
            if self.transport.get_write_buffer_size() > unsent - _LEAST_READ:
                self._abort()
            else:
                self._wait_for_reading()

        self._unread = self.loop.call_later(self._limits.seconds, look)

    def _is_read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > _MOST_HEAD:
            self._abort()

    def _abort(self) -> None:
        """Close it at once, even if it is already closing and waits for its client to read."""
        self._aborted = True
        self._head_has_come()
        self._is_read()
        self.transport.abort()
