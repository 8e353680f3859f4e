"""The contract of the views' backends."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from dcnn_fast.ops.backend import Backend
from dcnn_fast.ops.views.cuts import Cut, CutList


@dataclass(frozen=True)
class Cutting:
    """Cuts and their operands: cut i, of photograph cuts[i].image, goes to outputs[i].

    images: uint8 [H, W, C] each, C of 1, 3 or 4, pixels and channels without gaps, rows of any pitch. outputs: contiguous
    [height, width, 4], all uint8, float16 or bfloat16; in the last two a pixel is (pixel - mean) * scale, mean of three numbers
    or none. background: transparent pixels are laid over it.
    """

    images: Sequence[Tensor]
    cuts: Sequence[Cut]
    outputs: Sequence[Tensor]
    mean: Sequence[float] = ()
    scale: float = 1.0
    background: tuple[int, int, int] = (255, 255, 255)


class ViewsBackend(Backend[CutList], Protocol):
    """A backend of the views."""

    @abstractmethod
    def run(self, cutting: Cutting) -> None:
        """Write every cut to its output."""
