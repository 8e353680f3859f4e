"""Names of pictures."""

from __future__ import annotations


def safe(name: str) -> str:
    """The name with what file systems may not like replaced."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name)
