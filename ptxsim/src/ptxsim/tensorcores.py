"""Products of matrices, added as in tensor cores, as far as that has been measured and published.

A block of products and the accumulator are added at once: each term is truncated, towards zero, at a place given by the largest
of their exponents, with products not normalised before; the sum is exact, and its rounding is towards zero for fp32 and to
nearest for fp16. The blocks of one instruction are added in turn. The number of products in a block, and of bits beyond the 23
of fp32, depends on the architecture.

Sources: M. Fasi, N. J. Higham, M. Mikaitis and S. Pranesh, "Numerical behavior of NVIDIA tensor cores", PeerJ Computer Science
7:e330 (2021), for the scheme and Ampere; X. Li et al., "FTTN: Feature-Targeted Testing for Numerical Properties of NVIDIA & AMD
Matrix Accelerators", CCGrid 2024; F. A. Khattak and M. Mikaitis, "Accurate Models of NVIDIA Tensor Cores", arXiv:2512.07004
(2025), for the numbers, which they found to give the bits of A100, Ada and H100. They ran `mma`; that `wgmma` does the same is
assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .values import Array

_LEAST = {"f16": -14, "bf16": -126, "tf32": -126}  # exponents of normal numbers, used for subnormal ones too


@dataclass(frozen=True)
class TensorCore:
    """block: products added at once, by the type of their factors. bits: kept beyond those of fp32.

    least: lower bound of the largest exponent, None for none.
    """

    block: dict[str, int]
    bits: int
    least: int | None = None

    def multiply(self, left: Array, right: Array, old: Array, kind: str, *, half: bool) -> Array:
        """`old` + `left` · `right` for stacks of matrices in fp64, rounded to fp32 or, with `half`, fp16, in fp64."""
        width = self.block[kind]
        for start in range(0, left.shape[-1], width):
            part = slice(start, start + width)
            old = self._added(left[..., part], right[..., part, :], old, _LEAST[kind], half)
        return old

    def _added(self, left: Array, right: Array, old: Array, least: int, half: bool) -> Array:
        products = left[..., :, :, None] * right[..., None, :, :]
        exponents = _exponents(left, least)[..., :, :, None] + _exponents(right, least)[..., None, :, :]
        whole = (*np.broadcast_shapes(products.shape[:-3], old.shape[:-2]), *products.shape[-3:])
        products, exponents = np.broadcast_to(products, whole), np.broadcast_to(exponents, whole)
        old = np.broadcast_to(old, (*whole[:-2], whole[-1]))[..., :, None, :]
        terms = np.concatenate([products, old], axis=-2)
        highest = np.concatenate([exponents, _exponents(old, -126)], axis=-2)
        highest = np.where(terms == 0, -1000, highest).max(axis=-2)
        if self.least is not None:
            highest = np.maximum(highest, self.least)
        place = highest - 23 - self.bits
        sums = np.ldexp(np.trunc(np.ldexp(terms, -place[..., None, :])).sum(axis=-2), place)
        finite = np.isfinite(terms).all(axis=-2)
        sums = np.where(finite, sums, terms.sum(axis=-2))
        return sums.astype(np.float16).astype(np.float64) if half else _towards_zero(sums)


def _exponents(x: Array, least: int) -> Array:
    """Exponents of the leading bits, at least `least`."""
    return np.maximum(np.frexp(x)[1] - 1, least)


def _towards_zero(x: Array) -> Array:
    """fp64 numbers truncated to fp32. Values beyond its range become infinite."""
    single = x.astype(np.float32)
    single = np.where(np.abs(single) > np.abs(x), np.nextafter(single, np.float32(0)), single)
    return np.where(np.abs(x) >= 2.0**128, x * np.inf, single.astype(np.float64))


_AMPERE = TensorCore({"f16": 8, "bf16": 8, "tf32": 4}, bits=1)
_HOPPER = TensorCore({"f16": 16, "bf16": 16, "tf32": 8}, bits=2, least=-133)
MEASURED = {"sm_80": _AMPERE, "sm_86": _AMPERE, "sm_89": _AMPERE, "sm_90": _HOPPER}


def measured(target: str) -> TensorCore:
    """The tensor cores of a PTX target such as `sm_80`. Raises ValueError for targets without measurements here."""
    core = MEASURED.get(target.rstrip("af"))
    if core is None:
        raise ValueError(f"rounding='hardware' is known for {', '.join(MEASURED)}, not for {target or 'PTX without a target'}")
    return core
