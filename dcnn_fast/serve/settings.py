"""A server's limits: on the queue, on a request's size and on its time."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_LEAST_TOKEN = 8  # characters: a shorter one could be guessed


@dataclass(frozen=True)
class Settings:
    """The limits and the access rules of a server.

    Args:
        images: The most images that wait or are computed at a time, over all requests; more are refused with 429.
        bytes: The most bytes of images that wait or are computed at a time, over all requests; more are refused with 429.
        body_bytes: The limit for one request, in bytes; a larger one is refused with 413.
        deadline: Seconds from a request's first byte to its answer; later it is 504, or 408 where the request has not fully
            arrived.
        workers: Images computed at a time, each on one thread, a single one on this many; None: torch.get_num_threads().
        token: A secret that all requests except those for health must send as `Authorization: Bearer TOKEN`; None requires
            none.
        root: The folder below which requests may name files on this machine; None: no files are read.
        hosts: The names allowed in requests' Host, besides addresses; None: any; others are answered with 421.

    Raises:
        ValueError: An argument is out of range; the message names it.
    """

    images: int = 64
    bytes: int = 256 * 2**20
    body_bytes: int = 64 * 2**20
    deadline: float = 60.0
    workers: int | None = None
    token: str | None = None
    root: Path | None = None
    hosts: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name, most in (("images", 100_000), ("bytes", 2**40), ("body_bytes", 2**36)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise ValueError(f"{name} must be an integer from 1 to {most}, got {value!r}")
        if self.body_bytes > self.bytes:
            raise ValueError(
                f"body_bytes must be at most bytes, {self.bytes}, or no such request could wait, got {self.body_bytes}"
            )
        if not isinstance(self.deadline, (int, float)) or isinstance(self.deadline, bool) or not 0 < self.deadline <= 86400:
            raise ValueError(f"deadline must be seconds, more than 0 and at most 86400, got {self.deadline!r}")
        if self.workers is not None and (type(self.workers) is not int or not 1 <= self.workers <= 256):
            raise ValueError(f"workers must be an integer from 1 to 256, got {self.workers!r}")
        if self.token is not None and (
            len(self.token) < _LEAST_TOKEN or not self.token.isprintable() or not self.token.isascii()
        ):
            raise ValueError(f"token must have at least {_LEAST_TOKEN} characters of ASCII, none of them a control character")
        if self.root is not None and not os.path.isdir(self.root):
            raise ValueError(f"root must be a folder, got {self.root}")
