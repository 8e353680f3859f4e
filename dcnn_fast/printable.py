"""Makes text of any origin (paths, labels, errors) printable."""

from __future__ import annotations

from collections.abc import Sequence


def printable(text: str) -> str:
    """`text` on one line, with bytes that are not text, control characters and line ends shown as escapes."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def shortened(names: Sequence[str], most: int = 10, longest: int = 60) -> str:
    """Names joined by commas, shortened for a message: at most `most` names of at most `longest` characters."""
    shown = [name if len(name) <= longest else f"{name[: longest - 3]}..." for name in names[:most]]
    return ", ".join(shown) + (f" and {len(names) - most} more" if len(names) > most else "")


def quoted(value: object) -> str:
    """`repr(value)`, shortened for a message."""
    try:
        return shortened([repr(value)])
    except ValueError:  # Python prints no integer of more than 4,300 digits
        return "a number of thousands of digits"
