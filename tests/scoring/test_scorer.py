"""Scorer: the meaning of a score, that it never changes, and that only the picture decides it."""

from __future__ import annotations

import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from dcnn_fast import ReadError, Scorer, engine, save_model
from dcnn_fast.data import read
from dcnn_fast.nets import Model, build
from dcnn_fast.networks import Block, Column, Network
from dcnn_fast.ops import views
from dcnn_fast.scoring.prepare import prepare
from tests import small, warm
from tests.cli.command import FIELDS

SIZES = [(40, 50), (33, 90), (32, 32), (20, 64), (70, 45), (128, 96), (64, 64)]


def photo(index):
    height, width = SIZES[index % len(SIZES)]
    return np.random.default_rng(index).integers(0, 256, (height, width, 3)).astype(np.uint8)


PHOTOS = [photo(i) for i in range(9)]


@pytest.fixture
def scorer():
    return Scorer(small.model(), samples=7)


def numbers(score):
    return score.probs, score.mean, score.std, score.label, score.samples_count, score.seed


def backends():
    """Both ways to compute on this machine."""
    return ["cpu", "reference"] if engine.isas() else ["reference"]


@pytest.mark.parametrize("reduce", ["flatten", "mean"])
@pytest.mark.parametrize("backend", backends())
def test_a_score_is_the_mean_over_paired_windows_of_the_network(backend, reduce, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", backend)
    model = small.model(reduce=reduce)
    score = Scorer(model, samples=7, seed=5).score(PHOTOS[0])
    digest = read(PHOTOS[0]).digest
    windows = []
    for column, key in zip(model.spec.columns, model.spec.column_keys(), strict=True):
        plane = views.plane(PHOTOS[0], column.view, 32).pixels
        offsets = views.draw_windows(digest, 5, key, 7, view=column.view, plane_shape=plane.shape[:2], plane=32, window=24)
        windows.append(torch.from_numpy(views.cut(plane, offsets, 24)).permute(0, 3, 1, 2))
    with torch.no_grad():
        monkeypatch.setenv("DCNN_FAST_BACKEND", "reference")
        high = model.net(*windows).double().softmax(dim=1)[:, 1].numpy()
    assert score.mean == pytest.approx(high.mean(), abs=1e-5)
    assert score.std == pytest.approx(high.std(), abs=1e-5)
    assert score.probs == {"low": pytest.approx(1 - score.mean), "high": score.mean}
    assert score.label == ("high" if score.mean > 0.5 else "low")
    assert (score.samples_count, score.seed, score.plan, score.path, score.error) == (7, 5, "brute-force", None, None)


@pytest.mark.parametrize("reduce", ["flatten", "mean"])
@pytest.mark.parametrize("backend", backends())
def test_bit_for_bit_the_same_in_any_batch_order_and_number_of_threads(backend, reduce, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", backend)
    scorer = Scorer(small.model(reduce=reduce), samples=5)
    torch.set_num_threads(1)
    expected = [numbers(scorer.score(photo)) for photo in PHOTOS]
    order = np.random.default_rng(0).permutation(len(PHOTOS))
    for batch, workers, threads in ((1, 1, 1), (2, 3, 2), (4, 2, 5), (3, 4, 1), (50, 8, 3), (3, None, 4)):
        torch.set_num_threads(threads)
        shuffled = scorer.score_many((PHOTOS[i] for i in order), batch=batch, workers=workers)
        for i, score in zip(order, shuffled, strict=True):
            assert numbers(score) == expected[i], (batch, workers, threads)


@pytest.mark.parametrize("backend", backends())
def test_bfloat16_changes_a_score_a_little_and_always_the_same(backend, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", backend)
    model = small.model()
    exact, rounded = Scorer(model, samples=5), Scorer(model, samples=5, dtype="bfloat16")
    torch.set_num_threads(1)
    expected = [numbers(rounded.score(photo)) for photo in PHOTOS]
    torch.set_num_threads(3)
    assert [numbers(score) for score in rounded.score_many(PHOTOS, batch=4)] == expected
    for photo, (_, mean, *_) in zip(PHOTOS, expected, strict=True):
        assert 0 < abs(exact.score(photo).mean - mean) < 0.02
    assert model.net.columns[0].fc[0].weight.dtype == torch.float32


def test_another_process_says_the_same(tmp_path):
    save_model(small.model(), tmp_path / "m.safetensors")
    path = tmp_path / "p.png"
    Image.fromarray(PHOTOS[1]).save(path)
    program = (
        "import sys, json; from dcnn_fast import Scorer; s = Scorer(sys.argv[1], samples=7).score(sys.argv[2]);"
        "print(json.dumps([s.mean.hex(), s.std.hex()]))"
    )
    here = Scorer(tmp_path / "m.safetensors", samples=7).score(path)
    result = warm.run(program, [tmp_path / "m.safetensors", path])
    assert json.loads(result.stdout) == [here.mean.hex(), here.std.hex()]


def test_path_bytes_image_array_and_tensor_of_one_picture_agree(scorer, tmp_path):
    path = tmp_path / "p.png"
    Image.fromarray(PHOTOS[2]).save(path)
    buffer = io.BytesIO()
    Image.fromarray(PHOTOS[2]).save(buffer, "TIFF")
    sources = [str(path), path, path.read_bytes(), buffer.getvalue(), Image.open(path), PHOTOS[2]]
    sources.append(torch.from_numpy(PHOTOS[2]).permute(2, 0, 1))
    scores = list(scorer.score_many(sources))
    assert len({str(numbers(score)) for score in scores}) == 1
    assert [score.path for score in scores] == [str(path)] * 2 + [None] * 5


def test_seed_picture_and_grid_decide_and_more_views_differ():
    model = small.model()
    base = Scorer(model, samples=7).score(PHOTOS[0])
    for other in (Scorer(model, samples=7, seed=1), Scorer(model, samples=8), Scorer(model, samples=7, grid=4)):
        assert other.score(PHOTOS[0]).mean != base.mean
    assert Scorer(model, samples=7).score(PHOTOS[1]).mean != base.mean


def test_one_view_has_no_spread_and_other_label_sets_no_mean():
    assert Scorer(small.model(), samples=1).score(PHOTOS[0]).std == 0
    styles = small.model(views=("center", "pad", "pad"), labels=("a", "b", "c"))
    score = Scorer(styles, samples=3).score(PHOTOS[0])
    assert list(score.probs) == ["a", "b", "c"]
    assert sum(score.probs.values()) == pytest.approx(1)
    assert (score.mean, score.std) == (None, None)
    assert score.label in score.probs


def test_small_images_are_enlarged_and_the_result_says_so(scorer):
    assert scorer.score(PHOTOS[3]).notes == ("local views: enlarged from 64 x 20 to 102 x 32 pixels",)
    assert scorer.score(np.zeros((1, 1, 3), np.uint8)).error is None


def test_what_cannot_be_read_is_reported_and_the_others_go_on(scorer, tmp_path):
    (tmp_path / "bad.jpg").write_text("no")
    items = [PHOTOS[0], tmp_path / "bad.jpg", tmp_path / "missing.jpg", PHOTOS[1], np.zeros((1, 9000, 3), np.uint8)[:, :, :2]]
    scores = list(scorer.score_many(items, batch=2))
    assert [score.error is None for score in scores] == [True, False, False, True, False]
    assert scores[1].path == str(tmp_path / "bad.jpg")
    assert scores[2].error == "no such file"
    assert (scores[1].mean, scores[1].label, scores[1].probs) == (None, None, {})
    assert numbers(scores[3]) == numbers(scorer.score(PHOTOS[1]))
    with pytest.raises(ReadError, match="no such file"):
        scorer.score(tmp_path / "missing.jpg")
    (sliver,) = scorer.score_many([np.zeros((1, 400_000, 3), np.uint8)])
    assert "so narrow" in sliver.error


def test_a_wrong_type_is_the_callers_mistake(scorer):
    with pytest.raises(TypeError, match="source must be a path"):
        list(scorer.score_many([PHOTOS[0], 7]))


def test_streaming_reads_only_a_little_ahead_and_closing_stops_it(scorer):
    taken = []

    def endless():
        while True:
            taken.append(len(taken))
            yield PHOTOS[len(taken) % 9]

    stream = scorer.score_many(endless(), batch=2, workers=2)
    for _ in range(6):
        next(stream)
    assert len(taken) <= 6 + 2 * (2 + 2)
    stream.close()
    count = len(taken)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("dcnn-fast")]
    assert len(taken) == count


def test_one_image_where_many_are_wanted_is_named(scorer, tmp_path):
    for one in (str(tmp_path / "a.jpg"), tmp_path / "a.jpg", b"bytes"):
        with pytest.raises(TypeError, match="images must be an iterable of images, got one"):
            scorer.score_many(one)


def test_a_module_is_no_model():
    with pytest.raises(TypeError, match="model must be the path of a model file, a Model or None, got MultiColumn"):
        Scorer(small.model().net)


def test_a_model_of_other_channels_cannot_score_photographs():
    column = replace(small.column("warp"), channels=1, mean=(0.0,))
    model = Model(build(Network("grey", (column,))).eval(), {})
    with pytest.raises(ValueError, match="model must have columns of 3 channels"):
        Scorer(model)


def test_numbers_that_are_not_finite_are_an_error_of_the_image():
    model = small.model()
    with torch.no_grad():
        model.net.label.weight.fill_(3e38)
        model.net.columns[0].fc[-1].bias.fill_(3e38)
    score = Scorer(model, samples=3).score(PHOTOS[0])
    assert "not finite" in score.error
    assert (score.mean, score.label, score.probs) == (None, None, {})


def test_high_is_found_by_its_name():
    model = small.model(labels=("high", "low"))
    score = Scorer(model, samples=3).score(PHOTOS[0])
    assert score.mean == score.probs["high"]


def test_whole_numbers_as_a_mean_are_numbers():
    whole = replace(small.column("warp"), mean=(120, 110, 100))
    exact = replace(small.column("warp"), mean=(120.0, 110.0, 100.0))
    scores = [Scorer(Model(build(Network("n", (c,)), seed=0).eval(), {}), samples=3).score(PHOTOS[0]) for c in (whole, exact)]
    assert scores[0].mean == scores[1].mean
    windows = torch.rand(1, 3, 24, 24) * 255
    assert torch.equal(*(build(Network("n", (c,))).eval()(windows) for c in (whole, exact)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_torchs_default_dtype_changes_nothing(scorer, dtype):
    expected = numbers(scorer.score(PHOTOS[0]))
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        assert numbers(scorer.score(PHOTOS[0])) == expected
    finally:
        torch.set_default_dtype(before)


def test_a_last_block_of_one_result_is_not_overwritten_by_the_next_image():
    block = Block(40, 24)
    column = Column("warp", (block,), (30,), plane=24, window=24, scale=1 / 64, mean=(127.5,) * 3)
    scorer = Scorer(Model(build(Network("one", (column,)), seed=0).eval(), {}), samples=1)
    alone = [scorer.score(photo).mean for photo in PHOTOS[:4]]
    assert len(set(alone)) == 4
    assert [score.mean for score in scorer.score_many(PHOTOS[:4], batch=4)] == alone


def test_threads_that_share_a_scorer_do_not_share_its_memory(scorer):
    expected = [numbers(scorer.score(photo)) for photo in PHOTOS]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            assert [numbers(score) for score in pool.map(scorer.score, PHOTOS)] == expected


def test_a_column_whose_window_is_its_plane_is_computed_once(scorer):
    """All its windows are equal, so a column that sees the whole photograph costs one window."""
    whole = replace(small.column("warp"), plane=24)
    model = Model(build(Network("n", (small.column("local"), whole)), seed=1).eval(), {})
    prepared = prepare(PHOTOS[0], model.spec, samples=7, grid=1, seed=0)
    assert [len(np.unique(job.plan.window_of)) for job in prepared.jobs] == [7, 1]
    assert Scorer(model, samples=7).score(PHOTOS[0]).std > 0


def test_nothing_in_gives_nothing_out(scorer):
    assert list(scorer.score_many([])) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples": 0}, "samples must be an integer from 1"),
        ({"samples": 2.5}, "samples must be an integer"),
        ({"grid": 3}, "grid must be one of 1, 2, 4, 8; got 3"),
        ({"seed": -1}, "seed must be an integer from 0"),
        ({"device": "tpu"}, "device must be one of auto, cpu, cuda, cuda:N; got 'tpu'"),
        ({"dtype": "float8"}, "dtype must be one of float32, bfloat16; got 'float8'"),
    ],
)
def test_bad_options_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Scorer(small.model(), **arguments)
    with pytest.raises(ValueError, match="batch must be an integer from 1"):
        Scorer(small.model()).score_many([], batch=0)


def test_csv_rows_and_json(scorer):
    score = scorer.score(PHOTOS[0])
    row = score.csv_row()
    assert list(row) == FIELDS
    assert row["mean"] == f"{score.mean:.6f}"
    assert (row["path"], row["error"], row["views"]) == ("", "", "7")
    assert json.loads(json.dumps(score.as_dict()))["mean"] == score.mean


def test_the_shipped_model_scores_real_photographs_the_same_shuffled(data_dir):
    paths = sorted((data_dir / "photos").glob("*.jpg"))[:12]
    scorer = Scorer()
    first = {score.path: numbers(score) for score in scorer.score_many(paths)}
    shuffled = [paths[i] for i in np.random.default_rng(1).permutation(len(paths))]
    torch.set_num_threads(1)
    assert {score.path: numbers(score) for score in scorer.score_many(shuffled, batch=5, workers=3)} == first
    assert len({score[1] for score in first.values()}) == len(paths)


def test_scores_are_the_same_in_inference_mode(scorer):
    expected = numbers(scorer.score(PHOTOS[0]))
    with torch.inference_mode():
        inside = Scorer(small.model(), samples=7)
        assert [numbers(inside.score(PHOTOS[0])) for _ in range(2)] == [expected] * 2
