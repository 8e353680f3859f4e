"""Each suite's rows: what they are called, what their figures are of, and that they are labelled for what they are."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from bench import cases, peers, training_step
from bench.features import sharing
from bench.peers import torch_peer
from bench.peers.settings import known
from bench.row import OURS, OURS_BF16, Refused
from bench.suites import gpu, jpeg, paper, predicted, roofline, scaling, score, training
from bench.work import IN_TILES, work_of
from dcnn_fast import engine, nets, spec
from dcnn_fast.spec import Block, Column, CrossMapNorm, Network, Pool
from tests import small

LIMITS = {"multiply-adds avx2": 100.0, "torch GEMM 2048 bfloat16": 200.0, "reading memory GB/s": 10.0}


@pytest.fixture
def photographs(tmp_path):
    paths = [tmp_path / f"{number}.jpg" for number in range(3)]
    for number, path in enumerate(paths):
        Image.fromarray(cases.photograph(60, 80, seed=number)).save(path)
    return paths


@pytest.fixture
def small_columns(monkeypatch):
    """The benchmark's columns, on windows of 224 pixels, with few filters and weights."""
    blocks = (Block(12, 7, stride=4, pool=Pool(), norm=CrossMapNorm()), Block(16, 5, padding=2, pool=Pool()))
    columns = {view: Column(view, blocks, (20, 16), mean=cases.MEAN) for view in ("warp", "local")}

    def network(views=("warp",)):
        return nets.build(Network("n", tuple(columns[view] for view in views)), seed=0).eval()

    monkeypatch.setattr(cases, "network", network)
    return columns["warp"]


@pytest.fixture
def small_networks(monkeypatch):
    """Presets that score in milliseconds."""
    monkeypatch.setattr(nets, "build", lambda name, seed: small.model().net)


def test_scores_at_grid_8_have_both_ratios_and_settings_are_searched_for_once_a_number_of_windows(small_columns, monkeypatch):
    searched = []

    def torch_alone(net, shape, threads, *, compiled, bf16):
        return {"torch eager": torch_peer.eager(net), "torch eager bf16": torch_peer.eager(net, bf16=True)}

    def fastest(settings, x):
        searched.append(len(x))
        return known(settings, "NCHW, all at once")

    monkeypatch.setattr(cases, "windows", partial(cases.windows, count=12))
    monkeypatch.setattr(peers, "settings_of", torch_alone)
    monkeypatch.setattr(peers, "fastest", fastest)
    found = list(score.rows(1, 1, quick=False))
    assert not [one for one in found if isinstance(one, Refused)]
    given = {row.case: row.note.removeprefix("windows that the peers are given: ") for row in found}
    assert given == {"SCNN, grid 1": "12", score.GRID_8: "11", score.GRID_8_EVERY: "12", score.DCNN: "12 + 12"}
    assert searched == [12] * 2 + [11] * 2
    ours = [row for row in found if row.name in (OURS, OURS_BF16)]
    assert len(ours) == 8 and all(row.ratio is not None and row.threads == 1 for row in ours)
    assert {row.setting for row in found if row.name.startswith("torch")} == {"NCHW, all at once"}


def test_the_paper_table_has_both_precisions_from_files_and_network_only(photographs, small_networks):
    rows = list(paper.rows(photographs, 2, ["dcnn", "alexnet"]))
    assert [(row.case, row.name, row.precision) for row in rows] == [
        (f"{name}, {part}", by, precision)
        for name in ("dcnn", "alexnet")
        for by, precision in ((OURS, "fp32"), (OURS_BF16, "bf16"))
        for part in ("from files", "network")
    ]
    for row in rows:
        assert row.note.startswith("3 photographs scaled to 2048; the paper: ")
        assert row.ratio == pytest.approx(paper.PAPER[row.case.split(", ")[0]][0] * 60 / row.seconds)


def test_a_photograph_that_cannot_be_read_is_named(photographs, small_networks):
    photographs[1].write_bytes(b"not a photograph")
    with pytest.raises(RuntimeError, match=r"1\.jpg: not an image"):
        list(paper.rows(photographs, 1, ["dcnn"]))


def test_large_files_give_decoding_and_network_and_their_ratio(photographs, small_networks):
    rows = list(jpeg.rows(photographs, "3 originals", 2, 3))
    assert [(row.case, row.precision) for row in rows] == [
        (case, precision) for precision in ("fp32", "bf16") for case in (jpeg.DECODING, jpeg.NETWORK, jpeg.WHOLE)
    ]
    assert all(row.note.startswith("3 originals") for row in rows)
    decoding, network, whole = rows[3:]
    assert network.ratio == decoding.seconds / network.seconds
    assert decoding.ratio is None and whole.ratio is None


@pytest.mark.needs_engine
def test_the_roofline_names_each_layer_with_its_share_of_the_peak(small_columns):
    rows = list(roofline.rows(LIMITS, 1, 1))
    layers = ("block 1", "block 2", "fc20", "fc16")
    assert [row.case for row in rows] == [f"SCNN, grid 1: {layer}" for layer in layers] * 2
    for row in rows:
        assert row.share == row.gflops / (100.0 if row.name == OURS else 200.0)
        assert "GFLOP" in row.note and "roofline" in row.note
        tiled = "block 2" in row.case and (row.name == OURS or not engine.has_tile_unit())  # in bf16 AMX sums over taps
        assert row.setting == (IN_TILES if tiled else "")
    plan = sharing(small_columns, cases.windows(np.empty((256, 256, 3), np.uint8)), (256, 256), "ieee")
    counted = work_of(small_columns, plan, (256, 256), values=4, weights=4)
    assert [row.gflops * row.seconds for row in rows[:4]] == pytest.approx([work.flops / 1e9 for work in counted])


def test_counts_of_one_window_are_those_of_the_description():
    column = spec.preset("scnn-arch1").columns[0]
    plan = sharing(column, np.zeros((1, 2), np.int64), (224, 224), "ieee")
    described = [layer.macs for layer in spec.column_costs(column) if layer.macs]
    found = work_of(column, plan, (224, 224), values=4, weights=4)
    assert [work.flops for work in found] == [2 * macs for macs in described]
    assert found[0].bytes == 224 * 224 * 3 + 4 * (64 * 363 + 64 * 54 * 54)


def test_scaling_covers_views_sizes_threads_and_images(small_columns, monkeypatch):
    monkeypatch.setattr(scaling.os, "cpu_count", lambda: 2)
    rows = [
        *scaling.views(1, [1, 3]), *scaling.sizes(1, [(300, 400)]), *scaling.threads(1), *scaling.images(1, [1, 2]),
    ]  # fmt: skip
    assert [(row.case, row.threads) for row in rows if row.name in (OURS, f"{OURS}, sharing")] == [
        ("1 view of 256x256", 1), ("3 views of 256x256", 1), ("50 views of 400x300", 1),
        ("one image, 50 views", 1), ("one image, 50 views", 2),
        ("1 image at once, DCNN, 50 views", 2), ("2 images at once, DCNN, 50 views", 2),
    ]  # fmt: skip
    assert {row.name for row in rows} == {OURS, OURS_BF16, f"{OURS}, sharing", f"{OURS}, brute force"}


def test_thread_counts_double_up_to_all_cores():
    assert [scaling.thread_counts(cores) for cores in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]


def test_a_plan_with_other_bits_gives_no_time(small_columns, monkeypatch):
    monkeypatch.setattr(scaling, "features", lambda net, cuts, planner: np.zeros(1) + (planner is scaling.alone))
    (found,) = scaling.views(1, [2])
    assert isinstance(found, Refused) and "other bits" in str(found)


def test_figures_of_gpus_are_labelled_predicted_and_follow_the_model():
    rows = list(predicted.rows())
    assert len(rows) == 2 * 2 * len(predicted.GPUS)
    assert all(row.suite == "predicted" and row.name.endswith("(predicted)") and "data sheet" in row.note for row in rows)
    half = predicted.Gpu("half", 2.0, 4.0, 1000.0)
    compute, memory = predicted.Work("a", 6e11, 1.0), predicted.Work("b", 1.0, 4e9)
    assert predicted.predicted(half, "fp32", [compute, memory]) == pytest.approx(0.5 + 0.005)
    assert predicted.predicted(half, "bf16", [compute]) == pytest.approx(0.25)
    assert [line.count("fc1000") for line in predicted.counts()] == [1, 2]  # a column, and two


def test_torch_on_a_device_agrees_before_it_is_timed(small_columns):
    torch.set_num_threads(2)
    rows = list(gpu.rows(1, "cpu", views=2))  # what runs on a GPU, here without one
    assert [row.name for row in rows if row.name != "torch eager"] == ["torch eager cpu", "torch eager cpu bf16"]
    assert 0 < rows[1].error < 3e-2


def test_training_steps_agree_before_they_are_timed_and_memory_is_a_process_own(small_columns):
    ours, eager = training.rows(2, 1, batch=2, quick=True)
    assert (ours.name, eager.name, ours.threads) == (OURS, training_step.EAGER, 2)
    assert eager.setting in training_step.SETTINGS and eager.error == 0
    assert 0 < ours.error < 1e-4  # nothing is near a tie here
    assert ours.ratio == pytest.approx(eager.seconds / ours.seconds)
    weights = 4 * 46656 * 1000  # parameter, gradient and increment of the network itself, which the process trains
    assert all(3 * weights < row.peak_bytes < 3 * weights + 2**30 for row in (ours, eager))


def test_steps_that_move_the_parameters_elsewhere_give_no_time(small_columns, monkeypatch):
    monkeypatch.setattr(training_step.ConvNetUpdate, "step", lambda self: None)
    found = list(training.rows(2, 1, batch=2, quick=True))
    (refused,) = (one for one in found if isinstance(one, Refused))
    assert refused.name == OURS and "output differs by 1.0e+00 of the largest value" in refused.why


def test_a_process_that_cannot_train_is_an_error():
    with pytest.raises(RuntimeError, match=r"failed: (.|\n)*KeyError: 'CHWN'"):
        training_step.peak_bytes(training_step.Job(("warp",), 1, 1, training_step.EAGER, "CHWN, its norm"))
