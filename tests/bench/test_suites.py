"""Each suite's rows: what they are called, what their figures are of, and that they are labelled for what they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from bench import cases
from bench.features import sharing
from bench.row import OURS, OURS_BF16, Refused
from bench.suites import gpu, jpeg, paper, predicted, roofline, scaling
from bench.work import in_tiles, work_of
from dcnn_fast import nets, spec
from tests import small

LIMITS = {"multiply-adds avx2": 100.0, "torch GEMM 2048 bfloat16": 200.0, "reading memory GB/s": 10.0}


@pytest.fixture
def photographs(tmp_path):
    paths = [tmp_path / f"{number}.jpg" for number in range(3)]
    for number, path in enumerate(paths):
        Image.fromarray(cases.photograph(60, 80, seed=number)).save(path)
    return paths


@pytest.fixture
def small_networks(monkeypatch):
    """Presets that score in milliseconds."""
    monkeypatch.setattr(nets, "build", lambda name, seed: small.model().net)


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


def test_the_roofline_names_each_layer_with_its_share_of_the_peak():
    rows = list(roofline.rows(LIMITS, 1, 1))
    layers = ("block 1", "block 2", "block 3", "block 4", "fc1000", "fc256")
    assert [row.case for row in rows] == [f"SCNN, grid 1: {layer}" for layer in layers] * 2
    column, plane = spec.preset("scnn-arch1").columns[0], np.empty((256, 256, 3), np.uint8)
    for row in rows:
        peak = 100.0 if row.name == OURS else 200.0
        assert row.share == row.gflops / peak and "GFLOP" in row.note and "roofline" in row.note
        number = int(row.case[-1]) if "block" in row.case else 0
        if number:
            inputs = [3, 64, 64, 64][number - 1]
            precision = "ieee" if row.name == OURS else "bf16"
            assert ("in tiles, counted as sums over taps" in row.note) == in_tiles(column.blocks[number - 1], inputs, precision)
    counted = work_of(column, sharing(column, cases.windows(plane), (256, 256), "ieee"), (256, 256), values=4, weights=4)
    assert [row.gflops * row.seconds for row in rows[:6]] == pytest.approx([work.flops / 1e9 for work in counted])


def test_counts_of_one_window_are_those_of_the_description():
    column = spec.preset("scnn-arch1").columns[0]
    plan = sharing(column, np.zeros((1, 2), np.int64), (224, 224), "ieee")
    described = [layer.macs for layer in spec.column_costs(column) if layer.macs]
    found = work_of(column, plan, (224, 224), values=4, weights=4)
    assert [work.flops for work in found] == [2 * macs for macs in described]
    assert found[0].bytes == 224 * 224 * 3 + 4 * (64 * 363 + 64 * 54 * 54)


def test_scaling_covers_views_sizes_threads_and_images(monkeypatch):
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


def test_a_plan_with_other_bits_gives_no_time(monkeypatch):
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
    assert any("block 1 3.6" in line or "block 1" in line for line in predicted.counts())


def test_torch_on_a_device_agrees_before_it_is_timed():
    torch.set_num_threads(2)
    rows = list(gpu.rows(1, "cpu"))  # what runs on a GPU, here without one
    assert [row.name for row in rows if row.name != "torch eager"] == ["torch eager cpu", "torch eager cpu bf16"]
    assert 0 < rows[1].error < 3e-2
