"""The backward's counts: every problem that has a choice, the existing kernels, and the package's rule of choice."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from bench.gpu_cost import predicted
from dcnn_fast.ops.block.gpu.problem import problem_key
from dcnn_fast.ops.block.triton import conv_gradient
from dcnn_fast.ops.gpus import A100, GPUS, H100
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
    row = count_backward.committed()[str(params), "memory", count_backward.WRITES]
    assert count_backward.counted(what, params) == row.counts


def test_a_loop_is_extended_by_what_its_steps_take(problems):
    """Forty steps, once simulated and once extrapolated from fewer."""
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
    assert text.count(count_backward.WRITES) == 2 and "in fp16" in text and "nothing ran on a GPU" in text


def test_the_page_has_these_counts_and_times(problems):
    """In the order of the kernels: from hits; the one that writes, and those that read."""
    page = (Path(count_backward.__file__).parents[1] / "docs" / "gpu-notes.md").read_text()
    rows = count_backward.of_dcnn(count_backward.committed().values())
    for number in (1, 2):
        own = {way: [row for of, row in rows if (of, row.way) == (number, way)] for way in conv_gradient.WAYS}

        def cell(way, value, own=own):
            written = [value(row) for row in own[way] if row.kernel == count_backward.WRITES]
            read = [value(row) for row in own[way] if row.kernel != count_backward.WRITES]
            return " + ".join([*written, ", ".join(read)])

        times = [
            cell(way, lambda row, gpu=gpu: f"{1e3 * predicted(gpu, row.counts, row.way)[0]:.2f}")
            for gpu in (A100, H100)
            for way in conv_gradient.WAYS
        ]
        takes = conv_gradient.gradient_bytes(next(each for each in problems if str(each) == own["hits"][0].problem))
        assert f" | {takes / 1e6:.0f} MB | {' | '.join(times)} |" in page
        for title, value in (("warp instructions, M", count_backward.instructions), ("from the L2, MB", count_backward.moved)):
            cells = [cell(way, lambda row, value=value: f"{value(row):.0f}") for way in conv_gradient.WAYS]
            assert f"| block {number}: {title} | {' | '.join(cells)} |" in page
