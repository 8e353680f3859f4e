"""Cuts of a photograph: a rectangle of one of its views, optionally flipped, black outside the view."""

from __future__ import annotations

from dataclasses import dataclass

from dcnn_fast.ops.views.params import ViewParams


@dataclass(frozen=True)
class Cut:
    """The rectangle of `height` x `width` at (`top`, `left`) of the view `params` of photograph `image` of a batch; flip:
    mirrored left to right after cutting.

    Convention: (top, left) is the first row and column, inclusive, on the plane of `params.shape`; the cut lies inside it.
    """

    image: int
    params: ViewParams
    top: int
    left: int
    height: int
    width: int
    flip: bool = False

    @property
    def origin(self) -> tuple[int, int]:
        """(row, column) of the cut's first pixel in the resized photograph: negative where `pad` put black before it."""
        top, left = self.params.origin
        return self.top + top, self.left + left

    @property
    def inside(self) -> tuple[range, range]:
        """The rows and columns of the cut that the photograph covers."""
        rows, cols = (
            range(max(0, -first), max(0, min(extent, side - first)))
            for first, extent, side in zip(self.origin, (self.height, self.width), self.params.resized, strict=True)
        )
        return rows, cols


@dataclass(frozen=True)
class CutList:
    """The cuts of one launch: the problem that backends are asked about."""

    cuts: tuple[Cut, ...]

    def __str__(self) -> str:
        cuts, photographs = len(self.cuts), len({cut.image for cut in self.cuts})
        return f"{cuts} cut{'s' * (cuts > 1)} of {photographs} photograph{'s' * (photographs > 1)}"
