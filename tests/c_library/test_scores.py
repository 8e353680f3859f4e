"""The C library's scores are those of Python's Scorer, to the last bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench import c_binding as binding
from dcnn_fast import engine, networks
from dcnn_fast.nets import BackboneColumn, Model, build, save_model
from dcnn_fast.nets.percentiles import Percentiles
from dcnn_fast.ops.head.softmax import by_numpy
from dcnn_fast.scoring import Scorer, shipped_model
from tests import small, small_lite

pytestmark = pytest.mark.needs_engine

SHAPES = ((61, 47), (30, 90), (32, 32), (25, 20), (7, 5))


def picture(height, width, seed=0):
    """Noise on a slope, so that views differ."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(0, 180, height * width * 3).reshape(height, width, 3)
    return (slope + rng.integers(0, 75, slope.shape)).astype(np.uint8)


def saved(model, path, **storage):
    """The model's file."""
    save_model(model, path, **storage)
    return path


def require_same(found, expected):
    """The same numbers, not one bit apart."""
    samples = np.array(expected.samples.probs)
    assert found.samples.shape == samples.shape
    assert found.samples.tobytes() == samples.tobytes()
    assert (found.mean, found.std, found.percentile) == (expected.mean, expected.std, expected.percentile)
    assert (found.probs, found.label, found.views) == (expected.probs, expected.label, expected.samples_count)
    assert found.enlarged == any("enlarged" in note for note in expected.notes)


def require_same_scores(path, pictures, *, views=50, **options):
    """Both sides' scores of the pictures. views: as the C library calls the samples."""
    scorer = Scorer(str(path), samples=views, per_sample=True, **options)
    with binding.Model(path) as theirs:
        assert theirs.isa == engine.isa()
        for pixels in pictures:
            require_same(theirs.score(pixels, views=views, **options), scorer.score(pixels))


def tables(seed=3, **changes):
    """Table I's first column, the paper's, shrunk; every preset is one of those below, or is too large for a test as it is."""
    network = networks.compact(networks.preset("rdcnn-style"), plane=64, window=56, filters=0.15, fc=(24, 12))
    network = replace(network, **changes)
    style = replace(network.columns[2], plane=64, window=56, fc=(20, 8))
    network = replace(network, columns=(*network.columns[:2], style))
    return Model(build(network, seed=seed).eval(), {})


def block_kinds():
    """A network of columns with everything that a block can have."""
    same, cross = networks.SameMapNorm(), networks.CrossMapNorm(size=4, scale=0.01, k=2.0)
    average = networks.Pool(3, 2, "avg")
    columns = (
        small.column("center", rounding="down"),
        small.column("pad", reduce="mean"),
        replace(small.column("local"), blocks=(
            networks.Block(8, 5, stride=2, pool=networks.Pool(), norm=same, order="conv-norm-pool"),
            networks.Block(8, 3, padding=1, groups=2, pool=average, norm=cross, order="conv-pool-norm-relu"),
        )),
        replace(small.column("local"), blocks=(
            networks.Block(8, 4, stride=2, padding=2, pool=average, norm=cross, order="conv-norm-pool-relu"),
            networks.Block(6, 3, padding=1, groups=2),
        )),
    )  # fmt: skip
    return Model(build(networks.Network("kinds", columns, labels=tuple("abcdefghijk")), seed=5).eval())


MODELS = {
    "two views": small.model,
    "one label's probability of three": lambda: small.model(labels=("a", "b", "c")),
    "high comes first": lambda: small.model(labels=("high", "low")),
    "no name is high": lambda: small.model(labels=("dull", "fine")),
    "with attributes": lambda: small.model(attributes=("x", "y")),
    "all views, all blocks": block_kinds,
    "the paper's": tables,
    "a backbone, and blocks": small_lite.model,
    "a backbone of one window": lambda: small_lite.model(small_lite.LOCAL),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_same_bits_as_python(name, tmp_path):
    model = MODELS[name]()
    path = saved(model, tmp_path / "model.safetensors")
    require_same_scores(path, [picture(*shape) for shape in SHAPES], views=9, seed=4)


# The others differ from these in numbers alone.
PRESETS = (("scnn-arch4", "valid"), ("dcnn", "convnet"), ("rdcnn-lite0", "convnet"), ("alexnet-dcnn", "convnet"))


@pytest.mark.parametrize(("name", "geometry"), PRESETS)
def test_presets_have_the_same_bits(name, geometry, tmp_path):
    """Their blocks and windows as they are, with fewer filters."""
    net = build(networks.compact(networks.preset(name, geometry), filters=0.25, fc=(16, 8)), seed=2).eval()
    for column in net.columns:
        if isinstance(column, BackboneColumn):
            column.backbone.copy_(small_lite.model().net.columns[0].backbone)
    path = saved(Model(net), tmp_path / "model.safetensors")
    require_same_scores(path, [picture(300, 260)], views=2)


def test_every_way_to_store_weights(tmp_path):
    for number, storage in enumerate(({"fc_storage": "float16", "block_storage": "float16"}, {"fc_storage": "int8"})):
        path = saved(small_lite.model(), tmp_path / f"{number}.safetensors", **storage)
        require_same_scores(path, [picture(50, 41)], views=3)


@pytest.mark.parametrize("options", [
    {"views": 1}, {"views": 7}, {"views": 8}, {"views": 129}, {"views": 300, "seed": 2**63 - 1}, {"views": 5, "grid": 8},
    {"views": 5, "long_side": 40},
], ids=str)  # fmt: skip
def test_options(options, tmp_path):
    path = saved(small.model(), tmp_path / "model.safetensors")
    require_same_scores(path, [picture(61, 47)], **options)


def test_a_model_that_learnt_from_a_size_with_a_reference(tmp_path):
    model = Model(build(replace(small.network(), long_side=44), seed=3).eval())
    scores = [Scorer(model, samples=5, seed=seed).score(picture(90, 61)).mean for seed in range(4)]
    path = saved(Model(model.net, {"caution": "never tried"}, Percentiles.of("four", scores)), tmp_path / "model.safetensors")
    require_same_scores(path, [picture(90, 61)], views=5, seed=2)
    require_same_scores(path, [picture(90, 61)], views=5, long_side=60)
    with binding.Model(path) as theirs:
        assert (theirs.caution, theirs.labels) == ("never tried", ["low", "high"])
        assert theirs.score(picture(90, 61), views=5, seed=2).percentile in (12.5, 37.5, 62.5, 87.5)


@pytest.mark.parametrize("isa", engine.isas())
def test_every_instruction_set(isa, tmp_path, monkeypatch):
    monkeypatch.setenv(engine.ISA_VARIABLE, isa)
    path = saved(small_lite.model(), tmp_path / "model.safetensors")
    require_same_scores(path, [picture(61, 47)], views=4)


def test_the_shipped_model():
    require_same_scores(shipped_model(), [picture(300, 200), picture(700, 520)])


def test_a_picture_within_a_larger_one_and_any_number_of_threads(tmp_path):
    path = saved(small_lite.model(), tmp_path / "model.safetensors")
    large = picture(80, 90)
    part = large[10:71, 20:67]
    expected = Scorer(str(path), samples=6, per_sample=True).score(part)
    with binding.Model(path.read_bytes()) as model:
        path.unlink()
        for threads in (1, 2, 5):
            require_same(model.score(part, views=6, threads=threads), expected)


def test_softmax_is_numpys_within_a_unit_of_the_last_place():
    """Also at the ends of the range, where nothing may be lost."""
    rng = np.random.default_rng(0)
    for labels in (2, 7, 14, 300):
        logits = np.concatenate([rng.normal(0, scale, (50, labels)) for scale in (1, 30, 400)]).astype(np.float32)
        found, expected = engine.native.softmax(logits), by_numpy(logits)
        np.testing.assert_allclose(found, expected, rtol=2e-15, atol=0)
    bad = np.array([[np.nan, 1], [np.inf, 1], [-np.inf, -np.inf]], np.float32)
    assert np.isnan(engine.native.softmax(bad)).all()
    assert engine.native.softmax(np.array([[-np.inf, 0]], np.float32)).tolist() == [[0, 1]]
