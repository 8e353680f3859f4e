"""What the launches of the block's GPU kernels have in common: tables of regions, sources and outputs, a norm's numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dcnn_fast.ops.block.params import BlockParams
from dcnn_fast.ops.block.triton_config import per_term
from dcnn_fast.ops.region import REGION_FIELDS, RegionList, whole
from dcnn_fast.spec import CrossMapNorm, Norm

# A region with nothing in it, and no column short of one: what programs are given that have nothing to do.
_EMPTY_REGION = tuple(int(name == "cols") for name in (*REGION_FIELDS, "first piece", "pieces"))


def tables_of(regions: RegionList, sources: Sequence[Tensor], outputs: Sequence[Tensor]) -> dict[str, Tensor]:
    """The tables that every kernel of the block reads, by name; the regions end with one that is empty.

    sources: [n, 5] int64: address, strides of image, row, column and channel in elements. outputs: [n, 3] int64: address, rows,
    columns.
    """
    from_ = [(source.data_ptr(), *(source.stride(axis) for axis in (0, 2, 3, 1))) for source in sources]
    to = [(out.data_ptr(), *out.shape[2:]) for out in outputs]
    return {
        "regions": torch.cat([regions.regions, torch.tensor([_EMPTY_REGION])]), "pieces": regions.pieces,
        "stores": regions.stores, "sources": torch.tensor(from_, dtype=torch.int64),
        "outputs": torch.tensor(to, dtype=torch.int64),
    }  # fmt: skip


def out_alignment(outputs: Sequence[Tensor]) -> int:
    """Bytes that every output's address is a multiple of: 16, or an element's."""
    return 16 if all(out.data_ptr() % 16 == 0 for out in outputs) else outputs[0].element_size()


def norm_numbers(norm: Norm | None) -> dict[str, float]:
    """What a norm is computed with, under the kernels' names."""
    return {
        "norm_scale": 0.0 if norm is None else float(per_term(norm)),
        "norm_power": 0.0 if norm is None else float(norm.power),
        "norm_k": float(norm.k) if isinstance(norm, CrossMapNorm) else 1.0,
    }


def whole_images(params: BlockParams) -> RegionList:
    """One region per image."""
    options = params.options
    return whole(
        params.images, params.height, params.width, size=params.size, stride=options.stride, padding=options.padding,
        rounding=options.rounding, pool=options.pool,
    )  # fmt: skip
