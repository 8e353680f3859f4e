"""The choice of tiles: made of the candidates there are, of kernels that fit, and as the model ranks them."""

from __future__ import annotations

import json
from dataclasses import replace

import torch

from bench.gpu_cost import COUNTS, GPUS, Counts, predicted
from dcnn_fast.ops.block import triton_config
from tools import choose_tiles, kernel_report
from tools.launches import scoring_problems


def _counts():
    return {(row["problem"], row["tile"]): row for row in json.loads(COUNTS.read_text())}


def test_every_problem_of_the_presets_was_counted_in_every_candidate():
    assert {(str(params), name) for params, name in choose_tiles._pairs()} == _counts().keys()


def test_the_chosen_tile_is_the_fastest_by_the_model_of_those_that_fit():
    known, chosen = _counts(), 0
    for gpu in GPUS:
        for params in {triton_config.problem_key(p): p for p in reversed(list(scoring_problems(50)))}.values():
            candidates = triton_config.forward_candidates(params)
            rows = {name: known[str(params), name] for name in candidates}
            times = {
                name: predicted(gpu, Counts(**{field: row[field] for field in Counts.__dataclass_fields__}))[0]
                for name, row in rows.items()
                if gpu.capability in row["capabilities"]
            }
            config = triton_config.forward_config(params, gpu.capability)
            if times:
                assert candidates[min(times, key=lambda name: (times[name], name))] == config, (gpu.name, str(params))
                chosen += config != candidates["small"]
    assert chosen > 0


def test_counts_of_a_launch_are_those_committed():
    params, name = next(pair for pair in choose_tiles._pairs() if pair[0].channels == 64 and pair[0].dtype == torch.float16)
    counts = choose_tiles.counted(choose_tiles.launch_of(params, name), params)
    row = _counts()[str(params), name]
    assert {field: row[field] for field in Counts.__dataclass_fields__} == {**vars(counts)}


def test_what_spills_does_not_fit():
    params = next(p for p in scoring_problems(1) if p.channels == 64 and p.options.pool is not None)
    small = choose_tiles.launch_of(params, "small")
    assert choose_tiles.fits(small, 80)
    crowded = replace(small, constants={**small.constants, "ROWS": 32, "COLS": 32}, warps=4)
    assert not choose_tiles.fits(crowded, 80)
    assert set(kernel_report.JUDGED) == {gpu.capability for gpu in GPUS}
