"""The error for a file of too many parts."""

from __future__ import annotations


class PartsError(ValueError):
    """A file has too many parts, or parts out of proportion to its size."""
