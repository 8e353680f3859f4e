"""Text of any origin (paths, labels, errors) as it can be shown."""

from __future__ import annotations


def printable(text: str) -> str:
    """`text` on one line, with bytes that are not text, control characters and line ends shown as escapes."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
