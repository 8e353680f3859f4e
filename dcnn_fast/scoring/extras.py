"""Optional results from a photograph's pixels beside the network's answer."""

from __future__ import annotations

from dataclasses import dataclass

from dcnn_fast import former
from dcnn_fast.data.reading import Photo
from dcnn_fast.photographs.faults import find_faults
from dcnn_fast.photographs.look import Look, look_at


@dataclass(frozen=True)
class Seen:
    """The results, as in `Score`; None where not requested."""

    faults: tuple[str, ...] | None = None
    measures: dict[str, float] | None = None
    look: Look | None = None


NOT_ASKED = Seen()


@former.taking(samples="per_sample")
@dataclass(frozen=True)
class Extras:
    """The optional contents of scores; see `Scorer`."""

    faults: bool = False
    per_sample: bool = False
    groups: bool = False

    samples = former.attribute("Extras", "samples", "per_sample")

    def seen(self, photo: Photo) -> Seen:
        """Compute the requested results for a photograph."""
        if not (self.faults or self.groups):
            return NOT_ASKED  # so its pixels need not be rotated upright
        pixels = photo.pixels
        found = find_faults(pixels) if self.faults else None
        return Seen(
            None if found is None else found.names,
            None if found is None else found.measures,
            look_at(pixels) if self.groups else None,
        )
