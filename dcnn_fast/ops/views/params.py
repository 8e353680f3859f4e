"""The geometry of a view as data: the resize, its target, and the cut or the padding (paper II-A, docs/design.md#views)."""

from __future__ import annotations

from dataclasses import dataclass

from dcnn_fast.networks import VIEWS, View


@dataclass(frozen=True)
class ViewParams:
    """One view of one image size.

    height, width: the image's. view: its kind. plane: the side of the normalised input, in pixels.

    Convention: resizing maps pixel areas, so pixel centres lie at +0.5 and the image's edges on the plane's; the longer
    side of an isotropic resize is rounded half up and is never below the shorter side's target or below 1. Offsets are rows and
    columns of the first pixel, inclusive; the odd pixel of a difference goes to the right and bottom.
    """

    height: int
    width: int
    view: View
    plane: int = 256

    def __post_init__(self) -> None:
        for name in ("height", "width", "plane"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
        if self.view not in VIEWS:
            raise ValueError(f"view must be one of {', '.join(VIEWS)}; got {self.view!r}")

    @property
    def resized(self) -> tuple[int, int]:
        """(height, width) after resizing, before cutting or padding.

        warp: both sides become the plane's. center: the shorter side does. pad: the longer side does.
        local: unchanged, unless a side is shorter than the plane; then the shorter one becomes the plane's.
        """
        short, long = sorted((self.height, self.width))
        if self.view == "warp":
            return self.plane, self.plane
        if self.view == "local" and short >= self.plane:
            return self.height, self.width
        basis = long if self.view == "pad" else short
        return self._scaled(self.height, basis), self._scaled(self.width, basis)

    @property
    def offset(self) -> tuple[int, int]:
        """(top, left) of the plane in the resized image (center), or of the resized image in the plane (pad); else (0, 0)."""
        if self.view == "center":
            return (self.resized[0] - self.plane) // 2, (self.resized[1] - self.plane) // 2
        if self.view == "pad":
            return (self.plane - self.resized[0]) // 2, (self.plane - self.resized[1]) // 2
        return 0, 0

    @property
    def origin(self) -> tuple[int, int]:
        """(row, column) of the plane's first pixel in the resized image: negative where `pad` puts black before it."""
        top, left = self.offset
        return (-top, -left) if self.view == "pad" else (top, left)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the plane; for local that is the whole (enlarged) image."""
        return self.resized if self.view == "local" else (self.plane, self.plane)

    def _scaled(self, side: int, basis: int) -> int:
        return max(1, (2 * side * self.plane + basis) // (2 * basis))
