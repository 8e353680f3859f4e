"""The segments of a JPEG file: its XMP, and everything that writing a rating must leave unchanged."""

from __future__ import annotations

from collections.abc import Iterator

from dcnn_fast.xmp import XmpError

_PACKET = b"http://ns.adobe.com/xap/1.0/\0"
_APP1, _APP2, _START_OF_SCAN = 0xE1, 0xE2, 0xDA
_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))


def packet_in(content: bytes) -> bytes | None:
    """Find the XMP packet of a JPEG file.

    Args:
        content: The file's bytes.

    Returns:
        The packet, None where the file has none.

    Raises:
        XmpError: The file is not a JPEG, or damaged.
    """
    packets = (body[len(_PACKET) :] for marker, body in _segments(content) if marker == _APP1 and body.startswith(_PACKET))
    return next(packets, None)


def but_xmp(content: bytes) -> list[tuple[int, bytes]]:
    """Take a JPEG file apart, without its XMP.

    The list of further pictures in the file (MPF) is omitted as well: it holds their positions, which change.

    Args:
        content: The file's bytes.

    Returns:
        Markers with their bytes; the first scan's run to the end of the file.

    Raises:
        XmpError: The file is not a JPEG, or damaged.
    """
    return [
        (marker, body)
        for marker, body in _segments(content)
        if not (marker == _APP1 and body.startswith(_PACKET)) and not (marker == _APP2 and body.startswith(b"MPF\0"))
    ]


def _segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Each marker's number and payload, without lengths and fill bytes."""
    if not content.startswith(b"\xff\xd8"):
        raise XmpError("it is no JPEG file")
    at = 2
    while True:
        marker = content[at + 1 : at + 2]
        if content[at : at + 1] != b"\xff" or not marker:
            raise XmpError("it is a damaged JPEG file")
        if marker == b"\xff":  # a fill byte
            at += 1
            continue
        number, at = marker[0], at + 2
        if number == _START_OF_SCAN:
            yield number, content[at:]
            return
        if number in _WITHOUT_LENGTH:
            yield number, b""
            continue
        length = int.from_bytes(content[at : at + 2], "big")
        if length < 2 or at + length > len(content):
            raise XmpError("it is a damaged JPEG file")
        yield number, content[at + 2 : at + length]
        at += length
