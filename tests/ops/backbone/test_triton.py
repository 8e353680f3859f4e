"""ops.backbone on Triton, its PTX run in the simulator: the reference's features, and bits that belong to the image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dcnn_fast.ops.backbone import BACKENDS, BackboneParams, BlockShape, Stem
from dcnn_fast.ops.launch import launch
from tests.ops.backbone.problems import TINY, backbone_weights
from tests.ops.guarded import assert_untouched, output
from tests.ops.on_cpu import kernels_on_cpu

pytestmark = pytest.mark.gpu

CUDA = torch.device("cuda")
OTHER = BackboneParams(1, 9, 2, Stem(5, 4, 1, (1.0, 2.0, 3.0, 4.0)), (BlockShape(5, 15, 8, 3, 3, True, False),), 3)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def _images(params, count=2, dtype=torch.uint8):
    shape = (count, params.stem.channels, params.height, params.width)
    pixels = torch.from_numpy(np.random.default_rng(5).integers(0, 256, shape).astype(np.uint8))
    return pixels.to(dtype).contiguous(memory_format=torch.channels_last)


def _features(params, weights, x, capability=80):
    """With memory around images and features that nothing reads or writes."""
    given, around = output(x.shape, x.dtype) if x.is_floating_point() else (x, None)
    given.copy_(x)
    found, buffer = output((len(x), params.features))
    with kernels_on_cpu(capability):
        for what in BACKENDS["triton"].prepare(params, weights).launches(given, found):
            launch(what)
    assert_untouched(*(of for of in (around, buffer) if of is not None))
    return found


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("precision", ["ieee", "bf16"])
@pytest.mark.parametrize(("params", "dtype"), [(TINY, torch.uint8), (OTHER, torch.float32)], ids=str)
def test_features_are_the_references(params, dtype, precision, capability):
    params = replace(params, precision=precision)
    weights, x = backbone_weights(params), _images(params, dtype=dtype)
    expected = BACKENDS["reference"].prepare(params, weights).features(x)
    found = _features(params, weights, x, capability)
    assert (found - expected).abs().max() <= params.tolerance() * expected.abs().max()


@pytest.mark.parametrize("precision", ["ieee", "bf16"])
def test_bits_depend_on_neither_batch_nor_place(precision):
    params = replace(TINY, precision=precision)
    weights, x = backbone_weights(params), _images(params, 3)
    together = _features(params, weights, x)
    assert torch.equal(_features(params, weights, x.flip(0)).flip(0), together)
    for i in range(3):
        assert torch.equal(_features(params, weights, x[i : i + 1])[0], together[i])


def test_images_may_lie_anyhow_and_have_any_extents():
    weights = backbone_weights(TINY)
    prepared = BACKENDS["triton"].prepare(TINY, weights)
    for rows, cols in ((1, 1), (10, 7)):
        x = _images(replace(TINY, height=rows, width=cols)).contiguous()
        expected = BACKENDS["reference"].prepare(TINY, weights).features(x)
        with kernels_on_cpu():
            found = prepared.features(x)
        assert (found - expected).abs().max() <= TINY.tolerance() * expected.abs().max()


def test_what_is_prepared_keeps_its_weights():
    weights, x = backbone_weights(TINY), _images(TINY, 1)
    prepared = BACKENDS["triton"].prepare(TINY, weights)
    with kernels_on_cpu():
        before = prepared.features(x)
        for tensor in (*weights.stem, *weights.blocks[1].project, *weights.head):
            tensor.zero_()
        assert torch.equal(prepared.features(x), before)
        assert prepared.features(x[:0]).shape == (0, TINY.features)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dtype": torch.float64}, "take uint8 or float32, not float64"),
        ({"precision": "tf32"}, "block 0: the Triton kernel multiplies in ieee or bf16, not in tf32"),
        ({"height": 2**15, "width": 2**15}, "count an image's values and all images' pixels below 2**31"),
    ],
)
def test_what_it_cannot_run_is_refused_by_name(change, words):
    assert words in BACKENDS["triton"].can_run(replace(TINY, **change), CUDA)
    assert BACKENDS["triton"].can_run(TINY, CUDA) is None
    assert "on cuda, not on cpu" in BACKENDS["triton"].can_run(TINY, torch.device("cpu"))
