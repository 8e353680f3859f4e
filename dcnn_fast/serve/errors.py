"""Errors that become answers with a status and one line."""

from __future__ import annotations

from collections.abc import Mapping

from dcnn_fast.printable import printable


class RefusedError(Exception):
    """A request is refused. status: HTTP's. message: one line. headers: the answer's."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, printable(message), dict(headers or {})


class ClientGoneError(Exception):
    """The client no longer waits for the answer."""
