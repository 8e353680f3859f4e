"""Parts that the launches of the block's GPU kernels share: tables of regions, sources and outputs, a norm's numbers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from dcnn_fast.networks import CrossMapNorm, Norm
from dcnn_fast.ops.block.norms import per_term
from dcnn_fast.ops.records import OUTPUT, SOURCE
from dcnn_fast.ops.region import RegionList
from dcnn_fast.ops.tables import matrix, zeros


def tables_of(regions: RegionList, sources: Sequence[Tensor], outputs: Sequence[Tensor]) -> dict[str, Tensor]:
    """The tables that every kernel of the block reads, by name."""
    from_, to = zeros(len(sources), SOURCE), zeros(len(outputs), OUTPUT)
    for row, source in zip(from_, sources, strict=True):
        row["address"] = source.data_ptr()
        row["image"], row["channel"], row["row"], row["col"] = source.stride()
    for row, out in zip(to, outputs, strict=True):
        row["address"] = out.data_ptr()
        row["rows"], row["cols"] = out.shape[2:]
    return {
        "regions": regions.regions, "pieces": regions.pieces, "stores": regions.stores, "sources": matrix(from_),
        "outputs": matrix(to),
    }  # fmt: skip


def out_alignment(outputs: Sequence[Tensor]) -> int:
    """Bytes that every output's address is a multiple of: 16, or an element's."""
    return 16 if all(out.data_ptr() % 16 == 0 for out in outputs) else outputs[0].element_size()


def norm_numbers(norm: Norm | None) -> dict[str, float]:
    """A norm's numbers, under the kernels' names."""
    return {
        "norm_scale": 0.0 if norm is None else float(per_term(norm)),
        "norm_power": 0.0 if norm is None else float(norm.power),
        "norm_k": float(norm.k) if isinstance(norm, CrossMapNorm) else 1.0,
    }
