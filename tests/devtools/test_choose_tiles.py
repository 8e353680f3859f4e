"""The choice of tiles: from existing candidates, among kernels that fit, and in the model's order."""

from __future__ import annotations

import json
from dataclasses import replace

import torch

from bench.gpu_cost import BY_HAND, IMAGES, STAGED, WARPGROUP, counted_tiles, floor, predicted
from bench.suites import kernels
from dcnn_fast import networks
from dcnn_fast.ops.backend import choose, explain
from dcnn_fast.ops.block import BACKENDS
from dcnn_fast.ops.block.cuda.config import config_of
from dcnn_fast.ops.block.cuda.warpgroup import BY_WARPS, tile_of, warpgroup_of
from dcnn_fast.ops.block.gpu import choice as gpu_choice
from dcnn_fast.ops.block.gpu.problem import problem_key
from dcnn_fast.ops.block.params import problems_of
from dcnn_fast.ops.block.triton import config as triton_config
from dcnn_fast.ops.cuda_compile import sources
from dcnn_fast.ops.gpus import GPUS, HOPPER
from devtools import choose_tiles, kernel_report
from devtools.launches import collected, scoring_problems
from tests.ops.block.problems import AVERAGE, POOL, problem


def test_every_problem_of_the_presets_was_counted_in_every_candidate_that_is_no_last_resort():
    known = counted_tiles()
    assert {(str(params), name) for params, name in choose_tiles.pairs()} <= known.keys()


def test_problems_with_different_machine_code_have_different_names():
    problems = {(params.dtype, params.weight_dtype, params.options.precision): params for params in scoring_problems(50)}
    assert len({problem_key(params) for params in problems.values()}) == len(problems) > 4


def test_the_tile_of_the_package_is_the_fastest_by_the_model_of_those_that_fit():
    rows = [row for row in counted_tiles().values() if row.tile not in BY_HAND]
    others = 0
    for gpu in GPUS:
        for params in scoring_problems(50):
            key = problem_key(params)
            times = {
                row.tile: predicted(gpu, row.counts, row.tile)[0]
                for row in rows
                if row.key == key and gpu.capability in row.capabilities
            }
            fastest = min(times, key=lambda name: (times[name], name))
            config = triton_config.forward_config(params, gpu.capability)
            assert config == triton_config.forward_candidates(params)[fastest], (gpu.name, key)
            others += fastest != "small"
    assert others > 0


def test_counts_of_a_launch_are_those_committed():
    params, name = next(pair for pair in choose_tiles.pairs() if pair[0].channels == 64 and pair[0].dtype == torch.float16)
    counts = choose_tiles.counted(choose_tiles.launch_of(params, name), params, choose_tiles.counted_for(name))
    assert counts == counted_tiles()[str(params), name].counts


def test_the_choice_between_cuda_and_triton_is_the_models():
    committed = json.loads(gpu_choice.TABLE.read_text())
    assert committed == choose_tiles.choices(counted_tiles().values())
    assert committed.keys() == {str(gpu.capability) for gpu in GPUS}
    assert len(committed["80"]) > 10


def test_on_hopper_the_cuda_block_takes_what_the_model_has_faster():
    known, hopper = counted_tiles(), next(gpu for gpu in GPUS if gpu.capability == HOPPER)
    taken = set()
    for params in scoring_problems(50):
        rows = [row for row in known.values() if row.key == problem_key(params) and row.tile in BY_HAND]
        if len(rows) == len(BY_HAND):
            fastest = min(rows, key=lambda row: predicted(hopper, row.counts, row.tile)[0]).tile
            expected = {WARPGROUP: warpgroup_of, STAGED: config_of}[fastest](params)
            assert tile_of(params, HOPPER) == expected, str(params)
            assert type(tile_of(replace(params, height=40, width=50), HOPPER)) is type(expected), "whatever the extents"
            taken.add(fastest)
    assert taken == set(BY_HAND)
    assert json.loads(BY_WARPS.read_text()) == choose_tiles.by_warps(known.values())


def test_the_notes_on_warp_groups_have_the_models_times_and_the_tiles_memory():
    lines, known, half = (sources() / "README.md").read_text().splitlines(), counted_tiles(), torch.float16
    hopper, tiles = next(gpu for gpu in GPUS if gpu.capability == HOPPER), []
    blocks = problems_of(networks.preset(kernels.COLUMN).columns[0], IMAGES)
    for name, block in zip(("block 1", "block 2", "blocks 3, 4"), blocks, strict=False):
        params = replace(block, dtype=torch.uint8 if block.channels == 3 else half, weight_dtype=half, out_dtype=half)
        counts = {tile: known[str(params), tile].counts for tile in BY_HAND}
        by_warps, (by_groups, term) = (predicted(hopper, counts[tile], tile) for tile in BY_HAND)
        bound = {"alu": "integer instructions", "tensor": "tensor cores"}.get(term, term)
        share = floor(hopper, counts[WARPGROUP], "fp16") / by_groups
        assert f"| {name} | {1e3 * by_warps[0]:.3g} ms | {1e3 * by_groups:.3g} ms | {bound} | {share:.2f} |" in lines
        tiles.append(warpgroup_of(params))
    for name, values in {
        "rows of outputs a step": [tile.most_rows for tile in tiles], "two patches": [tile.patches for tile in tiles],
        "four stages of weights": [4 * tile.stage for tile in tiles], "ring": [tile.kept for tile in tiles],
        "together, of 232,448": [tile.shared for tile in tiles],
    }.items():  # fmt: skip
        assert f"| {name} | {' | '.join(f'{value:,}' for value in values)} |" in lines


def test_a_backend_that_the_model_has_slower_says_so_and_runs_when_it_is_forced(monkeypatch):
    params = next(p for p in scoring_problems(1) if p.channels == 64 and p.options.pool and p.dtype == torch.float16)
    cpu = torch.device("cpu")
    for times, expected in (((3.0, 2.0), "triton"), ((2.0, 3.0), "cuda"), (None, "cuda")):
        monkeypatch.setattr(gpu_choice, "predicted", lambda *_, times=times: times)
        with collected():
            assert choose(BACKENDS, params, cpu) == expected
            answer = explain(BACKENDS, params, cpu)[0]
        assert (answer.backend, answer.refusal) == ("cuda", None)
        said = "Triton's block is predicted to take 2 us of fifty windows, this one 3 us"
        assert answer.outpaced == (said if expected == "triton" else None)
        monkeypatch.setenv("DCNN_FAST_BACKEND", "cuda")
        with collected():
            assert choose(BACKENDS, params, cpu) == "cuda"
        monkeypatch.delenv("DCNN_FAST_BACKEND")


def test_what_spills_does_not_fit():
    params = next(p for p in scoring_problems(1) if p.channels == 64 and p.options.pool is not None)
    small = choose_tiles.launch_of(params, "small")
    assert choose_tiles.fits(small, 80)
    crowded = replace(small, constants={**small.constants, "ROWS": 32, "COLS": 32}, warps=4)
    assert not choose_tiles.fits(crowded, 80)
    assert set(kernel_report.JUDGED) == {gpu.capability for gpu in GPUS}


def test_an_average_and_a_relu_that_comes_last_are_counted_as_what_they_are():
    """Not by the name of the same block with maxima; nothing is predicted for problems that no preset poses."""
    largest = problem(1, 16, 12, 12, 16, 3, torch.float16, padding=1, pool=POOL)
    options = replace(largest.options, pool=AVERAGE, order="conv-pool-norm-relu")
    largest, average = (
        replace(params, weight_dtype=torch.float16, out_dtype=torch.float16)
        for params in (largest, replace(largest, options=options))
    )
    counts = [choose_tiles.counted(choose_tiles.launch_of(params, "small"), params) for params in (largest, average)]
    assert counts[0].tensor_16 == counts[1].tensor_16 > 0 and counts[0].pipes != counts[1].pipes
    assert problem_key(largest) != problem_key(average)
    assert gpu_choice.predicted(average, 80) is None
