"""A GPU that does nothing and counts: the host's side is measured with it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from dcnn_fast.ops.launch import Launch
from dcnn_fast.ops.recording import Step


class Counted:
    """What the host issues to a GPU, counted and not done: launches of kernels, and replays of graphs."""

    def __init__(self) -> None:
        self.issued = 0

    def launch(self, what: Launch) -> None:
        """One kernel."""
        self.issued += 1

    def copy(self, target: Tensor, source: Tensor) -> None:
        """Nothing: a copy is no launch."""

    def record(self, steps: Sequence[Step]) -> Counted:
        """Itself, as the graph of the steps."""
        return self

    def replay(self) -> None:
        """One graph."""
        self.issued += 1
