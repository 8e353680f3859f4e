"""Answers that say why there is none: a status and one line."""

from __future__ import annotations

from collections.abc import Mapping

from dcnn_fast.printable import printable


class RefusedError(Exception):
    """A request that gets no proper answer. status: HTTP's. message: one line. headers: of the answer."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, printable(message), dict(headers or {})


class ClientGoneError(Exception):
    """Nobody waits for the answer any more."""
