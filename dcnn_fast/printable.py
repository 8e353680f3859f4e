"""Text of any origin (paths, labels, errors) as it can be shown."""

from __future__ import annotations

from collections.abc import Sequence


def printable(text: str) -> str:
    """`text` on one line, with bytes that are not text, control characters and line ends shown as escapes."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def shortened(names: Sequence[str], most: int = 10, longest: int = 60) -> str:
    """Names with commas between them, as a message has room for: `most` of them, each of `longest` characters at most."""
    shown = [name if len(name) <= longest else f"{name[: longest - 3]}..." for name in names[:most]]
    return ", ".join(shown) + (f" and {len(names) - most} more" if len(names) > most else "")


def quoted(value: object) -> str:
    """`repr(value)`, as a message has room for."""
    try:
        return shortened([repr(value)])
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return "a number of thousands of digits"
