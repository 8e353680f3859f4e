"""The floors are the promised ones; a run that misses one names it, and a run without a row for it reports that.

That the real suites have a row for each is in test_tiny_run.py.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import floors
from bench.effort import FULL, TINY
from bench.floors import FLOORS, judge
from bench.row import OURS, OURS_BF16, OURS_FP16, Row
from bench.suites import PER_THREADS, block, host, host_step, jpeg, read, score, training

EAGER, AMX = "torch eager", "amx"


def _row(suite, case, seconds, ratio, name=OURS, **fields):
    precision = fields.pop("precision", "bf16" if name.endswith("bf16") else "fp32")
    return Row(suite, case, 1, name, precision, seconds, ratio=ratio, **fields)


def _reached():
    """Rows that reach every floor."""
    rows = []
    for case in (block.BLOCK_1, block.BLOCK_2):
        rows += [_row("block", case, 1.0, 3.0, share=0.75), _row("block", case, 1.0, 3.0, name=OURS_BF16)]
    for case in (score.GRID_1, score.GRID_8, score.DCNN):
        rows += [_row("score", case, 1.0, 4.0), _row("score", case, 1.0, 7.0, name=OURS_BF16)]
        rows.append(_row("score", case, 4.5, None, name=EAGER))
    rows += [_row("jpeg", jpeg.NETWORK, 1.0, 0.5), _row("jpeg", jpeg.NETWORK, 1.0, 1.0, name=OURS_BF16)]
    for case in (training.SCNN, training.DCNN):
        rows += [
            _row("training", case, 2.0, None, peak_bytes=50),
            _row("training", case, 5.0, None, name=EAGER, peak_bytes=100),
            _row("training", case, 0.1, None, name="torch.compile", peak_bytes=10),
        ]
    rows += [_row("host", host.WHOLE, 8e-5, None), _row("host", host.LOCAL, 15e-5, None)]
    names = {"fp16": OURS_FP16, "bf16": OURS_BF16, "fp32": OURS}
    for case, precisions in host.FIXED.items():
        rows += [_row("host", case, 1e-4, 3.0, name=names[precision], precision=precision) for precision in precisions]
    rows += [
        _row("host", case, 1e-3, None, name=names[precision], precision=precision)
        for case in host_step.STEPS
        for precision in host_step.BY
    ]
    for precision in host.PRECISIONS:
        for case, seconds, ratio in ((host.FIRST, 5e-4, None), (host.AGAIN, 15e-5, None), (host.TWO, 1.0, 1.8)):
            rows.append(_row("host", case, seconds, ratio, precision=precision))
    for kind, ratio in ((read.SRGB, 1.4), (read.TURNED, 1.4), (read.P3, 3.0), (read.ADOBE, 3.0)):
        rows += [_row("read", read.case(kind, size), 1.0, ratio, precision="bytes") for size in read.MEGAPIXELS]
    return rows


SUITES = (*PER_THREADS, "training", "host", "read")
MISSES = [
    ("block", "block 1", OURS, {"ratio": 1.2}, "block 1, 1 thread, fp32: 1.20 x the best peer, the floor is 1.3"),
    ("block", "block 2", OURS, {"share": 0.7}, "block 2, 1 thread, fp32: 70% of the multiply-add rate, the floor is 75%"),
    ("score", score.GRID_8, OURS_BF16, {"ratio": 3.9}, "SCNN, grid 8, 1 thread, bf16: 3.90 x the best peer, the floor is 4"),
    ("score", score.GRID_1, EAGER, {"seconds": 4.0}, "SCNN, grid 1, 1 thread, fp32: 4.00 x torch eager, the floor is 4.5"),
    (
        "jpeg", jpeg.NETWORK, OURS_BF16, {"ratio": 0.5},
        "DCNN, 12 MP JPEG, network, 1 thread, bf16: decoding takes 0.50 x the network's time, the floor is 1",
    ),
    (
        "training", training.SCNN, EAGER, {"seconds": 4.9},
        "SCNN, a training step, 1 thread, fp32: 2.45 x torch eager, the floor is 2.5",
    ),
    (
        "training", training.DCNN, OURS, {"peak_bytes": 51},
        "DCNN, a training step, 1 thread, fp32: 51% of torch eager's memory, the most allowed is 50%",
    ),
    (
        "host", host.WHOLE, OURS, {"seconds": 0.00009},
        "plan, a plane of 256 x 256, 1 thread, fp32: 0.090 ms, the most allowed is 0.08",
    ),
    (
        "host", host.FIXED_SHIPPED, OURS, {"ratio": 4.0},
        "a picture of a fixed batch, shipped model 500 x 375, 1 thread, fp32: 4 launches a batch, the most allowed is 3",
    ),
    (
        "read", read.case(read.SRGB, 12), OURS, {"ratio": 1.5},
        "12 MP JPEG, sRGB, 1 thread, bytes: 1.50 x the time of Pillow's decoding alone, the most allowed is 1.4",
    ),
]  # fmt: skip


def test_floors_that_are_reached_are_silent():
    assert judge(_reached(), SUITES, [1], FULL, AMX) == floors.Judgement()


@pytest.mark.parametrize(("suite", "case", "name", "fields", "said"), MISSES, ids=[miss[-1] for miss in MISSES])
def test_a_floor_that_is_missed_is_said(suite, case, name, fields, said):
    rows = [replace(row, **fields) if (row.suite, row.case, row.name) == (suite, case, name) else row for row in _reached()]
    assert judge(rows, SUITES, [1], FULL, AMX) == floors.Judgement(missed=(said,))
    assert judge(rows, SUITES, [1], TINY, AMX) == floors.Judgement()  # times of tiny sizes mean nothing


@pytest.mark.parametrize("floor", FLOORS, ids=lambda floor: f"{floor.case}, {floor.precision}, {floor.said}")
@pytest.mark.parametrize("effort", [FULL, TINY], ids=["full", "tiny"])
def test_a_floor_without_a_row_is_said(floor, effort):
    """A renamed case, a refused peer, an omitted measure."""
    rows = [replace(row, case="renamed") if row.case == floor.case else row for row in _reached()]
    isa = (floor.isas or (AMX,))[0]
    unjudged = judge(rows, SUITES, [1], effort, isa).unjudged
    assert any(floor.case in line and floor.precision in line and floor.limit in line for line in unjudged)
    if floor.suite == "host" and floor.case not in (host.TWO, *host.FIXED):
        return  # a time is in every row
    bare = [replace(row, ratio=None, share=None, peak_bytes=None) for row in _reached() if row.name != EAGER]
    assert any(line.startswith(floor.case) for line in judge(bare, SUITES, [1], effort, isa).unjudged)


def test_only_floors_of_what_was_asked_for_are_judged():
    assert judge([], ["roofline"], [1], FULL, AMX) == floors.Judgement()
    assert {line.split(",")[0] for line in judge([], ["block"], [1], FULL, AMX).unjudged} == {"block 1", "block 2"}
    assert {line.split(",")[0] for line in judge([], ["block"], [1], replace(FULL, quick=True), AMX).unjudged} == {"block 1"}


def test_every_number_of_threads_is_judged():
    unjudged = judge(_reached(), SUITES, [1, 2], FULL, AMX).unjudged
    assert unjudged and all(", 2 threads, " in line for line in unjudged)


def test_a_floor_holds_for_its_instruction_sets():
    slow = [replace(row, ratio=1.0) if row.case == score.GRID_1 else row for row in _reached()]
    said = {isa: judge(slow, SUITES, [1], FULL, isa).missed for isa in ("amx", "avx512_bf16", "avx512", "avx2")}
    limits = {isa: [line.rsplit(" ", 1)[1] for line in lines] for isa, lines in said.items()}
    assert limits == {"amx": ["2.8", "7"], "avx512_bf16": ["2.8", "3.5", "2.5"], "avx512": ["2.8", "3.5"], "avx2": ["2.8"]}
    unjudged = judge([], [suite for suite in SUITES if suite != "host"], [1], FULL, "avx2").unjudged
    assert unjudged and all("bf16" not in line for line in unjudged)  # except for GPUs


def test_instruction_sets_that_floors_name_are_the_engines():
    named = {isa for floor in FLOORS for isa in floor.isas or ()}
    assert named <= {"amx", "avx512_bf16", "avx512", "avx2", "portable"}
