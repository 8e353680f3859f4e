"""A block whose weights lie on a GPU for good, as its kernel reads them: regions of it become launches without a copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from dcnn_fast.ops import dispatch
from dcnn_fast.ops.block import BACKENDS
from dcnn_fast.ops.block.params import BlockParams
from dcnn_fast.ops.device_tables import Placer
from dcnn_fast.ops.launch import Launch
from dcnn_fast.ops.region import RegionList, require_regions


@dataclass(frozen=True)
class FixedBlock:
    """One block. params: its problem, whatever the extents. laid: what its backend made of weight, bias and mean."""

    params: BlockParams
    backend: Any
    laid: Any

    def launch(self, sources: Sequence[Tensor], regions: RegionList, outputs: Sequence[Tensor], placer: Placer) -> Launch:
        """The launch that writes the regions' results to `outputs`, as `ops.block_regions` does; only tables are made for it.

        Raises ValueError as `ops.block_regions` does for regions that leave their sources or outputs.
        """
        options = self.params.options
        require_regions(
            [(source.shape[0], source.shape[2], source.shape[3]) for source in sources], regions, size=self.params.size,
            stride=options.stride, padding=options.padding, rounding=options.rounding, pool=options.pool,
        )  # fmt: skip
        launch: Launch = self.backend.planned(self.laid, sources, regions, outputs, placer)
        return launch


def fixed(
    params: BlockParams, weight: Tensor, bias: Tensor | None, mean: Sequence[float] = (), scale: float = 1.0
) -> FixedBlock | None:
    """The block on the device of `weight`, by the backend that is chosen for `params`; None where that one has no launches.

    weight [F, C / groups, S, S], bias [F]: of params.weight_dtype; they are read now and not again. mean, scale: as in
    `ops.block_regions`. Raises BackendError when no backend can run it.
    """
    backend = BACKENDS[dispatch.choose(BACKENDS, params, weight.device)]
    if not hasattr(backend, "planned"):
        return None
    return FixedBlock(params, backend, backend.lay(weight, bias, params, mean, scale))
