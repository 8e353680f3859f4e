"""Size limits of networks from any file or program, stated here and checked by every layer, column and network.

The limits are far above networks in use (VGG-16 on windows of 224 pixels has 138 million parameters and 15.5 thousand million
multiplications in 13 blocks), and below sizes that would take all memory or never end. They are checked before anything is made
of a network.
"""

from __future__ import annotations

from collections.abc import Iterable, Sized

SIDE = 4096
"""Pixels along a side of a plane or window."""

FILTER_SIDE = 255
"""Side of a convolution's filters and of a pool window."""

NORM_SIZE = 1023
"""Maps, or places along a side, over which a response norm sums."""

CHANNELS = 64
"""Channels of the pixels."""

WIDTH = 2**20
"""Filters of a block, and outputs of a fully-connected layer."""

BLOCKS, FC_LAYERS, COLUMNS = 256, 64, 64
"""Blocks and fully-connected layers of a column, and columns of a network."""

LABELS = 2**16
"""Labels of a network, and attributes."""

NAME_LETTERS = 1000
"""Characters of a label; a network's name may have as many, its notes a hundred times as many."""

PARAMETERS = 2**31
"""Parameters of a network."""

DRAWN = 2**28
"""Parameters of a network from layer files, which hold no weights: a gigabyte of float32."""

MULTIPLICATIONS = 2**36
"""Multiplications in all columns of a network, for one window each."""

VALUES = 2**25
"""Values in a layer's result for one window."""

LAYERS, INPUTS = 1000, COLUMNS
"""Layers in a cuda-convnet file, and inputs of a layer."""


def require_most(owner: str, name: str, value: int, most: int) -> None:
    """Raise ValueError where `value` is more than `most`."""
    if value > most:
        raise ValueError(f"{owner}: {name} must be at most {most}, got {_number(value)}")


def require_count(owner: str, name: str, values: Sized, most: int) -> None:
    """Raise ValueError where there are more than `most` values."""
    if len(values) > most:
        raise ValueError(f"{owner}: {name} must be at most {most}, got {len(values)}")


def require_text(owner: str, name: str, text: object, most: int = NAME_LETTERS) -> None:
    """Raise ValueError unless `text` is text of at most `most` characters."""
    if not isinstance(text, str):
        raise ValueError(f"{owner}: {name} must be text, got {type(text).__name__}")
    if len(text) > most:
        raise ValueError(f"{owner}: {name} must have at most {most} characters, got {len(text)}")


def require_affordable(owner: str, costs: Iterable[tuple[int, int, int]]) -> None:
    """Raise ValueError where layers exceed the limits.

    costs: each layer's parameters, multiplications and values in its result, for one window.
    """
    parameters = multiplications = 0
    for one, products, values in costs:
        parameters, multiplications = parameters + one, multiplications + products
        if values > VALUES:
            raise ValueError(f"{owner}: a layer must give at most {VALUES:,} values for a window, got {_number(values)}")
    for name, found, most in (
        ("parameters", parameters, PARAMETERS), ("multiplications for a window", multiplications, MULTIPLICATIONS),
    ):  # fmt: skip
        if found > most:
            raise ValueError(f"{owner}: the layers must have at most {most:,} {name}, got {_number(found)}")


def _number(value: int) -> str:
    """A number short enough for a message; Python cannot even print one of thousands of digits."""
    return f"{value:,}" if abs(value) < 10**18 else "more than 10**18"
