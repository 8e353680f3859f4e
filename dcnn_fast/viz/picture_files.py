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
    """The name with what file systems may not like replaced."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name)


def is_ours(head: bytes) -> bool:
    """Whether a picture that begins with these bytes has the program's mark."""
    return MARK.encode() in head and (head.startswith((b"\x89PNG", b"\xff\xd8")) or b"<svg" in head)


def save_picture(image: Image.Image, path: Path) -> None:
    """Write a picture with the program's mark, of the kind of the path's suffix, .png or another that takes a comment."""
    if path.suffix == ".png":
        about = PngImagePlugin.PngInfo()
        about.add_text("Software", MARK)
        image.save(path, pnginfo=about)
    else:
        image.save(path, comment=MARK)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure with the program's mark, a .png or .svg by the path's suffix; the process's backend is not asked."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - optional dependency

    FigureCanvasAgg(figure)
    about = {"Software": MARK} if path.suffix == ".png" else {"Creator": MARK}
    with np.errstate(all="ignore"):
        figure.savefig(path, dpi=_DOTS_PER_INCH, metadata=about)
