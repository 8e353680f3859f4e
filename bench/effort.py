"""The sizes of a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from dcnn_fast.training import Settings


@dataclass(frozen=True)
class Effort:
    """Sizes of a run. The defaults are the whole benchmark, whose times count.

    rounds: runs of each rival, whose median counts, and tries of the machine's peaks, of which the best counts. few_rounds: the
    same where nothing alternates with a peer. windows: for a score, and images for a single block. photographs: for the paper
    suite. originals: large files of the jpeg suite. read_share: the share of their full megapixels in the read suite's files.
    batch: windows of a training step. scaling_views, scaling_sizes, scaling_images: the scaling suite's values (sizes: height,
    width). compiled: include torch.compile. search: try peers, and torch's training step, in all their settings; else take the
    first. unit_share: the share of fully-connected units to keep, as every peer of a score or a training step has copies of
    them. quick: one block and SCNN in fp32 only. tiny: the sizes are too small for meaningful times, so no floor applies.
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
        """A JSON-ready dict."""
        return asdict(self)


FULL = Effort()
TINY = Effort(
    rounds=1, few_rounds=1, windows=2, photographs=1, originals=1, read_share=0.005, batch=2, scaling_views=(1, 2),
    scaling_sizes=((300, 400),), scaling_images=(1, 2), search=False, unit_share=0.1, tiny=True,
)  # fmt: skip
