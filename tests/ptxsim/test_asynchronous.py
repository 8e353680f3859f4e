"""cp.async: sizes, groups, and divergent threads."""

import numpy as np
import pytest

from tests.ptxsim.kernels import run

DECLARATIONS = ".shared .align 16 .b8 s[4096];"
HEAD = """mul.wide.u32 %rd10, %r0, {size};
add.s64 %rd11, %rd0, %rd10;
add.s64 %rd12, %rd1, %rd10;
mul.lo.s32 %r5, %r1, {size};
mov.u32 %r6, s;
add.s32 %r7, %r6, %r5;
"""


@pytest.mark.parametrize("size", [4, 8, 16])
def test_source_size_fills_with_zeros(size):
    x = np.random.default_rng(size).integers(1, 256, (64, size), dtype=np.uint8)
    y = np.full_like(x, 255)
    words = {4: "b32 %r10", 8: "b64 %rd20", 16: "v4.b32 {%r10, %r11, %r12, %r13}"}[size]
    kind, names = words.split(" ", 1)
    body = (
        HEAD.format(size=size)
        + f"""rem.u32 %r9, %r1, {size + 1};
cp.async.ca.shared.global [%r7], [%rd11], {size}, %r9;
cp.async.wait_all;
ld.shared.{kind} {names}, [%r7];
st.global.{kind} [%rd12], {names};"""
    )
    report = run(body, [x, y], grid=2, declarations=DECLARATIONS)
    for i in range(64):
        n = i % 32 % (size + 1)
        np.testing.assert_array_equal(y[i], np.where(np.arange(size) < n, x[i], 0))
    assert report.copy_bytes == 64 * size


def test_no_bytes_read_nothing():
    """With size 0 the source address is not checked."""
    y = np.zeros((32, 4), dtype=np.int32)
    body = (
        HEAD.format(size=16)
        + """mov.b64 %rd11, 64;
cp.async.cg.shared.global [%r7], [%rd11], 16, 0;
setp.eq.u32 %p1, %r1, %r1;
cp.async.cg.shared.global [%r7+512], [%rd11], 16, %p1;
cp.async.wait_all;
ld.shared.v4.b32 {%r10, %r11, %r12, %r13}, [%r7];
st.global.v4.b32 [%rd12], {%r10, %r11, %r12, %r13};"""
    )
    y[:] = -1
    run(body, [np.zeros(4), y], declarations=DECLARATIONS)
    assert not y.any()


def test_groups_per_thread():
    """Threads on a different path have a different number of groups."""
    x = np.arange(64, dtype=np.int32)
    y = np.zeros(64, dtype=np.int32)
    body = (
        HEAD.format(size=4)
        + """cp.async.ca.shared.global [%r7], [%rd11], 4;
cp.async.commit_group;
setp.lt.u32 %p1, %r1, 12;
@%p1 bra $A;
cp.async.ca.shared.global [%r7+1024], [%rd11], 4;
cp.async.commit_group;
cp.async.wait_group 1;
bra.uni $B;
$A:
cp.async.wait_group 0;
$B:
ld.shared.b32 %r10, [%r7];
st.global.b32 [%rd12], %r10;
cp.async.wait_all;
@%p1 bra $C;
ld.shared.b32 %r10, [%r7+1024];
add.s32 %r10, %r10, 100;
st.global.b32 [%rd12], %r10;
$C:
mov.u32 %r9, 0;"""
    )
    run(body, [x, y], grid=2, declarations=DECLARATIONS)
    np.testing.assert_array_equal(y, np.where(x % 32 < 12, x, x + 100))


def test_data_arrive_at_the_wait():
    """The old contents of shared memory disappear only at the wait, so that a plain read of the target is noticed."""
    x = np.arange(32, dtype=np.int32)
    y = np.zeros(32, dtype=np.int32)
    body = (
        HEAD.format(size=4)
        + """st.shared.b32 [%r7], %r3;
ld.shared.b32 %r11, [%r7];
bar.sync 0;
cp.async.ca.shared.global [%r7], [%rd11], 4;
cp.async.wait_all;
ld.shared.b32 %r10, [%r7];
add.s32 %r10, %r10, %r11;
st.global.b32 [%rd12], %r10;"""
    )
    run(body, [x, y], declarations=DECLARATIONS)
    np.testing.assert_array_equal(y, x + 32)
