"""The networks of the paper by name: Tables I and IV, DCNN, quad-column, RDCNN and the AlexNet columns; and EfficientNet-Lite0.

docs/paper.md#left-open explains the choice of strides, pads and norms that the paper leaves open; docs/paper.md#tables the
reading of the rows of Tables I and IV whose tick marks are lost, one line each in `_ARCHITECTURES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from dcnn_fast.networks.backbone import BackboneColumn
from dcnn_fast.networks.efficientnet import Lite
from dcnn_fast.networks.layers import Block, Column, CrossMapNorm, Norm, Pool, Rounding, View
from dcnn_fast.networks.network import AnyColumn, Network

Geometry = Literal["convnet", "valid"]
GEOMETRIES: tuple[Geometry, ...] = ("convnet", "valid")

STYLES: tuple[str, ...] = (
    "complementary_colors", "duotones", "hdr", "image_grain", "light_on_white", "long_exposure", "macro",
    "motion_blur", "negative_image", "rule_of_thirds", "shallow_dof", "silhouettes", "soft_focus", "vanishing_point",
)  # fmt: skip


@dataclass(frozen=True)
class _Architecture:
    """The layers ticked in a row of Tables I and IV."""

    convs: int = 4
    norms: bool = True
    fc: tuple[int, ...] = (1000, 256)


_ARCHITECTURES: dict[int, _Architecture] = {
    1: _Architecture(),
    2: _Architecture(convs=2),
    3: _Architecture(convs=3),
    4: _Architecture(convs=6, norms=False),
    5: _Architecture(fc=(1000,)),
    6: _Architecture(convs=5),
    7: _Architecture(convs=6),
}

# Pixels are scaled to about 1: initial weights are then large beside a step, and the paper's rates stable.
PIXEL_SCALE = 1 / 64

_AESTHETIC_FILTERS = (64, 64, 64, 64, 64, 64)  # Table I
_STYLE_FILTERS = (32, 64, 64, 32, 32, 32)  # Table IV


def _rounding(geometry: Geometry) -> Rounding:
    if geometry not in GEOMETRIES:
        raise ValueError(f"geometry must be one of {', '.join(GEOMETRIES)}; got {geometry!r}")
    return "up" if geometry == "convnet" else "down"


def table_column(
    architecture: int = 1,
    view: View = "warp",
    *,
    geometry: Geometry = "convnet",
    style: bool = False,
    norm: Norm | None = None,
    stride: int = 2,
) -> Column:
    """A column of Table I, or of Table IV.

    Args:
        architecture: The row of the table, 1 to 7.
        view: The view that the column sees.
        geometry: "convnet" pads and rounds extents up as cuda-convnet does; "valid" does neither.
        style: Whether the filters are those of Table IV.
        norm: The norm after pool1 and pool2, in rows that tick the norm; None for the default CrossMapNorm().
        stride: The step of the first block's convolution, in pixels.

    Returns:
        The column, with planes of 256 and windows of 224 pixels.

    Raises:
        ValueError: There is no such architecture or geometry, or the column breaks a rule of `Column`.

    Source:
        docs/paper.md#tables, docs/paper.md#left-open
    """
    if architecture not in _ARCHITECTURES:
        raise ValueError(f"architecture must be 1 to {len(_ARCHITECTURES)}, got {architecture!r}")
    row = _ARCHITECTURES[architecture]
    filters = _STYLE_FILTERS if style else _AESTHETIC_FILTERS
    rounding = _rounding(geometry)
    pad = geometry == "convnet"
    response = (norm or CrossMapNorm()) if row.norms else None
    blocks = [
        Block(filters[0], 11, stride=stride, pool=Pool(), norm=response),
        Block(filters[1], 5, padding=2 if pad else 0, pool=Pool(), norm=response),
    ]
    blocks += [Block(filters[i], 3, padding=1 if pad else 0) for i in range(2, row.convs)]
    return Column(view=view, blocks=tuple(blocks), fc=row.fc, rounding=rounding, scale=PIXEL_SCALE)


def alexnet_column(view: View = "warp", *, fc: tuple[int, ...] = (4096, 4096)) -> Column:
    """The 2012 network of [13]: 96 filters first, two groups, conv-norm-pool, cuda-convnet's rounding (docs/paper.md).

    The norm is the AlexNet paper's: 1e-4 per map (no division by the size), k 2; hence scale 5e-4 here.

    Args:
        view: The view that the column sees.
        fc: The sizes of the fully-connected layers.

    Returns:
        The column.
    """
    norm = CrossMapNorm(size=5, scale=5e-4, power=0.75, k=2.0)
    blocks = (
        Block(96, 11, stride=4, pool=Pool(), norm=norm, order="conv-norm-pool"),
        Block(256, 5, padding=2, groups=2, pool=Pool(), norm=norm, order="conv-norm-pool"),
        Block(384, 3, padding=1),
        Block(384, 3, padding=1, groups=2),
        Block(256, 3, padding=1, groups=2, pool=Pool()),
    )
    return Column(view=view, blocks=blocks, fc=fc, scale=PIXEL_SCALE)


def torchvision_alexnet_column(view: View = "warp", *, fc: tuple[int, ...] = (4096, 4096)) -> Column:
    """torchvision's AlexNet: 64 filters first with padding 2, no norm, rounding down; its input is standardised per channel.

    torchvision divides by a standard deviation per channel; a column has one scale, so importing must divide the first layer's
    weights by the deviations. 224 x 224 windows make its adaptive pooling the identity.

    Args:
        view: The view that the column sees.
        fc: The sizes of the fully-connected layers.

    Returns:
        The column.
    """
    blocks = (
        Block(64, 11, stride=4, padding=2, pool=Pool()),
        Block(192, 5, padding=2, pool=Pool()),
        Block(384, 3, padding=1),
        Block(256, 3, padding=1),
        Block(256, 3, padding=1, pool=Pool()),
    )
    return Column(view=view, blocks=blocks, fc=fc, rounding="down")


def _scnn(architecture: int, geometry: Geometry) -> Network:
    return Network(f"scnn-arch{architecture}", (table_column(architecture, "local", geometry=geometry),))


def _style_scnn(architecture: int, geometry: Geometry) -> Network:
    column = table_column(architecture, "local", geometry=geometry, style=True)
    return Network(f"style-scnn-arch{architecture}", (column,), STYLES)


def _multi(name: str, views: tuple[View, ...], geometry: Geometry) -> Network:
    return Network(name, tuple(table_column(1, view, geometry=geometry) for view in views))


def _rdcnn(name: str, attributes: AnyColumn, geometry: Geometry) -> Network:
    columns = (table_column(1, "local", geometry=geometry), table_column(1, "warp", geometry=geometry))
    return Network(name, (*columns, replace(attributes, frozen=True)))


def _lite_column(lite: Lite) -> BackboneColumn:
    """A column with the means of the last layer and three earlier stages, below the paper's fc256 (III-E)."""
    return BackboneColumn(lite, "warp", stages=(3, 4, 5), fc=_SEMANTIC_FC[-1:])


def _alexnet(name: str, column: Column, geometry: Geometry) -> Network:
    _rounding(geometry)
    return Network(name, (column,))


_SEMANTIC_FC = (4096, 4096, 256)  # ImageNet network + the fc256 fine-tuned to aesthetics (paper III-E)

_PRESETS: dict[str, tuple[str, Callable[[Geometry], Network]]] = {
    **{f"scnn-arch{n}": (f"Table I, Arch {n}", lambda g, n=n: _scnn(n, g)) for n in _ARCHITECTURES},  # type: ignore[misc]
    **{f"style-scnn-arch{n}": (f"Table IV, Arch {n}", lambda g, n=n: _style_scnn(n, g)) for n in _ARCHITECTURES},  # type: ignore[misc]
    "dcnn": ("double column, local + warp (Fig. 3)", lambda g: _multi("dcnn", ("local", "warp"), g)),
    "quad": ("four columns, one a view (III-B)", lambda g: _multi("quad", ("local", "center", "pad", "warp"), g)),
    "rdcnn-style": (
        "DCNN + frozen Style-SCNN (Fig. 4)",
        lambda g: _rdcnn("rdcnn-style", table_column(1, "local", geometry=g, style=True), g),
    ),
    "rdcnn-semantic": (
        "DCNN + frozen ImageNet column and fc256 (III-E)",
        lambda g: _rdcnn("rdcnn-semantic", alexnet_column("warp", fc=_SEMANTIC_FC), g),
    ),
    "rdcnn-lite0": (
        "DCNN + frozen EfficientNet-Lite0 column and fc256",
        lambda g: _rdcnn("rdcnn-lite0", _lite_column("lite0"), g),
    ),
    "lite0": ("EfficientNet-Lite0 column, its layers as they are", lambda g: Network("lite0", (_lite_column("lite0"),))),
    "alexnet": ("IAD column, the 2012 network (III-F)", lambda g: _alexnet("alexnet", alexnet_column(), g)),
    "alexnet-dcnn": (
        "IAD double column (III-F)",
        lambda g: Network("alexnet-dcnn", (alexnet_column("local"), alexnet_column("warp"))),
    ),
    "alexnet-torchvision": (
        "torchvision's AlexNet column",
        lambda g: _alexnet("alexnet-torchvision", torchvision_alexnet_column(), g),
    ),
}

ALIASES: dict[str, str] = {"scnn": "scnn-arch1", "style-scnn": "style-scnn-arch1"}


def preset_names() -> dict[str, str]:
    """The presets.

    Returns:
        Every preset's name with one line about it.
    """
    return {name: about for name, (about, _) in _PRESETS.items()}


def preset(name: str, geometry: Geometry = "convnet") -> Network:
    """The preset of a name.

    Args:
        name: A name of `preset_names`; `scnn` and `style-scnn` are those of Arch 1. Names joined by + form one network of their
            columns, in that order, with the labels of the first: "scnn-arch1+scnn-arch3".
        geometry: "convnet" or "valid", as in `table_column`. The AlexNet and Lite0 columns have a fixed geometry and ignore it.

    Returns:
        The network.

    Raises:
        ValueError: There is no such preset or geometry.

    Example:
        >>> preset("dcnn").column_keys()
        ('local:0', 'warp:0')
    """
    if "+" in name:
        networks = [preset(part.strip(), geometry) for part in name.split("+")]
        return Network(name, tuple(column for network in networks for column in network.columns), networks[0].labels)
    key = ALIASES.get(name, name)
    if key not in _PRESETS:
        raise ValueError(f"preset must be one of {', '.join((*_PRESETS, *ALIASES))}; got {name!r}")
    _rounding(geometry)
    return _PRESETS[key][1](geometry)
