"""What a file is refused with that is made of too much."""

from __future__ import annotations


class PartsError(ValueError):
    """A file of too many parts, or whose parts are out of proportion to it."""
