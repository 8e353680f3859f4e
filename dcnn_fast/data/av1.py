"""How large the frames of an AV1 stream are: what the heads of its sequences say (AV1 Bitstream Specification, 5.3 to 5.5)."""

from __future__ import annotations

_SEQUENCE = 1  # a unit's kind
_MOST_UNITS = 10_000
_LARGEST_HEAD = 4096  # bytes, of a sequence


def pixels(stream: bytes) -> int:
    """The pixels of the largest frame that a sequence in the stream may have, 0 where there is none."""
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
    """A number of seven bits a byte, and where it ends."""
    found = 0
    for place in range(8):
        byte = stream[at] if at < len(stream) else 0
        found, at = found | (byte & 127) << 7 * place, at + 1
        if byte < 128:
            break
    return found, at


class _Bits:
    """Reads bits, the highest first; zeros past the end."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def next(self, count: int) -> int:
        """The next `count` bits."""
        self._left -= count
        shifted = self._value >> self._left if self._left >= 0 else self._value << -self._left
        return shifted & ((1 << count) - 1)

    def skip_unary(self) -> None:
        """A number of any length."""
        zeros = 0
        while zeros < 32 and not self.next(1):
            zeros += 1
        self.next(min(zeros, 31))


def _frame(head: bytes) -> int:
    """Pixels of the largest frame, by a sequence's head."""
    bits = _Bits(head)
    bits.next(4)  # profile, whether it is one picture
    if bits.next(1):  # of which little is said
        bits.next(5)
    else:
        _operating_points(bits)
    wide, high = bits.next(4) + 1, bits.next(4) + 1
    width, height = bits.next(wide) + 1, bits.next(high) + 1
    return width * height


def _operating_points(bits: _Bits) -> None:
    delays, delay_bits = 0, 0
    if bits.next(1):  # timing
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
