"""How large a network may be: what any file or program may ask for, stated here and asked by every layer, column and network.

The bounds are far above networks that are used (VGG-16 on windows of 224 pixels has 138 million parameters and 15.5 thousand
million multiplications in 13 blocks), and below what would take all memory or never end. They are asked before anything is made
of a network.
"""

from __future__ import annotations

from collections.abc import Iterable, Sized

SIDE = 4096
"""Pixels, of a plane and of a window."""

FILTER_SIDE = 255
"""Of a convolution's filters and of a pool's windows."""

NORM_SIZE = 1023
"""Maps, or places along a side, that a response norm sums over."""

CHANNELS = 64
"""Of the pixels."""

WIDTH = 2**20
"""Filters of a block, and outputs of a fully-connected layer."""

BLOCKS, FC_LAYERS, COLUMNS = 256, 64, 64
"""Blocks and fully-connected layers of a column, and columns of a network."""

LABELS = 2**16
"""Of a network, and attributes."""

NAME_LETTERS = 1000
"""Of a label; a network's name may have as many, its notes a hundred times as many."""

PARAMETERS = 2**31
"""Of a network."""

DRAWN = 2**28
"""Parameters of a network of layer files, which hold none of them: a gigabyte of float32."""

MULTIPLICATIONS = 2**36
"""Of all columns of a network, for one window each."""

VALUES = 2**25
"""That a layer gives for one window."""

LAYERS, INPUTS = 1000, COLUMNS
"""Of a file of cuda-convnet's, and inputs that a layer has."""


def require_most(owner: str, name: str, value: int, most: int) -> None:
    """Raise ValueError where `value` is more than `most`."""
    if value > most:
        raise ValueError(f"{owner}: {name} must be at most {most}, got {_number(value)}")


def require_count(owner: str, name: str, values: Sized, most: int) -> None:
    """Raise ValueError where there are more than `most` values."""
    if len(values) > most:
        raise ValueError(f"{owner}: {name} must be at most {most}, got {len(values)}")


def require_text(owner: str, name: str, text: object, most: int = NAME_LETTERS) -> None:
    """Raise ValueError unless `text` is text of at most so many characters."""
    if not isinstance(text, str):
        raise ValueError(f"{owner}: {name} must be text, got {type(text).__name__}")
    if len(text) > most:
        raise ValueError(f"{owner}: {name} must have at most {most} characters, got {len(text)}")


def require_affordable(owner: str, costs: Iterable[tuple[int, int, int]]) -> None:
    """Raise ValueError where layers are more than any machine should be asked for.

    costs: of each layer its parameters, its multiplications and the values that it gives, for one window.
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
    """A number as a message has room for; one of thousands of digits cannot even be written."""
    return f"{value:,}" if abs(value) < 10**18 else "more than 10**18"
