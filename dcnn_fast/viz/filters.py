"""The first layer's filters as little pictures (paper Fig. 5, 6, 11)."""

from __future__ import annotations

import numpy as np
from PIL import Image
from torch import Tensor

_ACROSS, _GAP = 16, 1


def filters(weight: Tensor, zoom: int = 4) -> Image.Image:
    """Draw filters as squares, sixteen a row, each stretched to the whole range by itself.

    Args:
        weight: [F, 3, S, S], F filters of three channels, red, green and blue.
        zoom: The side of a weight's square, in pixels.

    Returns:
        The picture, RGB.

    Raises:
        ValueError: The weight has another shape.
    """
    if weight.ndim != 4 or weight.shape[1] != 3:
        raise ValueError(f"weight must have shape [F, 3, S, S], got {list(weight.shape)}")
    values = weight.detach().cpu().float().permute(0, 2, 3, 1).numpy()
    low, high = (pick(values, axis=(1, 2, 3), keepdims=True) for pick in (np.min, np.max))
    pixels = np.round((values - low) / np.maximum(high - low, 1e-12) * 255).astype(np.uint8)
    count, size = pixels.shape[:2]
    step = size + _GAP
    rows = -(-count // _ACROSS)
    sheet = np.full((rows * step + _GAP, min(count, _ACROSS) * step + _GAP, 3), 255, np.uint8)
    for number, picture in enumerate(pixels):
        top, left = _GAP + number // _ACROSS * step, _GAP + number % _ACROSS * step
        sheet[top : top + size, left : left + size] = picture
    image = Image.fromarray(sheet)
    return image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST)
