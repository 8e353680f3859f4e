"""Small backbones, their weights, a statement in torch's layers, and the operation's description for the tester."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from dcnn_fast import engine
from dcnn_fast.ops.backbone import BACKENDS, BackboneParams, BackboneWeights, BlockShape, Stem, cpu
from dcnn_fast.ops.launch import launch
from tests.ops import guarded, tester
from tests.ops.mbconv.problems import weights_of

BLOCKS = (
    BlockShape(9, 9, 6, 3, 1, False, False),
    BlockShape(6, 36, 10, 5, 2, True, False),
    BlockShape(10, 50, 10, 3, 1, True, True),
)
TINY = BackboneParams(1, 31, 42, Stem(9, 3, 2, (120.0, 110.5, 100.0), 1 / 64), BLOCKS, 37, (0, 2))
# Wide enough that a tile unit forms all products in bf16.
WIDE = BackboneParams(
    1, 37, 26, Stem(17, 3, 2, (120.0, 110.5, 100.0), 1 / 64),
    (
        BlockShape(17, 17, 24, 3, 1, False, False),
        BlockShape(24, 144, 40, 5, 2, True, False),
        BlockShape(40, 100, 40, 3, 1, True, True),
    ),
    70, (0, 2),
)  # fmt: skip
# Strides of 1, an even filter size, four channels, one pixel left over at the end.
OTHER = BackboneParams(1, 9, 2, Stem(5, 4, 1, (1.0, 2.0, 3.0, 4.0)), (BlockShape(5, 15, 8, 3, 3, True, False),), 3)


def backbone_weights(params, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape):
        return torch.randn(shape, generator=generator) / max(1, torch.Size(shape[1:]).numel()) ** 0.5

    stem = drawn(params.stem.filters, params.stem.channels, params.stem.size, params.stem.size), drawn(params.stem.filters)
    blocks = tuple(weights_of(problem, seed=seed + i, spread=0.3) for i, problem in enumerate(params.problems()))
    return BackboneWeights(stem, blocks, (drawn(params.outputs, params.blocks[-1].filters), drawn(params.outputs)))


def images_of(params, count=None):
    """Pixels of the problem's dtype."""
    shape = params.images if count is None else count, params.stem.channels, params.height, params.width
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
    return pixels.to(params.dtype).contiguous(memory_format=torch.channels_last)


def by_torch(params, weights, x):
    """The features in float64, by torch's convolutions."""

    def padded(maps, size, stride):
        pads = []
        for extent in (maps.shape[3], maps.shape[2]):
            missing = max((-(-extent // stride) - 1) * stride + size - extent, 0)
            pads += [missing // 2, missing - missing // 2]
        return F.pad(maps, pads)

    stem = params.stem
    maps = (x.double() - torch.tensor(stem.mean, dtype=torch.float64).reshape(1, -1, 1, 1)) * stem.scale
    weight, bias = (of.double() for of in weights.stem)
    maps = F.relu6(F.conv2d(padded(maps, stem.size, stem.stride), weight, bias, stride=stem.stride))
    means = []
    for number, (block, of) in enumerate(zip(params.blocks, weights.blocks, strict=True)):
        before = maps
        if of.expand is not None:
            maps = F.relu6(F.conv2d(maps, of.expand[0].double()[:, :, None, None], of.expand[1].double()))
        weight, bias = (layer.double() for layer in of.depthwise)
        maps = padded(maps, block.size, block.stride)
        maps = F.relu6(F.conv2d(maps, weight[:, None], bias, stride=block.stride, groups=block.expanded))
        maps = F.conv2d(maps, of.project[0].double()[:, :, None, None], of.project[1].double())
        maps = maps + before if block.residual else maps
        if number in params.taps:
            means.append(maps.mean((2, 3)))
    maps = F.relu6(F.conv2d(maps, weights.head[0].double()[:, :, None, None], weights.head[1].double()))
    return torch.cat([*means, maps.mean((2, 3))], 1)


def _compute(way, params, operands, results, threads):
    """Compute one result; for the GPU's kernels the input lies between canaries too."""
    x, weights = operands
    if way.backend == "reference":
        results[0].copy_(BACKENDS["reference"].prepare(params, weights).features(x))
    elif way.backend == "cpu":
        found = cpu.packed(way.isa, params, weights).features(engine.array_of(x), threads=threads)
        results[0].copy_(torch.from_numpy(found))
    else:
        given, around = guarded.output(x.shape, x.dtype)
        given.copy_(x)
        for what in BACKENDS["triton"].prepare(params, weights).launches(given, *results):
            launch(what)
        guarded.assert_untouched(around)


def _stated(params, operands):
    """torch's layers in ieee; the reference in bf16, which states where intermediate values are rounded."""
    x, weights = operands
    if params.precision == "ieee":
        return [by_torch(params, weights, x)]
    return [BACKENDS["reference"].prepare(params, weights).features(x)]


BACKBONE = tester.Operation(
    operands=lambda params: (images_of(params), backbone_weights(params)),
    results=lambda params: ([(params.images, params.features)], torch.float32),
    compute=_compute,
    statement=_stated,
)
