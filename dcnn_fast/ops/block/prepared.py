"""A block whose operands are laid out once for its backend."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from torch import Tensor

from dcnn_fast.ops import memory
from dcnn_fast.ops.block.backend import Launches, Prepared, Work
from dcnn_fast.ops.block.params import BlockParams
from dcnn_fast.ops.region import require_regions


@dataclass(frozen=True)
class PreparedBlock:
    """One block. params: its problem, extents ignored. prepared: its operands in its backend's layout."""

    params: BlockParams
    prepared: Prepared

    @property
    def launches(self) -> Launches | None:
        """The block as launches of a kernel; None for a backend that launches none."""
        return self.prepared.launches

    def in_one_tile(self) -> PreparedBlock:
        """The block in the tile of `launches`, so that no `run` times tiles; itself where there are none."""
        launches = self.prepared.launches
        return self if launches is None else replace(self, prepared=cast("Prepared", launches))

    def run(self, work: Work) -> None:
        """Write the regions' results to the work's outputs, as `ops.block_regions` does.

        Raises ValueError as that does for regions that leave their sources or outputs.
        """
        options = self.params.options
        require_regions(
            [(source.shape[0], source.shape[2], source.shape[3]) for source in work.sources], work.regions,
            size=self.params.size, stride=options.stride, padding=options.padding, rounding=options.rounding, pool=options.pool,
        )  # fmt: skip
        self.prepared.run(work)


def owned(tensor: Tensor) -> Tensor:
    """The values of a tensor in memory that nothing else has, on the same device; on the cpu without torch's threads."""
    if tensor.device.type != "cpu":
        return tensor.detach().clone()
    dense = memory.contiguous(tensor.detach())
    return memory.copied(dense, dense.dtype) if dense.data_ptr() == tensor.data_ptr() else dense
