"""Norms as numbers: the kind, in the kernels' encoding, and the factor of its sum of squares."""

from __future__ import annotations

from dcnn_fast.networks import CrossMapNorm, Norm

NO_NORM, CROSS_MAP, SAME_MAP = 0, 1, 2  # enum Norm of csrc/cpu/kernel.h


def kind_of(norm: Norm | None) -> int:
    """`NO_NORM`, `CROSS_MAP` or `SAME_MAP`."""
    if norm is None:
        return NO_NORM
    return CROSS_MAP if isinstance(norm, CrossMapNorm) else SAME_MAP


def per_term(norm: Norm) -> float:
    """The factor of a norm's sum of squares."""
    return norm.scale / (norm.size if isinstance(norm, CrossMapNorm) else norm.size**2)
