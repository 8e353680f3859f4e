"""Matrix descriptors of `wgmma`: where the elements of an operand lie in shared memory.

As in the PTX ISA, section "Asynchronous Warpgroup Level Matrix Instructions": the canonical layouts, their strides in units of
16 bytes, and the swizzle, which depends on the address, not on the place in the matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .values import Array

UNIT = 16  # bytes: the unit of a descriptor
# Bytes in a row of the swizzled pattern, by the field in bits 62 and 63.
_SWIZZLES = {0: 16, 1: 128, 2: 64, 3: 32}


@dataclass(frozen=True)
class Descriptor:
    """start: byte address of the operand. leading, stride: bytes. swizzle: bytes in a row of the pattern, 16 for none.

    base: the offset of the pattern in rows, where it does not start at the address's alignment.
    """

    start: int
    leading: int
    stride: int
    base: int
    swizzle: int

    @property
    def repeat(self) -> int:
        """Bytes after which the swizzled pattern repeats."""
        return 8 * self.swizzle

    def misplaced(self) -> bool:
        """Whether the address lies inside a pattern of eight rows, 16, 32, 64 or 128 bytes apart, without a base offset."""
        return self.swizzle > UNIT and self.start % self.repeat >= self.swizzle

    def offsets(self, outer: int, inner: int, size: int, transposed: bool) -> Array:
        """Byte offsets of an operand, (outer, inner).

        outer: its rows, along M or N. inner: along K. size: bytes of an element. transposed: elements along M or N are
        contiguous, rather than those along K.
        """
        per = UNIT // size
        rows, columns = np.arange(outer, dtype=np.int64)[:, None], np.arange(inner, dtype=np.int64)[None, :]
        if transposed:
            unit, within = rows // per, rows % per * size
            wide = self.swizzle // UNIT
            if wide == 1:
                place = unit * self.stride + columns // 8 * self.leading + columns % 8 * UNIT
            else:
                place = (
                    unit % wide * UNIT + unit // wide * self.leading + columns % 8 * self.swizzle + columns // 8 * self.stride
                )
        else:
            unit, within = columns // per, columns % per * size
            along = self.leading if self.swizzle == UNIT else UNIT
            place = rows % 8 * self.swizzle + rows // 8 * self.stride + unit * along
        return self.swizzled(self.start + place) + within

    def swizzled(self, address: Array) -> Array:
        """XOR bits 4 to 6 of an address, as many as the pattern has, with the bits three places above."""
        return address ^ (address >> 3 & self.swizzle - UNIT)


def descriptor(bits: int) -> Descriptor:
    """The fields of a descriptor's 64 bits."""
    return Descriptor(
        (bits & 0x3FFF) << 4, (bits >> 16 & 0x3FFF) << 4, (bits >> 32 & 0x3FFF) << 4, bits >> 49 & 7, _SWIZZLES[bits >> 62 & 3]
    )
