"""ops.backbone: the features of torch's layers on every backend; an image's bits depend on that image alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dcnn_fast import engine
from dcnn_fast.ops.backbone import BACKENDS, cpu, prepare
from dcnn_fast.ops.backend import BackendError
from tests.ops import tester
from tests.ops.backbone.problems import BACKBONE, BLOCKS, OTHER, TINY, WIDE, backbone_weights, images_of
from tests.ops.tester import CPU, ENGINE, REFERENCE, TRITON, Way

pytestmark = pytest.mark.gpu

PACKING = [TRITON, *([Way("cpu", engine.isa())] if ENGINE else [])]
PUBLIC = [REFERENCE, *PACKING]
BATCHES = [replace(params, images=3) for params in (TINY, OTHER, WIDE)]
BOTH = ["ieee", "bf16"]
ON_TRITON = [replace(TINY, images=2), replace(OTHER, images=2, dtype=torch.float32)]


@pytest.mark.parametrize("way", [REFERENCE, *ENGINE], ids=str)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
@pytest.mark.parametrize("params", BATCHES, ids=str)
def test_features_are_those_of_torchs_layers(params, dtype, way):
    tester.values(BACKBONE, way, replace(params, dtype=dtype))


@pytest.mark.parametrize("way", ENGINE, ids=str)
@pytest.mark.parametrize("params", BATCHES, ids=str)
def test_bf16_rounds_as_the_reference_does(params, way):
    (found,) = tester.values(BACKBONE, way, replace(params, precision="bf16"))
    exact = BACKBONE.run(REFERENCE, params, BACKBONE.operands(params))[0]
    assert 0 < (found - exact).abs().max() <= 0.05 * exact.abs().max()


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("precision", BOTH)
@pytest.mark.parametrize("params", ON_TRITON, ids=str)
def test_features_on_triton(params, precision, capability):
    tester.values(BACKBONE, Way("triton", capability=capability), replace(params, precision=precision))


@pytest.mark.parametrize("way", [REFERENCE, *ENGINE, TRITON], ids=str)
def test_nothing_beside_the_operands_is_read(way):
    tester.memory(BACKBONE, way, replace(OTHER, images=2, dtype=torch.float32))


@pytest.mark.parametrize("way", ENGINE, ids=str)
@pytest.mark.parametrize("precision", BOTH)
@pytest.mark.parametrize("params", [TINY, WIDE], ids=str)
def test_bits_depend_on_neither_batch_nor_place_nor_threads_nor_memory(params, precision, way):
    params = replace(params, images=5, precision=precision)
    tester.bits(BACKBONE, way, params, threads=(3, 2, 16))
    x, weights = BACKBONE.operands(params)
    tester.layouts(lambda laid: BACKBONE.run(way, params, (laid, weights))[0], x)


@pytest.mark.parametrize("precision", BOTH)
def test_bits_on_triton_depend_on_neither_batch_nor_place(precision):
    tester.bits(BACKBONE, TRITON, replace(TINY, images=3, precision=precision))


@pytest.mark.parametrize("way", [REFERENCE, *ENGINE, TRITON], ids=str)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_no_number_reaches_its_image_alone(value, way):
    params = replace(OTHER, images=3, dtype=torch.float32)
    x, weights = BACKBONE.operands(params)
    clean = BACKBONE.run(way, params, (x, weights))[0]
    x[1, 2, 4, 1] = value
    found = BACKBONE.run(way, params, (x, weights))[0]
    assert torch.equal(found[::2], clean[::2])
    assert torch.equal(found.isnan(), BACKBONE.statement(params, (x, weights))[0].isnan())


EXTENTS = [
    (way, extent) for way in PUBLIC for extent in ((1, 1), (2, 3), (10, 7), (64, 17)) if (way, extent) != (TRITON, (64, 17))
]


@pytest.mark.parametrize(("way", "extent"), EXTENTS, ids=str)
def test_images_may_have_any_extents_and_lie_anyhow(way, extent):
    params, (height, width) = replace(TINY, images=2), extent
    weights, x = backbone_weights(TINY), images_of(replace(params, height=height, width=width))
    with way.running():
        net = prepare(TINY, weights)
        found = net.features(x.contiguous())
        assert torch.equal(net.features(x), found)
    (expected,) = BACKBONE.statement(params, (x, weights))
    tester.assert_within(found, expected, TINY.tolerance() * expected.abs().max())


@pytest.mark.parametrize("way", PUBLIC, ids=str)
def test_no_images_have_no_features(way):
    with way.running():
        assert prepare(TINY, backbone_weights(TINY)).features(images_of(TINY, 0)).shape == (0, TINY.features)


@pytest.mark.parametrize("way", PACKING, ids=str)
def test_what_is_prepared_keeps_its_weights(way):
    with way.running():
        tester.keeps_its_weights(lambda weights: prepare(TINY, weights).features, backbone_weights(TINY), images_of(TINY))


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


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"dtype": torch.float64}, "take uint8 or float32, not float64"),
        ({"precision": "tf32"}, "block 0: the Triton kernel multiplies in ieee or bf16, not in tf32"),
        ({"height": 2**15, "width": 2**15}, "count an image's values and all images' pixels below 2**31"),
    ],
)
def test_triton_refuses_in_a_sentence(change, sentence):
    tester.cannot_run(BACKENDS["triton"], TINY, change, sentence)
    assert "on cuda, not on cpu" in BACKENDS["triton"].can_run(TINY, CPU)


@pytest.mark.needs_engine
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"dtype": torch.float64}, "takes uint8 or float32, not float64"),
        ({"precision": "tf32"}, "in ieee fp32 or bf16, not in tf32"),
    ],
)
def test_the_engine_refuses_in_a_sentence(change, sentence, monkeypatch):
    tester.cannot_run(BACKENDS["cpu"], TINY, change, sentence, CPU)
    monkeypatch.setenv("DCNN_FAST_BACKEND", "cpu")
    with pytest.raises(BackendError, match=sentence):
        prepare(replace(TINY, **change), backbone_weights(TINY))


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
    x = engine.array_of(images_of(replace(TINY, images=3)))
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
