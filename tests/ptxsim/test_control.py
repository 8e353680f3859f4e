"""Branches, loops, divergence, predicates and barriers."""

import numpy as np
import pytest

from ptxsim import UnsupportedInstruction, launch
from tests.ptxsim.kernels import kernel, run

STORE = "\nmul.wide.u32 %rd10, %r0, 4;\nadd.s64 %rd11, %rd0, %rd10;\nst.global.b32 [%rd11], %r10;"


def simulate(body, n=256, block=64, **options):
    out = np.zeros(n, dtype=np.int32)
    report = run(body + STORE, [out], grid=n // block, block=block, **options)
    return out, report


def test_nested_branches():
    body = """setp.lt.u32 %p1, %r1, 20;
and.b32 %r9, %r0, 1;
setp.eq.u32 %p2, %r9, 0;
@%p1 bra $LOW;
@%p2 bra $HIGH_EVEN;
mov.u32 %r10, 3;
bra.uni $END;
$HIGH_EVEN:
mov.u32 %r10, 2;
bra.uni $END;
$LOW:
@!%p2 bra $LOW_ODD;
mov.u32 %r10, 0;
bra.uni $END;
$LOW_ODD:
mov.u32 %r10, 1;
$END:"""
    out, _ = simulate(body)
    i = np.arange(256)
    np.testing.assert_array_equal(out, 2 * (i % 64 >= 20) + i % 2)


def test_loops_of_different_length_per_thread_and_block():
    body = """mad.lo.s32 %r9, %r2, 7, %r1;
mov.u32 %r10, 0;
$LOOP:
setp.eq.u32 %p1, %r9, 0;
@%p1 bra $DONE;
and.b32 %r8, %r9, 3;
setp.eq.u32 %p2, %r8, 2;
@%p2 bra $SKIP;
add.s32 %r10, %r10, %r9;
$SKIP:
add.s32 %r9, %r9, -1;
bra.uni $LOOP;
$DONE:"""
    out, report = simulate(body)
    i = np.arange(256)
    n = i // 64 * 7 + i % 64
    np.testing.assert_array_equal(out, [sum(k for k in range(v + 1) if k & 3 != 2) for v in n])
    # A warp runs as long as its last thread.
    assert report.opcodes["add.s32"] > 0
    loops = [max(v) for v in n.reshape(-1, 32)]
    assert report.opcodes["and.b32"] == sum(loops)


def test_threads_that_return_early():
    out, _ = simulate("setp.gt.u32 %p1, %r0, 100;\n@%p1 ret;\nmov.u32 %r10, 5;")
    np.testing.assert_array_equal(out, np.where(np.arange(256) <= 100, 5, 0))


def test_predicated_writes_keep_other_threads():
    out, _ = simulate("mov.u32 %r10, %r0;\nsetp.lt.u32 %p1, %r1, 3;\n@%p1 mov.u32 %r10, 1000;\n@!%p1 add.s32 %r10, %r10, 1;")
    i = np.arange(256)
    np.testing.assert_array_equal(out, np.where(i % 64 < 3, 1000, i + 1))


def test_branch_table():
    body = """and.b32 %r9, %r0, 3;
$TABLE: .branchtargets $A, $B, $C, $A;
brx.idx %r9, $TABLE;
$A:
mov.u32 %r10, 10;
bra $END;
$B:
mov.u32 %r10, 11;
bra $END;
$C:
mov.u32 %r10, 12;
$END:"""
    out, _ = simulate(body)
    np.testing.assert_array_equal(out, np.array([10, 11, 12, 10])[np.arange(256) % 4])


@pytest.mark.parametrize("block", [1, 33, 100])
def test_blocks_that_are_no_whole_warps(block):
    body = """.shared .align 4 .b8 s[512];
mov.u32 %r6, s;
shl.b32 %r7, %r1, 2;
add.s32 %r8, %r6, %r7;
st.shared.b32 [%r8], %r1;
bar.sync 0;
sub.s32 %r9, %r3, %r1;
add.s32 %r9, %r9, -1;
shl.b32 %r9, %r9, 2;
add.s32 %r9, %r6, %r9;
ld.shared.b32 %r10, [%r9];"""
    out, _ = simulate(body, n=3 * block, block=block)
    np.testing.assert_array_equal(out, np.tile(np.arange(block)[::-1], 3))


def test_grids_and_blocks_of_three_dimensions():
    body = """mov.u32 %r4, %tid.y;
mov.u32 %r5, %tid.z;
mov.u32 %r6, %ctaid.y;
mov.u32 %r7, %ctaid.z;
mad.lo.s32 %r8, %r5, 3, %r4;
mad.lo.s32 %r8, %r8, 4, %r1;
mad.lo.s32 %r9, %r7, 3, %r6;
mad.lo.s32 %r9, %r9, 2, %r2;
mad.lo.s32 %r0, %r9, 24, %r8;
mad.lo.s32 %r10, %r9, 1000, %r8;"""
    out = np.zeros(30 * 24, dtype=np.int32)
    run(body + STORE, [out], grid=(2, 3, 5), block=(4, 3, 2))
    np.testing.assert_array_equal(out, np.arange(30)[:, None].repeat(24, 1).ravel() * 1000 + np.tile(np.arange(24), 30))


def test_barriers_of_warps_that_come_by_different_ways():
    """The first warp waits at one barrier, the second at another with the same number."""
    body = """.shared .align 4 .b8 s[256];
mov.u32 %r6, s;
shl.b32 %r7, %r1, 2;
add.s32 %r8, %r6, %r7;
setp.lt.u32 %p1, %r1, 32;
@%p1 bra $FIRST;
bar.sync 0;
xor.b32 %r9, %r7, 128;
add.s32 %r9, %r6, %r9;
ld.shared.b32 %r10, [%r9];
bra.uni $END;
$FIRST:
st.shared.b32 [%r8], %r1;
bar.sync 0;
mov.u32 %r10, 77;
$END:"""
    out, report = simulate(body)
    i = np.arange(256) % 64
    np.testing.assert_array_equal(out, np.where(i < 32, 77, i - 32))
    assert report.barriers == 8


def test_named_barrier_of_a_part_of_the_block():
    body = """setp.ge.u32 %p1, %r1, 64;
@%p1 bra $END;
bar.sync 1, 64;
$END:
mov.u32 %r10, 1;
bar.sync 0;"""
    out, _ = simulate(body, n=192, block=96)
    assert (out == 1).all()


def test_reducing_barrier():
    body = """mov.u32 %r10, 0;
setp.eq.u32 %p1, %r0, 70;
bar.red.or.pred %p2, 0, %p1;
bar.red.and.pred %p3, 0, !%p1;
bar.red.popc.u32 %r9, 0, !%p1;
@%p2 add.s32 %r10, %r10, 1000;
@%p3 add.s32 %r10, %r10, 2000;
add.s32 %r10, %r10, %r9;"""
    out, _ = simulate(body)
    block = np.arange(256) // 64
    np.testing.assert_array_equal(out, np.where(block == 1, 1063, 2064))


def test_many_blocks_in_batches():
    out, report = simulate("mov.u32 %r10, %r2;", n=64 * 333)
    np.testing.assert_array_equal(out, np.arange(64 * 333) // 64)
    assert report.blocks == 333


def test_unsupported_instructions_are_named_before_anything_runs():
    out = np.zeros(4, dtype=np.int32)
    body = "st.global.b32 [%rd0], %r1;\ntcgen05.wait::ld.sync.aligned;"
    with pytest.raises(UnsupportedInstruction, match=r"tcgen05\.wait::ld\.sync\.aligned \(PTX line \d+"):
        run(body, [out])
    with pytest.raises(UnsupportedInstruction, match="mma.sync.aligned.m8n8k4"):
        run("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%rd1,%rd2}, {%rd3}, {%rd4}, {%rd1,%rd2};", [out])
    for modifier in ("add.rn.new.f32 %r1, %r2, %r3;", "ld.global.L1::no_such.strange.b32 %r1, [%rd0];"):
        with pytest.raises(UnsupportedInstruction):
            run(modifier, [out])
    assert not out.any()


def test_wrong_calls():
    text = kernel("mov.u32 %r10, 0;", 3)
    x = np.zeros(4, dtype=np.float32)
    with pytest.raises(KeyError, match="no kernel 'other'"):
        launch(text, "other", 1, 32, [x])
    launch(text, "k", 1, 32, [x])  # the last two pointers are null
    for args in ([], [x, x, x, x]):
        with pytest.raises(TypeError, match="takes 3 arguments"):
            launch(text, "k", 1, 32, args)
    with pytest.raises(ValueError, match="1024 threads"):
        launch(text, "k", 1, (64, 32), [x])
    with pytest.raises(ValueError, match="'raise' or 'collect'"):
        launch(text, "k", 1, 32, [x], check="maybe")
    with pytest.raises(KeyError, match="nothing"):
        launch(text, "k", 1, 32, [x], symbols={"nothing": x})
