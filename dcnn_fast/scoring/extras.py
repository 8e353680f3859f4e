"""What is asked of a photograph's pixels beside the network's answer, each because somebody asked for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dcnn_fast.photographs.faults import find_faults
from dcnn_fast.photographs.look import Look, look_at


@dataclass(frozen=True)
class Seen:
    """What was found; None is what nobody asked for. As in `Score`."""

    faults: tuple[str, ...] | None = None
    measures: dict[str, float] | None = None
    look: Look | None = None


NOT_ASKED = Seen()


@dataclass(frozen=True)
class Extras:
    """What scores carry; see `Scorer`."""

    faults: bool = False
    samples: bool = False
    groups: bool = False

    def seen(self, pixels: np.ndarray) -> Seen:
        """Look at a photograph, [H, W, 3] uint8 sRGB."""
        found = find_faults(pixels) if self.faults else None
        return Seen(
            None if found is None else found.names,
            None if found is None else found.measures,
            look_at(pixels) if self.groups else None,
        )
