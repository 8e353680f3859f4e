"""The report of compiled kernels: its rules, its figures, and that the committed table matches these kernels."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

import pytest
import torch

from dcnn_fast.ops.gpus import MULTIPROCESSORS
from devtools import aot, kernel_report, sass
from devtools.launches import Named, as_compiled, preset_launches


@pytest.fixture(scope="module")
def launches() -> list[Named]:
    return [as_compiled(named) for named in preset_launches(80)]


@pytest.fixture(scope="module")
def jobs() -> list[tuple[Named, int]]:
    return kernel_report._jobs()


def test_the_committed_table_has_a_row_for_every_kernel_that_a_preset_selects_and_no_other(jobs):
    assert kernel_report._read().keys() == {kernel_report._key(job) for job in jobs}


def test_the_committed_rows_are_of_these_sources_and_break_no_rule(jobs):
    rows = kernel_report._read()
    broken: list[str] = []
    for named, capability in jobs:
        row = rows[kernel_report._key((named, capability))]
        assert row.source == kernel_report.source_of(named.launch, capability), row
        broken += kernel_report.broken_rules(row, named)
    assert not broken


def test_a_rows_figures_are_those_of_the_kernel_compiled_now(launches):
    rows = kernel_report._read()
    kernel_report._queue[:] = [(launches[3], 80)]
    row = kernel_report._measured(0)
    assert row == rows[row.key]


def test_every_rule_can_be_broken(launches):
    named = next(named for named in launches if named.wide)
    row = kernel_report._read()[named.launch.kernel.__name__, named.problem, 80]
    for change, words in (
        ({"stack": 8}, "spills"),
        ({"occupancy": 0.0}, "does not fit"),
        ({"tensor_loops": 0}, "no loop with tensor cores"),
        ({"wide_loops": 0}, "that load 16 bytes"),
    ):
        (rule,) = kernel_report.broken_rules(replace(row, **change), named)
        assert words in rule
        assert not list(kernel_report.broken_rules(replace(row, capability=75, **change), named))


def test_the_source_hash_sees_constants_types_and_the_target(launches):
    launch = launches[0].launch
    first = kernel_report.source_of(launch, 80)
    others = (
        (replace(launch, constants={**launch.constants, "SIZE": 12}), 80),
        (replace(launch, args={**launch.args, "weight": torch.empty(4, dtype=torch.float64)}), 80),
        (replace(launch, warps=2), 80),
        (launch, 90),
    )
    assert len({first, *(kernel_report.source_of(what, capability) for what, capability in others)}) == 5


@pytest.mark.parametrize(
    ("capability", "registers", "shared", "blocks"),
    [
        (80, 72, 0, 7),
        (90, 72, 0, 7),
        (120, 72, 0, 7),
        (86, 72, 40960, 2),
        (89, 72, 40960, 2),
        (80, 255, 0, 2),
        (86, 32, 102400, 0),
    ],
)
def test_occupancy_is_that_of_nvidias_formula(capability, registers, shared, blocks):
    """For blocks of 128 threads, by cuda_occupancy.h of the toolkit."""
    most = MULTIPROCESSORS[capability].warps
    assert kernel_report.occupancy(capability, registers, shared, 4) == blocks * 4 / most


def test_a_kernels_text_is_that_of_all_it_calls_and_of_their_constants():
    text = kernel_report.kernel_text(import_module("dcnn_fast.ops.block.triton.forward_kernels").block_fwd_tile_kernel)
    assert all(f"def {name}(" in text for name in ("output_of_conv", "conv_tile", "within", "cross_map_sum", "filter_of"))
    assert "'SOURCE', 'constexpr[5]'" in text


LISTING = """
.text.kernel:
        /*0000*/                   LDG.E.128 R4, desc[UR4][R2.64] ;
.L_x_1:
        /*0010*/                   HMMA.16816.F32 R8, R4, R6, R8 ;
.L_x_2:
        /*0020*/                   LDGSTS.E.BYPASS.128 [R5], [R2.64] ;
        /*0030*/                   HMMA.16816.F32 R8, R4, R6, R8 ;
        /*0040*/               @P0 BRA `(.L_x_2) ;
        /*0050*/              @!P1 BRA `(.L_x_1) ;
        /*0060*/                   BRA `(.L_x_3) ;
.L_x_3:
        /*0070*/                   EXIT ;
.L_x_4:
        /*0080*/                   BRA `(.L_x_4);
"""


def test_loops_are_the_innermost_branches_back():
    code, loops = sass._loops(LISTING)
    assert [code[first] for first, _ in loops] == ["LDGSTS.E.BYPASS.128", "BRA"]
    assert loops[0] == (2, 4)


def test_a_loop_that_was_unrolled_whole_is_one_from_its_first_product_to_its_last():
    norm = ["HMMA.1688.F32.TF32", "LDG.E.128", "HMMA.1688.F32.TF32"]
    assert sass._unrolled(["LDG.E.128", "HMMA.16816.F32", "LDS", "HMMA.16816.F32", "STG", *norm]) == [
        ["HMMA.16816.F32", "LDS", "HMMA.16816.F32"]
    ]
    assert sass._unrolled(["LDG.E.128", "FFMA", *norm]) == []


def test_spills_are_seen(launches):
    """A kernel whose tile cannot fit its registers."""
    named = next(named for named in launches if named.tensor and named.launch.constants["POOL"] == 3)
    crowded = replace(named.launch, constants={**named.launch.constants, "ROWS": 16, "COLS": 16}, warps=4)
    assert sass.read(aot.compiled(crowded, 80).cubin).stack > 0
