"""A block whose weights lie on a GPU for good, as its kernel reads them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from dcnn_fast.ops import dispatch
from dcnn_fast.ops.block import BACKENDS
from dcnn_fast.ops.block.gpu.column import BlockLaunches
from dcnn_fast.ops.block.params import BlockParams


def fixed(
    params: BlockParams, weight: Tensor, bias: Tensor | None, mean: Sequence[float] = (), scale: float = 1.0
) -> BlockLaunches | None:
    """The block on the device of `weight`, by the backend that is chosen for `params`; None where that one has no launches.

    weight [F, C / groups, S, S], bias [F]: of params.weight_dtype; they are read now and not again. mean, scale: as in
    `ops.block_regions`. Raises BackendError when no backend can run it.
    """
    backend = BACKENDS[dispatch.choose(BACKENDS, params, weight.device)]
    if not hasattr(backend, "lay"):
        return None
    found: BlockLaunches = backend.lay(weight, bias, params, mean, scale)
    return found
