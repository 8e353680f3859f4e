"""The part in C++ (`src/native`): a single pass, where numpy needs many, for accesses that break no rule.

Where it is built, it is tried first. If an access breaks a rule, it changes nothing and returns None, and numpy repeats the
access and names the rule. So findings, counts and bits (the payload of a NaN aside) are those of numpy alone; tests compare
them. `PTXSIM_NATIVE=0` disables it.
"""

from __future__ import annotations

import os
from typing import Any, Protocol, cast

import numpy as np

from .values import Array

SharedCounts = tuple[int, int, int, int]
"""Requests of warps, accesses of threads, wavefronts, and wavefronts without bank conflicts."""

SharedState = tuple[Array, int, Array, Array, Array, Array | None, int, int, Array, Array | None, int]
"""Bytes, how many may be accessed, tags of writes and reads, epochs, copies under way, granule, instruction; then the access:
addresses, active threads (None: all), threads of a block."""


class Native(Protocol):
    """The functions of `ptxsim._native`. Registers and masks have two axes, (blocks or 1, threads or 1)."""

    def shared_load(self, *state: Any) -> tuple[Array, SharedCounts] | None:
        """Arguments: a `SharedState` and the type to read. Returns the register and the counts."""

    def shared_store(self, *state: Any) -> tuple[bool, SharedCounts] | None:
        """Arguments: a `SharedState` and the values. Returns whether values differed at one place, and the counts."""

    def shared_copy(self, *state: Any) -> SharedCounts | None:
        """Arguments: a `SharedState` and the bytes of each thread. Records the start of an asynchronous copy."""

    def shared_matrices(self, *state: Any) -> tuple[Array, SharedCounts] | None:
        """Arguments: a `SharedState`, matrices, transposed. Returns (matrices, thread blocks, threads) and counts."""

    def global_find(self, address: Array, active: Array | None, size: int, bases: Array, ends: Array) -> int:
        """Index of the allocation that holds all accesses, which are aligned; -1 where there is none."""

    def global_load(self, address: Array, active: Array | None, dtype: np.dtype[Any]) -> Array | None:
        """The values at the addresses, unchecked. None for an unsupported width."""

    def global_count(
        self, address: Array, active: Array | None, threads: int, first: int, touched: Array
    ) -> tuple[int, int, int]:
        """Accesses, requests and 32-byte sectors, which are marked in `touched`, beginning with sector number `first`."""

    def mma(self, kind: str, a: list[Array], b: list[Array], c: list[Array], rows: int, threads: int) -> list[Array]:
        """The four registers of an m16n8k… product with fp32 sums."""

    def prmt(self, a: Array, b: Array, selector: Array) -> Array:
        """Bytes of two words, chosen by a third."""

    def fma(self, a: Array, b: Array, c: Array, flushed: bool) -> Array:
        """a · b + c of fp32 registers, through fp64; flushed: with subnormal numbers as zeros."""

    def extremum(self, a: Array, b: Array, maximum: bool, propagate: bool) -> Array:
        """The smaller or larger of fp32 registers; propagate: NaN if one of them is NaN."""

    def pair(self, high: Array, low: Array, half: bool) -> Array:
        """fp32 registers rounded to fp16 or bf16, packed in one word."""

    def dp4a(self, a: Array, b: Array, c: Array, a_signed: bool, b_signed: bool) -> Array:
        """The dot product of four bytes each, added to a word."""

    def shfl(
        self, mode: str, x: Array, by: Array, clamp: Array, active: Array | None, threads: int
    ) -> tuple[Array, Array] | None:
        """Words from other lanes of the warp, and whether each lane is in range."""


def _built() -> Native | None:
    try:
        from . import _native  # type: ignore[attr-defined, unused-ignore]  # noqa: PLC0415 - not built everywhere
    except ImportError:
        return None
    return cast(Native, _native)


built = _built()
fast = built if os.environ.get("PTXSIM_NATIVE", "1") != "0" else None
