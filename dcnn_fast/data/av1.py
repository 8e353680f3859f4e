"""The size of an AV1 stream's frames, from its sequence headers (AV1 Bitstream Specification, 5.3 to 5.5)."""

from __future__ import annotations

_SEQUENCE = 1  # the type of an OBU with a sequence header
_MOST_UNITS = 10_000
_LARGEST_HEAD = 4096  # bytes of a sequence header that are parsed


def pixels(stream: bytes) -> int:
    """The pixels of the largest frame that a sequence header in the stream allows, 0 where there is none."""
    largest, at = 0, 0
    for _ in range(_MOST_UNITS):
        if at >= len(stream):
            break
        kind, extended, sized = stream[at] >> 3 & 15, stream[at] >> 2 & 1, stream[at] >> 1 & 1
        at += 1 + extended
        size = len(stream) - at
        if sized:
            size, at = _leb128(stream, at)
        if kind == _SEQUENCE:
            largest = max(largest, _frame(stream[at : at + min(size, _LARGEST_HEAD)]))
        at += size
    return largest


def _leb128(stream: bytes, at: int) -> tuple[int, int]:
    """A LEB128 number at an offset, and the offset behind it."""
    found = 0
    for place in range(8):
        byte = stream[at] if at < len(stream) else 0
        found, at = found | (byte & 127) << 7 * place, at + 1
        if byte < 128:
            break
    return found, at


class _Bits:
    """Reads bits, the highest of each byte first; zeros past the end."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def next(self, count: int) -> int:
        """The next `count` bits."""
        self._left -= count
        shifted = self._value >> self._left if self._left >= 0 else self._value << -self._left
        return shifted & ((1 << count) - 1)

    def skip_unary(self) -> None:
        """Skip a number in variable-length code (uvlc)."""
        zeros = 0
        while zeros < 32 and not self.next(1):
            zeros += 1
        self.next(min(zeros, 31))


def _frame(head: bytes) -> int:
    """The pixels of the largest frame that a sequence header allows."""
    bits = _Bits(head)
    bits.next(4)  # profile and the flag of a still picture
    if bits.next(1):  # reduced header of a still picture: only the level precedes the size
        bits.next(5)
    else:
        _operating_points(bits)
    wide, high = bits.next(4) + 1, bits.next(4) + 1
    width, height = bits.next(wide) + 1, bits.next(high) + 1
    return width * height


def _operating_points(bits: _Bits) -> None:
    delays, delay_bits = 0, 0
    if bits.next(1):  # timing information
        bits.next(64)
        if bits.next(1):
            bits.skip_unary()
        delays = bits.next(1)
        if delays:
            delay_bits = bits.next(5) + 1
            bits.next(42)
    displayed = bits.next(1)
    for _ in range(bits.next(5) + 1):
        bits.next(12)
        if bits.next(5) > 7:
            bits.next(1)
        if delays and bits.next(1):
            bits.next(2 * delay_bits + 1)
        if displayed and bits.next(1):
            bits.next(4)
