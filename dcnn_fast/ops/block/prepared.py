"""A block whose operands a backend has read once for all."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dcnn_fast.ops import memory
from dcnn_fast.ops.block.backend import Prepared, Work
from dcnn_fast.ops.block.params import BlockParams
from dcnn_fast.ops.device_tables import Placer
from dcnn_fast.ops.launch import Launch
from dcnn_fast.ops.region import require_regions


@dataclass(frozen=True)
class PreparedBlock:
    """One block. params: its problem, whatever the extents. prepared: its operands as its backend reads them."""

    params: BlockParams
    prepared: Prepared

    def run(self, work: Work) -> None:
        """Write the regions' results to the work's outputs, as `ops.block_regions` does.

        Raises ValueError as that does for regions that leave their sources or outputs.
        """
        self._require(work)
        self.prepared.run(work)

    def launch_of(self, work: Work, placer: Placer) -> Launch | None:
        """The launch that does what `run` does, for which only tables are made; None where the backend has no launches.

        Raises ValueError as `run` does.
        """
        launches = self.prepared.launches
        if launches is None:
            return None
        self._require(work)
        return launches.launch_of(work, placer)

    def _require(self, work: Work) -> None:
        options = self.params.options
        require_regions(
            [(source.shape[0], source.shape[2], source.shape[3]) for source in work.sources], work.regions,
            size=self.params.size, stride=options.stride, padding=options.padding, rounding=options.rounding, pool=options.pool,
        )  # fmt: skip


def owned(tensor: Tensor) -> Tensor:
    """The values of a tensor in memory that nothing else has, on the same device; on the cpu without torch's threads."""
    if tensor.device.type != "cpu":
        return tensor.detach().clone()
    dense = memory.contiguous(tensor.detach())
    return memory.copied(dense, dense.dtype) if dense.data_ptr() == tensor.data_ptr() else dense
