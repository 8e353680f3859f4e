"""How much a run measures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from dcnn_fast.training import Settings


@dataclass(frozen=True)
class Effort:
    """Sizes of a run. The defaults are the whole benchmark, whose times count.

    rounds: turns of each rival, whose median counts, and tries of what the machine can do, of which the best counts.
    few_rounds: where nothing takes turns with a peer. windows: of a score, and images of a single block. photographs: of the
    paper suite. originals: large files of the jpeg suite. read_share: how much of their megapixels the read suite's files
    have. batch: windows of a training step. scaling_views, scaling_sizes, scaling_images: what the scaling suite goes through
    (sizes: height, width). compiled: torch.compile is among the peers. search: peers are tried in all their settings, and
    torch's training step too; else they are taken in the first. unit_share: of the units of fully-connected layers, of which
    every peer of a score or a training step has copies. quick: one block and SCNN in fp32 only. tiny: the sizes are too small
    for times to mean anything, so none is held to a floor.
    """

    rounds: int = 5
    few_rounds: int = 3
    windows: int = 50
    photographs: int = 8
    originals: int = 4
    read_share: float = 1.0
    batch: int = Settings().batch
    scaling_views: tuple[int, ...] = (1, 5, 20, 50, 100, 500)
    scaling_sizes: tuple[tuple[int, int], ...] = ((480, 640), (600, 800), (1200, 1600), (3000, 4000), (6144, 8192))
    scaling_images: tuple[int, ...] = (1, 2, 4, 8)
    compiled: bool = True
    search: bool = True
    unit_share: float = 1.0
    quick: bool = False
    tiny: bool = False

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


FULL = Effort()
TINY = Effort(
    rounds=1, few_rounds=1, windows=2, photographs=1, originals=1, read_share=0.005, batch=2, scaling_views=(1, 2),
    scaling_sizes=((300, 400),), scaling_images=(1, 2), search=False, unit_share=0.1, tiny=True,
)  # fmt: skip
