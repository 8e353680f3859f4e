"""Converts between an XMP packet's text and its bytes: UTF-8, UTF-16 or an encoding that XML declares."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from dcnn_fast.xmp import XmpError

_MARKS = (  # byte order marks; those of UTF-32 begin with one of UTF-16
    (codecs.BOM_UTF32_LE, ""), (codecs.BOM_UTF32_BE, ""), (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"<\0", "utf-16-le"), (b"\0<", "utf-16-be"),
)  # fmt: skip
_DECLARED = re.compile(rb"""<\?xml\s[^>]{0,200}?encoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]{0,40})["']""")
_TABLES = ("iso8859", "cp125")  # one byte per character, supersets of ASCII


@dataclass(frozen=True)
class Encoded:
    """A packet's text, and how it was stored.

    Attributes:
        text: The text.
        mark: The byte order mark at the beginning, often empty.
        codec: Python's name of the encoding.
    """

    text: str
    mark: bytes
    codec: str

    def with_text(self, text: str) -> bytes:
        """Store another text in the same way; characters that the encoding lacks become XML character references.

        Args:
            text: The other text.

        Returns:
            The packet's bytes.
        """
        return self.mark + text.encode(self.codec, "xmlcharrefreplace")


def decode(content: bytes) -> Encoded:
    """Decode a packet.

    Args:
        content: The packet's bytes: UTF-8, UTF-16 or an encoding that XML declares.

    Returns:
        The text, and how it was stored.

    Raises:
        XmpError: The bytes are not text in a supported encoding.
    """
    mark, codec = next(((mark, codec) for mark, codec in _MARKS if content.startswith(mark)), (b"", None))
    if b"<" in mark:
        mark = b""
    if codec is None:
        declared = _DECLARED.match(content)
        codec = _known(declared[1].decode()) if declared else "utf-8"
    if not codec:
        raise XmpError("UTF-32 is not read")
    try:
        return Encoded(content[len(mark) :].decode(codec), mark, codec)
    except UnicodeDecodeError:
        raise XmpError(f"it is not text in {codec}") from None


def _known(name: str) -> str:
    try:
        codec = codecs.lookup(name).name
    except LookupError:
        codec = ""
    if codec in ("utf-8", "ascii") or codec.startswith(_TABLES):
        return codec
    raise XmpError(f"the encoding {name} is not read")
