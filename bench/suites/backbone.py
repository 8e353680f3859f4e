"""The frozen column: EfficientNet-Lite0 over one picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from bench import peers
from bench.effort import Effort
from bench.measure import Case, compare
from bench.peers.plain_backbone import PlainBackbone, onnx_backbone
from bench.row import OURS, OURS_BF16, Found
from bench.timing import Rival
from dcnn_fast.nets.efficientnet import lite_params
from dcnn_fast.ops.backbone import BackboneParams, BackboneWeights, PreparedBackbone, prepare
from dcnn_fast.ops.mbconv import MbConvWeights
from dcnn_fast.ops.precision import Precision

LITE0 = "EfficientNet-Lite0, one picture"


def rows(limits: Mapping[str, float], threads: int, effort: Effort) -> Iterator[Found]:
    """From the pixels of one picture of 224 x 224 to the means of the last layer, with random weights."""
    torch.set_num_threads(threads)
    params = lite_params("lite0")
    params = replace(params, height=96, width=96) if effort.quick else params
    weights = drawn(params)
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (1, 3, params.height, params.width), generator=generator, dtype=torch.uint8)
    net = PlainBackbone(params, weights)
    families = peers.settings_for(
        net, partial(onnx_backbone, net), threads, compiled=effort.compiled and not effort.quick, bf16=not effort.quick
    )
    x = pixels.float()
    built = peers.build(families, x, search=effort.search)
    others = [
        Rival(name, partial(peer, x.contiguous(memory_format=peer.memory)), peers.tolerance(name), peer.setting)
        for name, peer in built.items()
    ]
    last = pixels.contiguous(memory_format=torch.channels_last)
    precisions: dict[str, Precision] = {OURS: "ieee"} if effort.quick else {OURS: "ieee", OURS_BF16: "bf16"}
    ours = [
        Rival(name, partial(run, prepare(replace(params, precision=precision), weights), last), peers.tolerance(name))
        for name, precision in precisions.items()
    ]
    yield from compare(Case("backbone", LITE0, threads, flops=2.0 * params.macs, limits=limits), ours, others, effort.rounds)


def run(net: PreparedBackbone, pixels: Tensor) -> np.ndarray:
    """The features on our engine."""
    found: np.ndarray = net.features(pixels).numpy()
    return found


def drawn(params: BackboneParams) -> BackboneWeights:
    """Random weights that keep values within ReLU6's range."""
    generator = torch.Generator().manual_seed(0)

    def layer(outputs: int, *inputs: int) -> tuple[Tensor, Tensor]:
        weight = torch.randn(outputs, *inputs, generator=generator) / torch.Size(inputs).numel() ** 0.5
        return weight, 0.1 * torch.randn(outputs, generator=generator)

    blocks = tuple(
        MbConvWeights(
            layer(b.expanded, b.channels) if b.expands else None,
            layer(b.expanded, b.size, b.size),
            layer(b.filters, b.expanded),
        )
        for b in params.blocks
    )
    stem = layer(params.stem.filters, params.stem.channels, params.stem.size, params.stem.size)
    return BackboneWeights(stem, blocks, layer(params.outputs, params.blocks[-1].filters))
