"""What stands in the way of scoring a collection."""

from __future__ import annotations


class BatchError(ValueError):
    """A collection that cannot be scored as it was asked; the message says why."""
