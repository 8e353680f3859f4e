"""A picture of a plan: block 1's regions over the photograph, coloured by how many windows each serves."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from PIL import Image

from dcnn_fast.networks import Column, Network
from dcnn_fast.plan import ColumnPlan
from dcnn_fast.viz.picture_files import MARK

_WIDTH = 640  # of each column's picture
_START = '<svg xmlns="http://www.w3.org/2000/svg"'
_COLOURS = ("#3b82c4", "#c47a3b", "#4a9a5b", "#9a4a8f")


class Planned(Protocol):
    """What the picture needs of a column's work: its plane [H, W, 3], its windows' corners [samples, 2] and its plan."""

    @property
    def plane(self) -> np.ndarray: ...
    @property
    def windows(self) -> np.ndarray: ...
    @property
    def plan(self) -> ColumnPlan: ...


def plan_picture(network: Network, jobs: Sequence[Planned]) -> str:
    """Draw a plan: for each column its plane, the windows in outline, and the outlines of the regions that windows share.

    A region is drawn where it serves more than one window; its tooltip says how many, its size in convolution outputs, and its
    pool phases. Only a column of blocks has regions.

    Args:
        network: The network whose columns were planned.
        jobs: A job for each column, in their order.

    Returns:
        The text of an SVG file, which needs no other file.

    Raises:
        ValueError: There are not as many jobs as columns.
    """
    pictures, top = [], 0
    for key, column, job in zip(network.column_keys(), network.columns, jobs, strict=True):
        height, width = job.plane.shape[:2]
        scale = _WIDTH / width
        about = f": {len(job.plan.blocks[0])} regions of block 1" if isinstance(column, Column) else ""
        body = [f'<text x="0" y="-6">{html.escape(key)}{about}</text>']
        body.append(f'<image width="{width}" height="{height}" href="{_thumbnail(job.plane)}" preserveAspectRatio="none"/>')
        body += [
            _outline(row, col, column.window, column.window, "#fff", 0.5, "") for row, col in np.unique(job.windows, axis=0)
        ]
        if isinstance(column, Column):
            body += _regions(job.plan, column.blocks[0].size, column.blocks[0].stride)
        pictures.append(
            f'<g transform="translate(10 {top + 24}) scale({scale:.4f})" font-size="{13 / scale:.1f}">{"".join(body)}</g>'
        )
        top += int(height * scale) + 40
    size = f'width="{_WIDTH + 20}" height="{top + 10}"'
    return f'{_START} {size} font-family="sans-serif"><desc>{MARK}</desc>{"".join(pictures)}</svg>\n'


def is_plan_picture(head: bytes) -> bool:
    """Whether a file is a picture that `plan_picture` drew.

    Args:
        head: The file's first bytes.

    Returns:
        True where they are the start of such a picture.
    """
    return head.startswith(f'{_START} width="{_WIDTH + 20}" height='.encode())


def _regions(plan: ColumnPlan, size: int, stride: int) -> list[str]:
    """Outlines of the regions that serve more than one window."""
    found: list[str] = []
    for region in plan.blocks[0]:
        served = {store.image for piece in region.pieces for store in piece.stores if store.output == 0}
        if len(served) < 2:
            continue
        height, width = ((count - 1) * stride + size for count in (region.rows, region.cols))
        colour = _COLOURS[len(found) % len(_COLOURS)]
        about = f"{len(served)} windows, {region.rows} x {region.cols} convolution outputs, {len(region.pieces)} pool phases"
        found.append(_outline(region.top, region.left, height, width, colour, 2.5, about))
    return found


def _outline(top: int, left: int, height: int, width: int, colour: str, stroke: float, about: str) -> str:
    title = f"<title>{html.escape(about)}</title>" if about else ""
    shape = f'x="{left}" y="{top}" width="{width}" height="{height}"'
    style = f'fill="none" stroke="{colour}" stroke-width="{stroke}" vector-effect="non-scaling-stroke"'
    return f"<rect {shape} {style}>{title}</rect>"


def _thumbnail(plane: np.ndarray) -> str:
    image = Image.fromarray(plane)
    image.thumbnail((_WIDTH, 4 * _WIDTH))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
