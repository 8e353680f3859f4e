"""Counts compared with counts by hand."""

import numpy as np
import pytest
from ptxsim.banks import wavefronts

from ptxsim import launch
from tests.ptxsim.kernels import kernel, line_of, run

LOAD = """mul.lo.s32 %r5, %r0, {stride};
mul.wide.u32 %rd10, %r5, 4;
add.s64 %rd11, %rd0, %rd10;
ld.global.b32 %r10, [%rd11];"""


@pytest.mark.parametrize(("stride", "sectors"), [(0, 1), (1, 4), (2, 8), (3, 12), (8, 32), (32, 32)])
def test_sectors_of_strided_loads(stride, sectors):
    x = np.zeros(64 * 2 * stride + 8, dtype=np.float32)
    skip = -x.ctypes.data // 4 % 8  # aligned to a sector
    report = run(LOAD.format(stride=stride), [x[skip:]], grid=2, block=64)
    assert report.global_load_requests == 4
    assert report.global_load_bytes == 128 * 4
    assert report.global_load_sectors == 4 * sectors
    # Sectors that two warps of a block share count once for the block.
    starts = np.arange(128).reshape(2, 64) * stride * 4 // 32
    assert report.unique_load_sectors == sum(len(np.unique(s)) for s in starts)


def test_sectors_of_any_order_and_of_some_threads():
    rng = np.random.default_rng(0)
    x = np.zeros(4096 + 8, dtype=np.float32)
    skip = -x.ctypes.data // 4 % 8
    index = rng.integers(0, 4096, 256).astype(np.int32)
    body = """mad.wide.u32 %rd10, %r0, 4, %rd1;
ld.global.b32 %r9, [%rd10];
mad.wide.u32 %rd11, %r9, 4, %rd0;
and.b32 %r8, %r0, 3;
setp.{}.u32 %p1, %r8, 1;
@%p1 ld.global.b32 %r10, [%rd11];"""
    for condition, chosen in (("ge", np.arange(256) % 4 >= 1), ("ne", np.arange(256) % 4 != 1)):
        text = kernel(body.format(condition), 2)
        report = launch(text, "k", 4, 64, [x[skip:], index])
        line = report.lines[line_of(text, "@%p1 ld.global")]
        sector = index * 4 // 32
        rows = [sector[w * 32 : w * 32 + 32][chosen[w * 32 : w * 32 + 32]] for w in range(8)]
        assert line["global_load_sectors"] == sum(len(np.unique(r)) for r in rows)
        assert line["global_load_bytes"] == chosen.sum() * 4
        assert line["global_load_requests"] == 8
        assert line["source"] == "source.cu:6"


def test_sectors_of_any_order():
    index = np.random.default_rng(1).integers(0, 4096, 256).astype(np.int32)
    x = np.zeros(4096 + 8, dtype=np.float32)
    skip = -x.ctypes.data // 4 % 8
    text = kernel("mad.wide.u32 %rd10, %r0, 4, %rd1;\nld.global.b32 %r9, [%rd10];\nmad.wide.u32 %rd11, %r9, 4, %rd0;\n"
                  "ld.global.b32 %r10, [%rd11];", 2)  # fmt: skip
    line = launch(text, "k", 4, 64, [x[skip:], index]).lines[line_of(text, "ld.global.b32 %r10, [%rd11];")]
    assert line["global_load_sectors"] == sum(len(np.unique(row)) for row in (index * 4 // 32).reshape(8, 32))


def test_what_all_blocks_read_counts_for_each():
    """Each block also reads data of its own, some of it shared."""
    x = np.zeros(1024, dtype=np.float32)
    skip = -x.ctypes.data // 4 % 8
    common = "mad.wide.u32 %rd10, %r1, 4, %rd0;\nld.global.b32 %r10, [%rd10];"
    own = "\nmad.wide.u32 %rd11, %r0, 4, %rd0;\nld.global.b32 %r11, [%rd11];"
    one = "\nld.global.b32 %r12, [%rd0+4];"
    report = run(common, [x[skip:]], grid=3, block=64)
    assert (report.global_load_requests, report.global_load_sectors, report.unique_load_sectors) == (6, 24, 24)
    report = run(common + own, [x[skip:]], grid=3, block=64)
    assert (report.global_load_requests, report.global_load_sectors, report.unique_load_sectors) == (12, 48, 24 + 16)
    report = run(one, [x[skip:]], grid=3, block=64)
    assert (report.global_load_requests, report.global_load_sectors, report.unique_load_sectors) == (6, 6, 3)


def test_stores_and_unique_sectors():
    y = np.zeros(128 + 8, dtype=np.float32)
    skip = -y.ctypes.data // 4 % 8
    body = """mad.wide.u32 %rd10, %r0, 4, %rd0;
st.global.b32 [%rd10], %r0;
st.global.b32 [%rd10], %r0;"""
    report = run(body, [y[skip:]], grid=2, block=64)
    assert report.global_store_requests == 8
    assert report.global_store_sectors == 32
    assert report.unique_store_sectors == 16
    assert report.global_store_bytes == 1024
    assert report.global_load_requests == report.unique_load_sectors == 0


def slow_wavefronts(offsets, size):
    """Bank by bank, phase by phase, for one warp."""
    width = max(size, 4)
    lanes = 128 // width
    total = ideal = 0
    for start in range(0, 32, lanes):
        banks = {}
        for offset in offsets[start : start + lanes]:
            if offset is not None:
                for word in range(offset // 4, (offset + width + 3) // 4 if size >= 4 else offset // 4 + 1):
                    banks.setdefault(word % 32, set()).add(word)
        total += max((len(b) for b in banks.values()), default=0)
        ideal += bool(banks)
    return total, ideal


@pytest.mark.parametrize("size", [1, 2, 4, 8, 16])
def test_wavefronts_of_random_accesses(size):
    rng = np.random.default_rng(size)
    for trial in range(20):
        spread = int(rng.integers(1, 300))
        offsets = rng.integers(0, spread, 32) * size
        active = rng.random(32) < (1 if trial % 2 else 0.6)
        wanted = slow_wavefronts([int(o) if a else None for o, a in zip(offsets, active, strict=True)], size)
        assert wavefronts(offsets, size, active)[1:] == wanted
        if active.all():
            assert wavefronts(offsets, size)[1:] == wanted


@pytest.mark.parametrize(("stride", "waves"), [(1, 1), (2, 2), (3, 1), (4, 4), (32, 32), (33, 1), (0, 1)])
def test_bank_conflicts_of_a_kernel(stride, waves):
    text = f"""mul.lo.s32 %r5, %r1, {4 * stride};
mov.u32 %r6, s;
add.s32 %r7, %r6, %r5;
st.shared.b32 [%r7], %r3;"""
    report = run(text, [], grid=3, block=32, declarations=".shared .align 4 .b8 s[8192];")
    assert report.shared_store_requests == 3
    assert report.shared_wavefronts == 3 * waves
    assert report.shared_ideal_wavefronts == 3
    assert report.shared_store_bytes == 3 * 128


def test_conflicts_of_matrix_rows():
    """Rows 128 bytes apart meet in the banks, rows 144 bytes apart do not."""
    for row, waves in ((128, 32), (144, 4), (16, 4)):
        body = f"""mul.lo.s32 %r5, %r1, {row};
mov.u32 %r6, s;
add.s32 %r7, %r6, %r5;
mov.u32 %r8, 0;
st.shared.v4.b32 [%r7], {{%r8, %r8, %r8, %r8}};
ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{%r20, %r21, %r22, %r23}}, [%r7];"""
        text = kernel(body, 0, declarations=".shared .align 16 .b8 s[8192];")
        report = launch(text, "k", 2, 32, [])
        line = report.lines[line_of(text, "ldmatrix")]
        assert line["shared_wavefronts"] == 2 * waves
        assert line["shared_ideal_wavefronts"] == 2 * 4


def test_instructions_by_pipe_opcode_and_line():
    body = """mov.u32 %r9, 0;
$LOOP:
add.s32 %r9, %r9, 1;
fma.rn.f32 %r10, %r10, %r10, %r10;
setp.lt.u32 %p1, %r9, 10;
@%p1 bra $LOOP;
mul.lo.s32 %r11, %r9, %r9;
ex2.approx.f32 %r12, %r11;
bar.sync 0;"""
    text = kernel("mov.u32 %r10, 0;\n" + body, 0)
    report = launch(text, "k", 5, 96, [])
    warps = 15
    assert report.opcodes["fma.rn.f32"] == 10 * warps
    assert report.instructions["fma"] == 10 * warps
    assert report.instructions["mufu"] == warps
    assert report.instructions["imad"] == 2 * warps  # with the thread's number in the head
    assert report.barriers == warps
    line = report.lines[line_of(text, "fma.rn.f32")]
    assert line["instructions"] == 10 * warps
    assert line["source"] == "source.cu:5"
    assert report.issued == sum(report.opcodes.values()) == sum(report.instructions.values())
    assert report.by_source()["source.cu:5"]["instructions"] == 10 * warps
    assert report.to_dict()["barriers"] == warps


def test_a_warp_issues_while_one_of_its_threads_runs():
    body = """setp.eq.u32 %p1, %r0, 70;
@!%p1 bra $END;
mul.lo.s32 %r11, %r0, %r0;
$END:
mov.u32 %r10, 0;"""
    report = run(body, [], grid=2, block=64)
    assert report.opcodes["mul.lo.s32"] == 1
    assert report.opcodes["setp.eq.u32"] == 4
