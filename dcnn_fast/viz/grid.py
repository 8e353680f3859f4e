"""Photographs side by side with a line under each: what rankings and comparisons are shown as."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from dcnn_fast.data import ReadError, read
from dcnn_fast.printable import printable

_SIDE, _LINE, _GAP = 160, 18, 8
_INK, _PAPER = (40, 40, 40), (255, 255, 255)


@dataclass(frozen=True)
class Row:
    """A row of a grid.

    Args:
        title: The line above the photographs.
        photographs: For each a source, as `data.read` takes it, and a caption.
    """

    title: str
    photographs: Sequence[tuple[object, str]]


def grid(rows: Sequence[Row]) -> Image.Image:
    """Draw each row's photographs in squares of 160 pixels, captions below, titles above.

    Args:
        rows: The rows, from the top; a photograph that cannot be read stays blank.

    Returns:
        The picture, RGB, as wide as the longest row needs.
    """
    columns = max((len(row.photographs) for row in rows), default=0)
    width = _GAP + max(1, columns) * (_SIDE + _GAP)
    height = _GAP + len(rows) * (_SIDE + 2 * _LINE + _GAP)
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    top = _GAP
    for row in rows:
        draw.text((_GAP, top), printable(row.title), _INK, font)
        for column, (source, caption) in enumerate(row.photographs):
            left = _GAP + column * (_SIDE + _GAP)
            _paste(sheet, source, left, top + _LINE)
            draw.text((left, top + _LINE + _SIDE + 2), printable(caption), _INK, font)
        top += _SIDE + 2 * _LINE + _GAP
    return sheet


def _paste(sheet: Image.Image, source: object, left: int, top: int) -> None:
    try:
        image = Image.fromarray(read(source).pixels)
    except ReadError:
        return
    image.thumbnail((_SIDE, _SIDE))
    sheet.paste(image, (left + (_SIDE - image.width) // 2, top + (_SIDE - image.height) // 2))
