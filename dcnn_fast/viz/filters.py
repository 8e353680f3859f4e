"""The first layer's filters as little pictures (paper Fig. 5, 6, 11)."""

from __future__ import annotations

import numpy as np
from PIL import Image
from torch import Tensor

from dcnn_fast.nets import BackboneColumn, Column, GraphColumn, Model
from dcnn_fast.spec import Network
from dcnn_fast.spec.graph_layers import ConvLayer
from dcnn_fast.viz.files import safe

_ACROSS, _GAP = 16, 1


def filters(weight: Tensor, zoom: int = 4) -> Image.Image:
    """[F, 3, S, S] as F squares, sixteen a row, each stretched to the whole range by itself. zoom: pixels for a weight.

    Raises ValueError for filters that are not of three channels, red, green and blue.
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


def filter_files(network: Network, name: str = "") -> tuple[str, ...]:
    """The names of the pictures of each column's first filters: filters-<name>-<column>.png."""
    return tuple("-".join(filter(None, ("filters", safe(name), safe(key)))) + ".png" for key in network.column_keys())


def first_filters(model: Model) -> list[Tensor]:
    """The first filters of each column."""
    found = []
    for column in model.net.columns:
        if isinstance(column, BackboneColumn):
            found.append(column.stem)
            continue
        if isinstance(column, GraphColumn):
            found.append(_of_pixels(column))
            continue
        assert isinstance(column, Column)
        weight = column.blocks[0].weight
        assert isinstance(weight, Tensor)
        found.append(weight)
    return found


def _of_pixels(column: GraphColumn) -> Tensor:
    """The filters of the first convolution that reads pixels. Raises ValueError where there is none."""
    for layer, module in zip(column.spec.layers, column.layers, strict=True):
        weight = module.weight
        if isinstance(layer, ConvLayer) and layer.shared and layer.inputs == (0,) and isinstance(weight, Tensor):
            return weight
    raise ValueError("filters are those of a convolution of pixels, which this network's column has not")
