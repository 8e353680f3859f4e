"""Checks the Host of requests against DNS rebinding: a foreign page may resolve its own name to this machine."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache

_BARE = re.compile(r"[^:\[\]/?#@*\s]+")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]/?#@]+)(:[0-9]{0,5})?")


def require_bare(names: Sequence[str]) -> None:
    """Raise ValueError for names that cannot be a request's Host: with a port, in brackets, or a pattern."""
    for name in names:
        if _BARE.fullmatch(name) is None:
            raise ValueError(f"--allow-host must be a host's name without a port, brackets or *, got {name!r}")


def allows(hosts: Sequence[str] | None, said: str | None) -> bool:
    """Whether a request for this Host is answered. hosts: names, None for any.

    An address is admitted like one of the names, as only pages served there have it as their origin. So is a request without a
    Host, which no browser sends.
    """
    return hosts is None or said is None or _is_one_of(tuple(hosts), said)


@lru_cache(maxsize=32)
def _is_one_of(hosts: tuple[str, ...], said: str) -> bool:
    found = _HOST.fullmatch(said.strip().lower())
    if found is None:
        return False
    name = found[1].strip("[]").rstrip(".")
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in {host.lower() for host in hosts}
    return True
