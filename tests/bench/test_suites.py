"""Each suite's rows: the subject of their figures, their labels, and the cases that are refused a time.

All suites with all their rows are in test_tiny_run.py; here are the cases that such a run does not have.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from bench import cases, pipeline, suites, training_step
from bench.effort import TINY
from bench.features import sharing
from bench.row import OURS, OURS_BF16, Failed, Refused, Row
from bench.suites import gpu, kernels, paper, roofline, scaling, score, training
from bench.work import IN_TILES, work_of
from dcnn_fast import engine, networks

LIMITS = {"multiply-adds avx2": 100.0, "torch GEMM 2048 bfloat16": 200.0, "reading memory GB/s": 10.0}
QUICK = replace(TINY, quick=True)


@pytest.fixture
def photographs(tmp_path):
    paths = [tmp_path / f"{number}.jpg" for number in range(3)]
    for number, path in enumerate(paths):
        Image.fromarray(cases.photograph(60, 80, seed=number)).save(path)
    return paths


def test_a_preset_that_treats_pixels_otherwise_is_measured_all_the_same(monkeypatch):
    """The benchmark does not restate the spec."""
    monkeypatch.setattr(networks.presets, "PIXEL_SCALE", 1 / 32)
    assert cases.scnn().spec.columns[0].scale == 1 / 32
    found = list(score.rows(1, replace(QUICK, compiled=False)))
    assert not [one for one in found if isinstance(one, Refused)]
    assert {row.name for row in found} >= {OURS, "torch eager"}


def test_networks_are_the_presets_with_a_mean():
    for name in (*paper.PAPER, cases.SCNN, cases.DCNN):
        for column, of_preset in zip(cases.described(name).columns, networks.preset(name).columns, strict=True):
            assert column == replace(of_preset, mean=column.mean) and column.mean != of_preset.mean
    assert cases.described(cases.SCNN, ("warp",)).columns[0].view == "warp"


def test_a_ratio_of_the_paper_is_its_minutes_over_ours(photographs):
    rows = list(paper.rows(photographs, 2, QUICK))
    assert [(row.case, row.name, row.precision) for row in rows] == [
        (f"scnn-arch1, {part}", by, precision)
        for by, precision in ((OURS, "fp32"), (OURS_BF16, "bf16"))
        for part in ("from files", "network")
    ]
    for row in rows:
        assert row.note.startswith("3 photographs scaled to 2048; the paper: ")
        assert row.ratio == pytest.approx(paper.PAPER["scnn-arch1"][0] * 60 / row.seconds)


def test_a_photograph_that_cannot_be_read_is_named_and_other_suites_go_on(photographs, monkeypatch):
    photographs[1].write_bytes(b"not a photograph")
    monkeypatch.setitem(suites.PER_THREADS, "paper", lambda limits, threads, effort: paper.rows(photographs, threads, effort))
    first, second = suites.tables(["paper", "kernels"], {}, [1], QUICK)
    (failed,) = first.found
    assert isinstance(failed, Failed) and "1.jpg: not an image" in str(failed)
    assert len(list(second.found)) > 1


def test_scores_that_are_not_torchs_give_no_time(photographs, monkeypatch):
    right = pipeline.in_torch
    monkeypatch.setattr(pipeline, "in_torch", lambda *arguments: right(*arguments) + 1e-3)
    found = list(paper.rows(photographs, 1, QUICK))
    assert found and isinstance(found[0], Refused) and "output differs by" in str(found[0])


@pytest.mark.needs_engine
def test_the_roofline_names_each_layer_with_its_share_of_the_peak():
    rows = list(roofline.rows(LIMITS, 1, TINY))
    layers = ("block 1", "block 2", "block 3", "block 4", "fc1000", "fc256")
    assert [row.case for row in rows] == [f"SCNN, grid 1: {layer}" for layer in layers] * 2
    for row in rows:
        assert row.share == row.gflops / (100.0 if row.name == OURS else 200.0)
        assert "GFLOP" in row.note and "roofline" in row.note
        # In fp32 all blocks; in bf16 those with many channels, unless a tile unit sums over taps faster.
        tiled = "block" in row.case and (row.name == OURS or ("block 1" not in row.case and not engine.has_tile_unit()))
        assert row.setting == (IN_TILES if tiled else "")
    column = cases.described(cases.SCNN, ("warp",)).columns[0]
    plan = sharing(column, cases.windows(column, (256, 256), TINY.windows), (256, 256), "ieee")
    counted = work_of(column, plan, (256, 256), values=4, weights=4)
    assert [row.gflops * row.seconds for row in rows[:6]] == pytest.approx([work.flops / 1e9 for work in counted])


def test_counts_of_one_window_are_those_of_the_description():
    column = networks.preset("scnn-arch1").columns[0]
    plan = sharing(column, np.zeros((1, 2), np.int64), (224, 224), "ieee")
    described = [layer.macs for layer in networks.column_costs(column) if layer.macs]
    found = work_of(column, plan, (224, 224), values=4, weights=4)
    assert [work.flops for work in found] == [2 * macs for macs in described]
    assert found[0].bytes == 224 * 224 * 3 + 4 * (64 * 363 + 64 * 54 * 54)


def test_thread_counts_double_up_to_all_cores():
    assert [scaling.thread_counts(cores) for cores in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]


def test_a_plan_with_other_bits_gives_no_time(monkeypatch):
    monkeypatch.setattr(scaling, "features", lambda net, cuts, planner: np.zeros(1) + (planner is scaling.alone))
    found = list(scaling.samples(TINY))
    assert len(found) == len(TINY.scaling_views)
    assert all(isinstance(one, Refused) and "other bits" in str(one) for one in found)


def test_a_kernel_that_was_not_counted_is_named(monkeypatch):
    monkeypatch.setattr(kernels, "counted_tiles", dict)
    found = list(kernels.rows())
    assert found and all(isinstance(one, Refused) and "devtools.choose_tiles" in str(one) for one in found)


def test_torch_on_a_device_agrees_before_it_is_timed():
    torch.set_num_threads(2)
    rows = list(gpu.rows(TINY, "cpu"))  # a GPU's case, here without a GPU
    assert [row.name for row in rows if row.name != "torch eager"] == ["torch eager cpu", "torch eager cpu bf16"]
    assert 0 < rows[1].error < 3e-2


def test_steps_that_move_the_parameters_elsewhere_give_no_time(monkeypatch):
    monkeypatch.setattr(training_step.ConvNetUpdate, "step", lambda self: None)
    monkeypatch.setattr(training, "peak_bytes", lambda job: None)
    found = list(training.rows(2, QUICK))
    (refused,) = (one for one in found if isinstance(one, Refused))
    assert refused.name == OURS and "output differs by 1.0e+00 of the largest value" in refused.why
    assert [row.name for row in found if isinstance(row, Row)] == [training_step.EAGER]


def test_after_the_first_step_training_is_back_at_its_start():
    step = training_step.Step(training_step.Job(cases.SCNN, 1, 2, unit_share=0.1))
    before = {name: parameter.detach().clone() for name, parameter in step.net.named_parameters()}
    rates = [group["lr"] for group in step.optimiser.param_groups]
    found = training_step.first_step(step)
    assert all(np.abs(movement).max() > 0 for movement in found.values())
    assert all(torch.equal(parameter, before[name]) for name, parameter in step.net.named_parameters())
    assert [group["lr"] for group in step.optimiser.param_groups] == rates and not step.optimiser.state


def test_a_process_that_cannot_train_is_an_error():
    with pytest.raises(RuntimeError, match=r"failed: (.|\n)*KeyError: 'CHWN'"):
        training_step.peak_bytes(training_step.Job(cases.SCNN, 1, 1, training_step.EAGER, "CHWN, its norm"))
