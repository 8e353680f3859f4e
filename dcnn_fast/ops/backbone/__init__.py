"""A backbone of inverted residual blocks, from images to the means of its maps: a column's EfficientNet-Lite."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dcnn_fast.ops import backend as backends
from dcnn_fast.ops.backbone import cpu, reference, triton
from dcnn_fast.ops.backbone.backend import BackboneBackend, BackboneWeights, PreparedBackbone
from dcnn_fast.ops.backbone.params import BackboneParams, BlockShape, Stem

BACKENDS: Mapping[str, BackboneBackend] = {"triton": triton.BACKEND, "cpu": cpu.BACKEND, "reference": reference.BACKEND}


def prepare(params: BackboneParams, weights: BackboneWeights, device: torch.device | str = "cpu") -> PreparedBackbone:
    """Choose a backend and lay out the weights for it; the result takes any number of images of any extents.

    params: the problem, whose images, extents and dtype are of no account. weights: in float32; whoever prepares leaves them as
    they are from then on. An image's features have the same bits alone, in any batch and on any threads
    (docs/design.md#scores). Raises BackendError when no backend can run it. Source: Tan and Le 2019; Google's Lite variants.
    """
    return BACKENDS[backends.choose(BACKENDS, params, torch.device(device))].prepare(params, weights)


def explain(params: BackboneParams, device: torch.device | str = "cpu") -> list[backends.Answer]:
    """Every backend's answer to one problem, in order of preference."""
    return backends.explain(BACKENDS, params, torch.device(device))


__all__ = [
    "BACKENDS", "BackboneParams", "BackboneWeights", "BlockShape", "PreparedBackbone", "Stem", "explain", "prepare",
]  # fmt: skip
