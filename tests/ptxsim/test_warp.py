"""shfl, vote, redux, match, activemask compared with loops over lanes."""

import numpy as np
import pytest

from tests.ptxsim.kernels import run

N = 128
LOAD = """mul.wide.u32 %rd10, %r0, 4;
add.s64 %rd11, %rd0, %rd10;
add.s64 %rd12, %rd1, %rd10;
ld.global.b32 %r10, [%rd11];
and.b32 %r4, %r1, 31;
"""
STORE = "\nst.global.b32 [%rd12], %r11;"


def values(seed=0):
    return np.random.default_rng(seed).integers(0, 2**32, N, dtype=np.uint32)


def simulate(body, x, **options):
    out = np.zeros(N, dtype=np.uint32)
    run(LOAD + body + STORE, [x, out], grid=2, block=64, **options)
    return out


def shuffle(mode, lane, b, c):
    """Source lane and predicate, by the pseudo-code of the PTX ISA."""
    segment, clamp = c >> 8 & 31, c & 31
    top, low = (lane & segment) | (clamp & ~segment), lane & segment
    if mode == "up":
        j = lane - b
        p = j >= top
    elif mode == "down":
        j = lane + b
        p = j <= top
    elif mode == "bfly":
        j = lane ^ b
        p = j <= top
    else:
        j = low | (b & ~segment)
        p = j <= top
    return (j if p else lane), p


@pytest.mark.parametrize("register", [False, True])
@pytest.mark.parametrize("width", [32, 8])
@pytest.mark.parametrize("mode", ["up", "down", "bfly", "idx"])
def test_shuffle(mode, width, register):
    c = (32 - width) << 8 | (0 if mode == "up" else 31)
    x = values()
    b = "%r5" if register else "3"
    body = f"xor.b32 %r5, %r4, 6;\nshfl.sync.{mode}.b32 %r11|%p1, %r10, {b}, {c}, -1;\n@!%p1 add.s32 %r11, %r11, 1;"
    if mode in {"up", "down"} and register:
        body = "and.b32 %r5, %r4, 3;" + body[body.index("\n") :]
    out = simulate(body, x)
    for i in range(N):
        lane = i & 31
        amount = 3 if not register else (lane ^ 6 if mode in {"bfly", "idx"} else lane & 3)
        source, p = shuffle(mode, lane, amount, c)
        assert out[i] == (int(x[i - lane + source]) + (not p)) % 2**32


def test_shuffle_of_what_is_the_same_everywhere():
    assert (simulate("mov.u32 %r12, 7;\nshfl.sync.idx.b32 %r11, %r12, 0, 31, -1;", values()) == 7).all()


def test_votes():
    x = values(1) >> np.uint32(28)
    by_warp = x.reshape(-1, 32) < 5
    ballots = [sum(int(b) << i for i, b in enumerate(w)) for w in by_warp]
    setp = "setp.lt.u32 %p1, %r10, 5;\n"
    out = simulate(setp + "vote.sync.ballot.b32 %r11, %p1, -1;", x)
    np.testing.assert_array_equal(out, np.repeat(ballots, 32))
    few = x.copy()
    few[:32], few[32:64] = 3, 9
    lt = few.reshape(-1, 32) < 5
    for mode, expected in {
        "any": lt.any(axis=1), "all": lt.all(axis=1), "uni": lt.all(axis=1) | ~lt.any(axis=1),
    }.items():  # fmt: skip
        out = simulate(setp + f"vote.sync.{mode}.pred %p2, %p1, -1;\nselp.b32 %r11, 1, 0, %p2;", few)
        np.testing.assert_array_equal(out, np.repeat(expected, 32))
    out = simulate(setp + "vote.sync.any.pred %p2, !%p1, -1;\nselp.b32 %r11, 1, 0, %p2;", few)
    np.testing.assert_array_equal(out, np.repeat((~lt).any(axis=1), 32))


def test_active_threads():
    body = "mov.u32 %r11, 0;\nsetp.gt.u32 %p1, %r4, 4;\n@%p1 bra $B;\nactivemask.b32 %r11;\n$B:\nmov.u32 %r12, 0;"
    out = simulate(body, values())
    np.testing.assert_array_equal(out, np.where(np.arange(N) % 32 <= 4, 31, 0))


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("add", np.add),
        ("min", np.minimum),
        ("max", np.maximum),
        ("and", np.bitwise_and),
        ("or", np.bitwise_or),
        ("xor", np.bitwise_xor),
    ],
)
def test_reductions(name, function):
    x = values(2)
    kind = "b32" if name in {"and", "or", "xor"} else "s32"
    out = simulate(f"redux.sync.{name}.{kind} %r11, %r10, -1;", x).view(np.int32)
    rows = x.view(np.int32).reshape(-1, 32)
    np.testing.assert_array_equal(out, np.repeat(function.reduce(rows, axis=1, dtype=np.int32), 32))


def test_match():
    x = values(3) >> np.uint32(29)
    out = simulate("match.any.sync.b32 %r11, %r10, -1;", x)
    for i in range(N):
        row = x[i & ~31 : (i & ~31) + 32]
        assert out[i] == sum(int(v == x[i]) << j for j, v in enumerate(row))


def test_special_registers():
    body = """mov.u32 %r12, %laneid;
mov.u32 %r13, %lanemask_lt;
mov.u32 %r14, %ntid.x;
mov.u32 %r15, %nctaid.x;
add.s32 %r11, %r12, %r13;
add.s32 %r11, %r11, %r14;
add.s32 %r11, %r11, %r15;"""
    out = simulate(body, values())
    lane = np.arange(N) % 32
    np.testing.assert_array_equal(out, lane + 2**lane - 1 + 64 + 2)
