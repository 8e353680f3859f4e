"""The model of a kernel's seconds on a GPU: the largest term, whole programs per multiprocessor, and a floor."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import gpu_cost
from bench.gpu_cost import Counts
from bench.suites import kernels
from dcnn_fast.ops.gpus import GPUS, Gpu

GPU = Gpu("small", 80, 10, 1.0, 1000, 64, 100.0, 10.0)
COUNTS = Counts(20, 2, {"alu": 400, "fma": 200}, 8000, 1000, 900, 50, 60_000, 100)


def test_every_term_is_its_count_over_its_rate_for_the_busiest_multiprocessor():
    found = gpu_cost.terms(GPU, COUNTS, "small")
    # Two of the twenty programs on each multiprocessor, as many as were simulated: a nanosecond a cycle.
    assert found["alu"] == pytest.approx(200e-9)
    assert found["fma"] == pytest.approx(100e-9)
    assert found["issue"] == pytest.approx(150e-9)
    assert found["tensor"] == pytest.approx(10e-9)
    assert found["shared"] == pytest.approx(900e-9)
    assert found["L2"] == pytest.approx(50 * 32 * 10 / 100e9)
    assert found["DRAM"] == pytest.approx(100 / 10e9)
    assert gpu_cost.predicted(GPU, COUNTS, "small") == (pytest.approx(900e-9 + gpu_cost.LAUNCH), "shared")


def test_a_last_wave_of_few_programs_takes_as_long_as_a_full_one():
    full, more = (gpu_cost.terms(GPU, replace(COUNTS, programs=programs), "small")["alu"] for programs in (20, 21))
    assert more == pytest.approx(1.5 * full)


def test_products_take_the_time_of_the_instruction_that_the_tile_has_on_that_gpu():
    hopper = replace(GPU, capability=90, tensor=2000, mma_sync=1250)
    times = {tile: gpu_cost.terms(hopper, COUNTS, tile)["tensor"] for tile in ("small", "16x16", "strip", *gpu_cost.BY_HAND)}
    assert times == pytest.approx({"small": 5e-9, "16x16": 5e-9, "strip": 8e-9, "staged": 8e-9, "warpgroup": 5e-9})
    assert gpu_cost.terms(GPU, COUNTS, gpu_cost.STAGED)["tensor"] == pytest.approx(10e-9), "where there is one instruction"


def test_the_floor_is_the_work_or_the_bytes():
    assert gpu_cost.floor(GPU, COUNTS, "fp16") == pytest.approx(100 / 10e9)
    assert gpu_cost.floor(GPU, replace(COUNTS, bytes=0), "fp16") == pytest.approx(60_000 / 1000 / 10 * 1e-9)
    assert gpu_cost.floor(GPU, replace(COUNTS, bytes=0), "tf32") == pytest.approx(60_000 / 500 / 10 * 1e-9)
    assert gpu_cost.floor(GPU, replace(COUNTS, bytes=0), "ieee") == pytest.approx(60_000 / 64 / 10 * 1e-9)


def test_the_suite_predicts_every_block_on_every_gpu_above_its_floor_and_says_so():
    rows = list(kernels.rows())
    assert len(rows) == 3 * 3 * len(GPUS)
    assert all(row.name.endswith("(modelled)") and "floor" in row.note and "bound by" in row.note for row in rows)
    assert all(row.share is not None and 0 < row.share <= 1 for row in rows)
