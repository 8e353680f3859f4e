"""Timing tiles: only on request, once per problem, and never worse than the file's choice."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from triton.runtime.errors import OutOfResources, PTXASError

from dcnn_fast.ops.block import prepare
from dcnn_fast.ops.block.gpu.column import ColumnOnGpu
from dcnn_fast.ops.block.triton import forward_launch
from dcnn_fast.ops.block.triton import tune as triton_tune
from dcnn_fast.ops.block.triton.config import forward_candidates
from dcnn_fast.ops.block.whole import whole_images
from dcnn_fast.ops.launch import launched_by
from tests.ops.block.problems import CROSS, POOL, problem

PARAMS = replace(problem(1, 16, 20, 20, 32, 3, torch.float16, pool=POOL, norm=CROSS), weight_dtype=torch.float16)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_it_is_asked_for_by_a_variable_and_needs_a_gpu(monkeypatch):
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert not triton_tune.asked_for(cuda)
    monkeypatch.setenv(triton_tune.VARIABLE, "1")
    assert triton_tune.asked_for(cuda) and not triton_tune.asked_for(cpu)


def test_the_fastest_candidate_is_timed_once_and_remembered_for_its_problem_and_gpu():
    candidates, timed = forward_candidates(PARAMS), []

    def seconds(config):
        timed.append(config)
        return 1.0 if config == candidates["16x16"] else 2.0

    assert triton_tune.tuned(PARAMS, 80, False, seconds) == candidates["16x16"]
    assert len(timed) == len(candidates) > 2
    assert triton_tune.tuned(PARAMS, 80, False, seconds) == candidates["16x16"]
    assert len(timed) == len(candidates)
    triton_tune.tuned(PARAMS, 90, False, seconds)
    assert len(timed) == 2 * len(candidates)


@pytest.mark.parametrize(
    "error",
    [OutOfResources(99328, 65536, "shared memory"), PTXASError("ptxas failed"), RuntimeError("CUDA error")],
    ids=lambda error: type(error).__name__,
)
def test_what_does_not_run_is_left_out(error):
    candidates = forward_candidates(PARAMS)

    def seconds(config):
        if config != candidates["strip"]:
            raise error
        return 1.0

    assert triton_tune.tuned(PARAMS, 80, False, seconds) == candidates["strip"]


def test_none_that_runs_is_an_error():
    def seconds(config):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no tile runs for"):
        triton_tune.tuned(PARAMS, 80, False, seconds)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 1}'])
def test_a_file_that_is_no_table_is_made_anew(text):
    path = triton_tune.cache_file(80)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    candidates = forward_candidates(PARAMS)
    assert triton_tune.tuned(PARAMS, 80, False, lambda config: float(config != candidates["8x32"])) == candidates["8x32"]
    assert triton_tune.tuned(PARAMS, 80, False, lambda config: 1.0) == candidates["8x32"]


def test_a_place_that_cannot_be_written_to_is_no_error(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    assert triton_tune.tuned(PARAMS, 80, False, lambda config: 1.0) == forward_candidates(PARAMS)["small"]


def test_a_columns_launches_are_in_the_tile_that_was_timed(monkeypatch):
    candidates, times = forward_candidates(PARAMS), []

    def seconds(what):  # timing needs a GPU; these are the launches that would be timed
        times.append(what.constants["ROWS"] * what.constants["COLS"])
        return -times[-1] + what.warps / 100

    monkeypatch.setenv("DCNN_FAST_BACKEND", "triton")
    monkeypatch.setattr(triton_tune, "asked_for", lambda device: True)
    monkeypatch.setattr(forward_launch, "_seconds", seconds)
    largest = max(candidates.values(), key=lambda tile: (tile.rows * tile.cols, -tile.warps))
    assert largest != candidates["small"]
    with launched_by(lambda what: None):
        block = prepare(PARAMS, torch.ones(32, 16, 3, 3).half(), torch.zeros(32).half())
        column = ColumnOnGpu([block.launches], torch.device("cpu"))
        (what,) = column.launches(torch.zeros(1, 20, 20, 16).half().permute(0, 3, 1, 2), [whole_images(PARAMS)]).launches
    assert (what.constants["ROWS"], what.constants["COLS"], what.warps) == (largest.rows, largest.cols, largest.warps)
    assert len(times) == len(candidates)
