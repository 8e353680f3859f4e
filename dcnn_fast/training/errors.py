"""The error that ends a diverged run."""

from __future__ import annotations


class DivergedError(ArithmeticError):
    """A loss or a weight that is not finite; the message names the step."""
