"""Scorers that reduce photographs to a size of their own, and those that decode a JPEG file only as far as that needs."""

from __future__ import annotations

import copy
import io
import pickle
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dcnn_fast import nets
from dcnn_fast.data import read
from dcnn_fast.scoring import Scorer
from tests import small

LARGE = np.asarray(Image.fromarray(np.random.default_rng(7).integers(0, 256, (21, 32, 3)).astype(np.uint8)).resize((1024, 640)))


def model(long_side=None):
    return nets.Model(nets.build(replace(small.network(), long_side=long_side), seed=3).eval())


def jpeg(tmp_path):
    path = tmp_path / "p.jpg"
    Image.fromarray(LARGE).save(path, quality=90)
    return path


def numbers(score):
    return score.probs, score.mean, score.std, score.plan


def test_a_long_side_stands_in_for_the_models_own():
    scorer = Scorer(model(64), samples=4, long_side=200)
    assert scorer.long_side == 200 and scorer.decode == "exact"
    assert numbers(scorer.score(LARGE)) == numbers(Scorer(model(200), samples=4).score(LARGE))
    assert numbers(scorer.score(LARGE)) != numbers(Scorer(model(64), samples=4).score(LARGE))


@pytest.mark.parametrize("kind", ["file", "bytes"])
def test_a_scaled_file_is_scored_as_the_pixels_that_are_decoded(tmp_path, kind):
    """At least two pixels for each one of the reduced photograph: a quarter of 1,024 for 100."""
    path = jpeg(tmp_path)
    decoded = read(path, scaled_to=200).pixels
    assert decoded.shape == (160, 256, 3)
    scorer = Scorer(model(100), samples=4, decode="scaled")
    score = scorer.score(path if kind == "file" else path.read_bytes())
    assert numbers(score) == numbers(Scorer(model(100), samples=4).score(decoded))
    assert "decoded at 1/4 of its 1024 x 640 pixels" in score.notes


def test_exact_is_the_default(tmp_path):
    path = jpeg(tmp_path)
    assert numbers(Scorer(model(100), samples=4).score(path)) == numbers(Scorer(model(100), samples=4).score(read(path).pixels))


def test_a_size_decides_what_is_decoded(tmp_path):
    path = jpeg(tmp_path)
    for long_side, said in ((600, ""), (257, ""), (256, "1/2"), (128, "1/4"), (64, "1/8"), (1, "1/8")):
        notes = Scorer(model(), samples=2, long_side=long_side, decode="scaled").score(path).notes
        assert [note for note in notes if "decoded" in note] == (
            [f"decoded at {said} of its 1024 x 640 pixels"] if said else []
        )


def test_other_sources_are_read_as_they_are():
    exact, scaled = Scorer(model(100), samples=4), Scorer(model(100), samples=4, decode="scaled")
    buffer = io.BytesIO()
    Image.fromarray(LARGE).save(buffer, "PNG")
    for source in (LARGE, buffer.getvalue(), Image.fromarray(LARGE)):
        assert scaled.score(source) == exact.score(source)


def test_a_copy_decodes_alike(tmp_path):
    path = jpeg(tmp_path)
    scorer = Scorer(model(), samples=4, decode="scaled", long_side=100)
    for other in (copy.deepcopy(scorer), pickle.loads(pickle.dumps(scorer))):
        assert (other.decode, other.long_side) == ("scaled", 100)
        assert other.score(path) == scorer.score(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decode": "scaled"}, "decode: 'scaled' needs a size .* give long_side"),
        ({"decode": "half"}, "decode must be one of exact, scaled; got 'half'"),
        ({"decode": None}, "decode must be one of"),
        ({"long_side": 0}, "long_side must be an integer from 1 to 65536, got 0"),
        ({"long_side": 2**16 + 1}, "long_side must be an integer from 1"),
        ({"long_side": 1.5}, "long_side must be an integer from 1"),
        ({"long_side": True}, "long_side must be an integer from 1"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        Scorer(model(), **options)
