"""The Triton block: a place kept for its kernels, which do not exist yet."""

from __future__ import annotations

import torch

from dcnn_fast.ops.block.params import BlockParams


def can_run(params: BlockParams, device: torch.device) -> str | None:
    """Always a refusal in this version."""
    return "the Triton kernel of this operation is not written yet"
