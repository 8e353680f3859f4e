"""The backward's counts: of every problem that has a choice, of the kernels there are, and what the package chooses by."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from dcnn_fast.ops.block.gpu.problem import problem_key
from dcnn_fast.ops.block.triton import conv_gradient
from dcnn_fast.ops.gpus import GPUS
from devtools import aot, count_backward, kernel_report


@pytest.fixture(scope="module")
def problems():
    return list(count_backward.problems())


def test_every_kernel_of_both_ways_was_counted_as_it_is(problems):
    rows = count_backward.committed()
    found = set()
    for params in problems:
        for way in conv_gradient.WAYS:
            launches = count_backward.launches(params, way)
            writes = [what for what in launches if aot.kernel_name(what) == count_backward.WRITES]
            assert len(writes) == (way == "memory") and len(launches) == len(writes) + (1 if params.channels == 3 else 2)
            for what in launches:
                row = rows[str(params), way, aot.kernel_name(what)]
                assert row.source == kernel_report.source_of(what, 80), row
                found.add(row.name)
    assert found == rows.keys()


def test_what_is_written_is_counted_again_to_the_same(problems):
    params = next(params for params in problems if params.channels == 64 and params.weight_dtype.itemsize == 2)
    what = count_backward.launches(params, "memory")[0]
    assert count_backward.counted(what, params) == count_backward.committed()[str(params), "memory", count_backward.WRITES].counts


def test_a_loop_is_extended_by_what_its_steps_take(problems):
    """Forty steps as they were simulated and as they follow from fewer."""
    params = next(params for params in problems if params.channels == 64 and params.weight_dtype.itemsize == 2)
    weight = count_backward.launches(params, "memory")[-1]
    depth = weight.constants["BK"]
    short = replace(weight, args={**weight.args, "share": 40 * depth})
    whole, extended = count_backward._counted(short, (1, 1, 1), params), count_backward.counted(short, params)
    assert extended.tensor_16 == whole.tensor_16
    for name, count in whole.pipes.items():
        assert extended.pipes[name] == pytest.approx(count, rel=0.02)
    assert extended.sectors == pytest.approx(whole.sectors, rel=0.05)


def test_the_choice_is_the_models(problems, monkeypatch):
    monkeypatch.delenv(conv_gradient.VARIABLE, raising=False)
    rows = count_backward.committed().values()
    table = json.loads(conv_gradient.TABLE.read_text())
    assert table == count_backward.choices(rows)
    ways = set()
    for gpu in GPUS:
        for params in problems:
            hits, memory = table[str(gpu.capability)][problem_key(params)]
            fits = conv_gradient.gradient_bytes(params) <= conv_gradient.MOST_BYTES
            found = conv_gradient.choice(params, gpu.capability)
            assert (found.way == "memory") == (fits and memory < hits)
            ways.add(found.way)
    assert ways == {"hits", "memory"}


def test_the_papers_network_is_printed():
    console = Console(width=200, file=StringIO())
    console.print(count_backward.table(count_backward.committed().values()))
    text = console.file.getvalue()
    assert text.count("block_bwd_input_kernel") == 2 and text.count("block_bwd_weight_kernel") == 4
    assert text.count(count_backward.WRITES) == 2 and "nothing ran on a GPU" in text
