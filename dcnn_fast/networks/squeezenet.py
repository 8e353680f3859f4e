"""SqueezeNet v1.0 as a column: a semantic column small enough to ship (Iandola et al. 2016, torchvision's layers).

A fire module is two blocks: its squeeze convolution, and its two expand convolutions as one of 3 x 3, where the filters of the
1 x 1 half are zero except for the middle tap.
"""

from __future__ import annotations

from dataclasses import dataclass

from dcnn_fast.networks.layers import Block, Column, Pool, View

IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)  # torchvision's, in levels
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Fire:
    """squeeze filters of 1 x 1, then `expand` of 1 x 1 beside as many of 3 x 3. pooled: a max-pool follows."""

    name: str
    squeeze: int
    expand: int
    pooled: bool = False


FIRES = (
    Fire("features.3", 16, 64),
    Fire("features.4", 16, 64),
    Fire("features.5", 32, 128, pooled=True),
    Fire("features.7", 32, 128),
    Fire("features.8", 48, 192),
    Fire("features.9", 48, 192),
    Fire("features.10", 64, 256, pooled=True),
    Fire("features.12", 64, 256),
)


def squeezenet_column(view: View = "warp", *, plane: int = 227, window: int = 227, fc: tuple[int, ...] = (256,)) -> Column:
    """SqueezeNet v1.0 up to the mean of its last fire module's 512 maps, then fully-connected layers; frozen.

    With plane == window all views of a photograph are one window, which is computed once.

    Args:
        view: The view that the column sees.
        plane: The planes' side, in pixels.
        window: The windows' side, in pixels; odd, as conv1 then divides evenly, and only pools round, upwards as torchvision's
            do.
        fc: The sizes of the fully-connected layers.

    Returns:
        The column.

    Raises:
        ValueError: The window is even, or the column breaks a rule of `Column`.
    """
    if window % 2 == 0:
        raise ValueError(f"window must be odd, so that a filter of 7 divides it evenly at stride 2, got {window}")
    blocks = [Block(96, 7, stride=2, pool=Pool())]
    for fire in FIRES:
        blocks += [Block(fire.squeeze, 1), Block(2 * fire.expand, 3, padding=1, pool=Pool() if fire.pooled else None)]
    return Column(
        view, tuple(blocks), fc, plane=plane, window=window, mean=IMAGENET_MEAN, scale=1 / 255, frozen=True, reduce="mean"
    )
