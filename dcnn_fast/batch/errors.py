"""The error for a collection that cannot be scored."""

from __future__ import annotations


class BatchError(ValueError):
    """A collection cannot be scored as requested; the message says why."""
