"""Photographs reduced to the size that a model states: the same pixels from every source and in every use."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from dcnn_fast import nets, networks
from dcnn_fast.data import Example, read
from dcnn_fast.data.reduction import reduced, reduced_size
from dcnn_fast.evaluation import predict
from dcnn_fast.scoring import Scorer
from dcnn_fast.scoring.prepare import prepare
from dcnn_fast.training.photographs import Pictures
from tests import small

LARGE = np.random.default_rng(2).integers(0, 256, (90, 160, 3)).astype(np.uint8)


def _model(long_side):
    network = replace(small.network(), long_side=long_side)
    return nets.Model(nets.build(network, seed=3).eval())


@pytest.mark.parametrize(
    ("height", "width", "long_side", "expected"),
    [
        (90, 160, None, (90, 160)), (90, 160, 160, (90, 160)), (90, 160, 200, (90, 160)), (90, 160, 80, (45, 80)),
        (160, 90, 80, (80, 45)), (100, 100, 33, (33, 33)), (1, 9000, 100, (1, 100)), (9000, 1, 100, (100, 1)),
        (30, 40, 10, (8, 10)), (4000, 6000, 500, (333, 500)), (2**31, 2**30, 500, (500, 250)),
    ],
)  # fmt: skip
def test_the_long_side_is_met_and_the_other_rounds_to_the_nearest(height, width, long_side, expected):
    assert reduced_size(height, width, long_side) == expected


def test_a_smaller_photograph_is_itself():
    assert reduced(LARGE, None) is LARGE and reduced(LARGE, 160) is LARGE


def test_the_average_of_what_is_left_out_is_kept():
    """Antialiased: a fine chequerboard becomes its mean and not one of its colours."""
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    found = reduced(np.repeat(board[..., None], 3, axis=2), 16)
    assert found.shape == (16, 16, 3) and found.flags.c_contiguous and (np.abs(found.astype(int) - 128) <= 1).all()


def test_a_path_its_bytes_a_pil_image_and_an_array_get_one_score(tmp_path):
    path = tmp_path / "p.png"
    Image.fromarray(LARGE).save(path)
    scorer = Scorer(_model(64), samples=5)
    content, tensor = path.read_bytes(), torch.from_numpy(LARGE).permute(2, 0, 1)
    sources = (path, content, Image.open(io.BytesIO(content)), LARGE, tensor)
    scores = [replace(scorer.score(source), path=None) for source in sources]
    assert scores.count(scores[0]) == 5
    (local, warp) = prepare(LARGE, _model(64).spec, samples=5, grid=1, seed=0).jobs
    assert (
        local.plane.shape == (36, 64, 3) and np.array_equal(local.plane, reduced(LARGE, 64)) and warp.plane.shape == (32, 32, 3)
    )
    assert scores[0].mean != Scorer(_model(None), samples=5).score(LARGE).mean
    assert scores[0].mean != Scorer(_model(64), samples=5).score(reduced(LARGE, 64)).mean  # another picture has other windows


def test_training_and_evaluation_see_the_same_reduced_photographs(tmp_path):
    path = tmp_path / "p.png"
    Image.fromarray(LARGE).save(path)
    model, example = _model(64), Example(str(path), path, 0)
    picture = Pictures([example], model.net.inputs).picture(0)
    assert np.array_equal(picture.plane("local", 32), reduced(LARGE, 64))
    assert Pictures([example], model.net.inputs, decoded=True).picture(0).photo.shape == (36, 64, 3)

    class Wrapped(torch.nn.Module):
        """Another program's module, computed window by window."""

        def __init__(self):
            super().__init__()
            self.inner, self.inputs = model.net, model.net.inputs

        def forward(self, *windows):
            return self.inner(*windows)

    ours, theirs = predict(model, [example], samples=5), predict(Wrapped(), [example], samples=5, labels=("low", "high"))
    assert ours.probs == pytest.approx(theirs.probs, abs=1e-6)
    with pytest.raises(ValueError, match="inputs must have one long_side"):
        Pictures([example], [*model.net.inputs, *_model(32).net.inputs])


def test_a_model_file_states_it_and_older_ones_do_not(tmp_path):
    nets.save_model(_model(64), tmp_path / "m.safetensors")
    found = nets.load_model(tmp_path / "m.safetensors")
    assert found.spec.long_side == 64 and found.digest != _model(None).digest
    assert "long_side" not in networks.network_to_dict(_model(None).spec)
    for wrong in (0, -1, 2.0, True, "500"):
        with pytest.raises(ValueError, match="long_side must be an integer"):
            replace(small.network(), long_side=wrong)


def test_read_gives_all_pixels():
    assert read(LARGE).pixels.shape == LARGE.shape
