"""ops.backbone: features as torch's own layers give them, with every instruction set; bits that belong to the image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dcnn_fast import engine
from dcnn_fast.ops.backbone import BACKENDS, BackboneParams, BlockShape, Stem, cpu, prepare
from dcnn_fast.ops.backend import BackendError
from tests.ops.backbone.problems import BLOCKS, TINY, WIDE, backbone_weights

ISAS = [*engine.isas(), *engine.emulated_isas()]
# Strides of 1, an even filter, four channels, one pixel left at the end.
OTHER = BackboneParams(1, 9, 2, Stem(5, 4, 1, (1.0, 2.0, 3.0, 4.0)), (BlockShape(5, 15, 8, 3, 3, True, False),), 3)


def _images(params, count=3, dtype=torch.uint8):
    shape = (count, params.stem.channels, params.height, params.width)
    pixels = torch.from_numpy(np.random.default_rng(5).integers(0, 256, shape).astype(np.uint8))
    return pixels.to(dtype).contiguous(memory_format=torch.channels_last)


def _by_torch(params, weights, x):
    """float64, by torch's own convolutions."""

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


def _features(way, params, weights, x, threads=1):
    if way == "reference":
        return BACKENDS["reference"].prepare(params, weights).features(x)
    return torch.from_numpy(cpu.packed(way, params, weights).features(engine.array_of(x), threads=threads))


@pytest.mark.parametrize("way", ["reference", *ISAS])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
@pytest.mark.parametrize("params", [TINY, OTHER, WIDE], ids=str)
def test_features_are_those_of_torchs_layers(params, dtype, way):
    weights, x = backbone_weights(params), _images(params, dtype=dtype)
    expected = _by_torch(params, weights, x)
    found = _features(way, params, weights, x)
    assert found.shape == expected.shape == (3, params.features)
    assert (found - expected).abs().max() <= params.tolerance() * expected.abs().max()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("params", [TINY, OTHER, WIDE], ids=str)
def test_bf16_rounds_as_the_reference_does(params, isa):
    params = replace(params, precision="bf16")
    weights, x = backbone_weights(params), _images(params)
    expected = _features("reference", params, weights, x)
    exact = _features("reference", replace(params, precision="ieee"), weights, x)
    found = _features(isa, params, weights, x)
    largest = expected.abs().max()
    assert (found - expected).abs().max() <= params.tolerance() * largest
    assert 0 < (found - exact).abs().max() <= 0.05 * largest


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("precision", ["ieee", "bf16"])
@pytest.mark.parametrize("params", [TINY, WIDE], ids=str)
def test_bits_depend_on_neither_batch_nor_place_nor_threads_nor_memory(params, precision, isa):
    params = replace(params, precision=precision)
    weights, x = backbone_weights(params), _images(params, 5)
    together = _features(isa, params, weights, x)
    for threads in (2, 3, 16):
        assert torch.equal(_features(isa, params, weights, x, threads), together)
        for i in range(5):
            assert torch.equal(_features(isa, params, weights, x[i : i + 1], threads)[0], together[i])
    turned = torch.from_numpy(engine.array_of(x)[::-1].copy())
    assert torch.equal(_features(isa, params, weights, turned).flip(0), together)
    wide = torch.zeros(5, 3, params.height, 2 * params.width, dtype=torch.uint8)
    wide[..., ::2] = x
    for laid in (x.contiguous(), wide[..., ::2]):
        assert torch.equal(_features(isa, params, weights, laid), together)


@pytest.mark.needs_engine
def test_images_may_have_any_extents():
    weights = backbone_weights(TINY)
    net = prepare(TINY, weights)
    for rows, cols in ((1, 1), (2, 3), (64, 17)):
        params = replace(TINY, height=rows, width=cols)
        x = _images(params)
        expected = _by_torch(params, weights, x)
        assert (net.features(x) - expected).abs().max() <= TINY.tolerance() * expected.abs().max()


def test_no_images_have_no_features():
    for way in ("reference", *ISAS[:1]):
        assert _features(way, TINY, backbone_weights(TINY), _images(TINY, 0)).shape == (0, TINY.features)


@pytest.mark.needs_engine
def test_what_is_prepared_keeps_its_weights(monkeypatch):
    weights, x = backbone_weights(TINY), _images(TINY)
    net = prepare(TINY, weights)
    before = net.features(x)
    weights.head[0].zero_()
    weights.blocks[1].project[0].zero_()
    assert torch.equal(net.features(x), before)
    monkeypatch.setenv("DCNN_FAST_BACKEND", "reference")
    assert not torch.equal(prepare(TINY, weights).features(x), before)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"blocks": ()}, "blocks must hold at least one"),
        ({"blocks": BLOCKS[1:]}, r"blocks\[0\] must take 9 channels, got 6"),
        ({"taps": (2, 0)}, "taps must be numbers of blocks, ascending"),
        ({"taps": (3,)}, "taps must be numbers of blocks, ascending"),
        ({"taps": (1, 1)}, "taps must be numbers of blocks, ascending"),
    ],
)
def test_what_is_no_backbone_is_refused_by_name(changes, rule):
    with pytest.raises(ValueError, match=rule):
        replace(TINY, **changes)


@pytest.mark.needs_engine
def test_a_precision_that_there_is_not_is_refused_by_name(monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", "cpu")
    with pytest.raises(BackendError, match="computes a backbone in ieee fp32 or bf16, not in tf32"):
        prepare(replace(TINY, precision="tf32"), backbone_weights(TINY))


def _given():
    problems, weights = list(TINY.problems()), backbone_weights(TINY)
    isa = engine.isa()
    blocks = [cpu.mbconv.packed(isa, problem, of) for problem, of in zip(problems, weights.blocks, strict=True)]
    stem, head = cpu.mbconv.layer(weights.stem), cpu.mbconv.layer(weights.head)
    return {
        "stem": stem, "stride": 2, "mean": TINY.stem.mean, "scale": 1.0, "blocks": blocks, "head": head, "taps": TINY.taps,
        "bf16": False,
    }  # fmt: skip


@pytest.mark.needs_engine
@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda given: {"stride": 4}, "stride must be 1 to the stem's size 3"),
        (lambda given: {"mean": (1.0,)}, "mean must be a value for each channel"),
        (lambda given: {"blocks": given["blocks"][1:]}, "block 0 must take 9 channels"),
        (lambda given: {"blocks": []}, "head weight must be|at least one block"),
        (lambda given: {"blocks": [*given["blocks"][:2], None]}, "blocks must be PackedMbConv each"),
        (lambda given: {"bf16": True}, "block 0 must take 9 channels, in the others' precision"),
        (lambda given: {"taps": (0, 3)}, "taps must be numbers of blocks, ascending"),
        (lambda given: {"taps": (-1,)}, "taps must be numbers of blocks, ascending"),
        (lambda given: {"head": (given["head"][0][:, :-1].copy(), given["head"][1])}, r"head weight must be \[37, 10\]"),
        (
            lambda given: {"stem": (given["stem"][0][:0], given["stem"][1][:0])},
            "stem weight must be of 4 axes, none of them empty",
        ),
        (lambda given: {"stem": (given["stem"][0][..., :2].copy(), given["stem"][1])}, r"stem weight must be \[9, 3, 3, 3\]"),
    ],
)
def test_the_engine_refuses_by_name_what_is_no_backbone(change, rule):
    given = _given()
    with pytest.raises((ValueError, TypeError), match=rule):
        engine.native.Backbone(engine.isa(), **given | change(given))


@pytest.mark.needs_engine
def test_the_engine_refuses_by_name_what_are_no_images():
    net = engine.native.Backbone(engine.isa(), **_given())
    x = engine.array_of(_images(TINY))
    with pytest.raises(ValueError, match=r"x must be \[3, 3, 31, 42\]"):
        net.features(x[:, :2], threads=1)
    with pytest.raises(ValueError, match=r"x must be \[images, channels, rows, cols\]"):
        net.features(x[0], threads=1)
    with pytest.raises(ValueError, match="uint8 or float32"):
        net.features(x.astype("float64"), threads=1)
    with pytest.raises(ValueError, match="at least one row and one column"):
        net.features(x[:, :, :0], threads=1)
    with pytest.raises(ValueError, match="threads"):
        net.features(x, threads=0)
    vast = np.broadcast_to(np.zeros(1, np.uint8), (1, 3, 2**20, 2**20))
    with pytest.raises(ValueError, match="at most 64 GiB"):
        net.features(vast, threads=1)
