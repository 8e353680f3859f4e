"""Pictures as files: their names, and the mark by which the program knows its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, PngImagePlugin

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARK = "dcnn-fast"
_DOTS_PER_INCH = 100


def safe(name: str) -> str:
    """A name that file systems take.

    Args:
        name: Any text.

    Returns:
        The name, with a hyphen for each character that is no letter, digit, hyphen, underscore or full stop.
    """
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name)


def is_ours(head: bytes) -> bool:
    """Whether a picture has the program's mark.

    Args:
        head: The file's first bytes; the mark has to be among them.

    Returns:
        True for a PNG, JPEG or SVG with the mark.
    """
    return MARK.encode() in head and (head.startswith((b"\x89PNG", b"\xff\xd8")) or b"<svg" in head)


def save_picture(image: Image.Image, path: Path) -> None:
    """Write a picture with the program's mark.

    Args:
        image: The picture.
        path: The file to write; its suffix names the format, .png or another that takes a comment.
    """
    if path.suffix == ".png":
        about = PngImagePlugin.PngInfo()
        about.add_text("Software", MARK)
        image.save(path, pnginfo=about)
    else:
        image.save(path, comment=MARK)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure with the program's mark; the process's backend is not asked.

    Args:
        figure: The figure, whose canvas becomes Agg's.
        path: The file to write, a .png or .svg by its suffix.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - optional dependency

    FigureCanvasAgg(figure)
    about = {"Software": MARK} if path.suffix == ".png" else {"Creator": MARK}
    with np.errstate(all="ignore"):
        figure.savefig(path, dpi=_DOTS_PER_INCH, metadata=about)
