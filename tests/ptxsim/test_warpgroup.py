"""wgmma: operands in every layout and type, compared with numpy, and forbidden actions between its issue and the wait."""

import itertools
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import triton
from ptxsim.descriptors import descriptor
from ptxsim.instructions import warpgroup

from ptxsim import SimulationError, UnsupportedInstruction, launch
from tests.ptxsim import triton_kernels as kernels
from tests.ptxsim.kernels import line_of
from tests.ptxsim.warpgroups import (
    BYTES,
    FENCED,
    MODES,
    THREADS,
    Placed,
    accumulators,
    encoded,
    fragment_of_a,
    program,
    vector,
)  # fmt: skip

SIZE = 49152  # bytes of shared memory
BLOCKS = 3
ASSEMBLER = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas"


def integers(rng, *shape):
    """Small enough that sums of their products are exact, also in half precision."""
    return rng.integers(-3, 4, shape)


def product(
    kind, n, swizzle_a, swizzle_b, *, across_a=False, across_b=False, result="f32", scale="%p2", signs=(1, 1), use=True,
    data=None, **launched,
):  # fmt: skip
    """One wgmma: (what it gives, (64, n); A, B and the accumulators before). swizzle_a None: A in registers.

    data: the last three, of numbers that the types hold. launched: options of the launch.
    """
    rng = np.random.default_rng(n)
    k = 32 // BYTES[kind]
    a, b, old = data or (integers(rng, 64, k), integers(rng, n, k), integers(rng, 64, n))
    image = np.zeros(SIZE, dtype=np.uint8)
    right = Placed(image, 0, encoded(b, kind), swizzle_b, across=across_b)
    start = -(-right.end // 1024) * 1024
    registers = np.zeros((THREADS, 4), dtype=np.uint32)
    if swizzle_a is None:
        registers[:] = [fragment_of_a(encoded(a, kind), thread) for thread in range(THREADS)]
        left = "{%r30, %r31, %r32, %r33}"
    else:
        left = f"{Placed(image, start, encoded(a, kind), swizzle_a, across=across_a).descriptor:#x}"
    rows, columns = accumulators(n)
    held = old[rows, columns]
    before = encoded(held, "f16").view(np.uint32) if result == "f16" else held.astype(np.float32).view(np.uint32)
    transposed = [] if kind == "tf32" else [int(across_b)] if swizzle_a is None else [int(across_a), int(across_b)]
    count = before.shape[1]
    options = ", ".join(str(x) for x in (scale, *signs, *transposed))
    text = f"""mad.wide.u32 %rd24, %r1, 16, %rd3;
ld.global.v4.b32 {{%r30, %r31, %r32, %r33}}, [%rd24];
setp.eq.u32 %p2, 0, {0 if use else 1};
mov.b64 %rd30, {left if swizzle_a is not None else 0};
mov.b64 %rd31, {right.descriptor:#x};
{FENCED}wgmma.fence.sync.aligned;
wgmma.mma_async.sync.aligned.m64n{n}k{k}.{result}.{kind}.{kind} {vector(count)}, \
{left if swizzle_a is None else "%rd30"}, %rd31, {options};
wgmma.commit_group.sync.aligned;
wgmma.wait_group.sync.aligned 0;"""
    ptx = program(text, SIZE, count)
    after = np.zeros_like(before)
    report = launch(ptx, "k", 1, THREADS, [image, before, after, registers], uninitialised=[after], **launched)
    assert report.mma_multiply_adds == 64 * n * k
    found = np.zeros((64, n))
    found[rows, columns] = after.view(np.float16) if result == "f16" else after.view(np.float32)
    return found, a, b, old, ptx


ACROSS = list(itertools.product([False, True], repeat=2))


@pytest.mark.parametrize(("kind", "across"), [*itertools.product(("f16", "bf16"), ACROSS), ("tf32", ACROSS[0])], ids=str)
def test_every_swizzle_of_either_operand(kind, across):
    for swizzle_a, swizzle_b in itertools.product((16, 32, 64, 128), repeat=2):
        found, a, b, old, _ = product(kind, 64, swizzle_a, swizzle_b, across_a=across[0], across_b=across[1])
        np.testing.assert_array_equal(found, a @ b.T + old, err_msg=f"{swizzle_a} {swizzle_b}")


EXAMPLES = [
    # The ISA's worked examples: swizzle, across, elements in 16 bytes, LBO and SBO in elements, layout before the swizzle.
    (16, False, 4, 64, 32, ((8, 1 * 4), (2, 32)), ((4, 1), (2, 64))),
    (32, False, 4, None, 64, ((8, 8), (2, 64)), ((4, 1), (2, 4))),
    (16, True, 8, 128, 64, ((8, 1), (2, 64)), ((8, 8), (2, 128))),
    (32, True, 8, 128, 256, ((8, 1), (2, 8), (2, 128)), ((8, 16), (2, 256))),
    (64, True, 8, 256, 512, ((8, 1), (4, 8), (2, 256)), ((8, 32), (2, 512))),
]


@pytest.mark.parametrize(("swizzle", "across", "per", "leading", "stride", "outer", "inner"), EXAMPLES)
def test_the_worked_examples_of_the_isa(swizzle, across, per, leading, stride, outer, inner):
    size = 16 // per
    value = (0 if leading is None else leading * size >> 4) << 16 | (stride * size >> 4) << 32 | MODES[swizzle] << 62
    there = descriptor(value)
    count = [int(np.prod([n for n, _ in modes])) for modes in (outer, inner)]
    expected = [[(_place(r, outer) + _place(c, inner)) * size for c in range(count[1])] for r in range(count[0])]
    # A second swizzle restores the bits: the swizzle does not change the bits that it reads.
    np.testing.assert_array_equal(there.swizzled(there.offsets(*count, size, across)), expected)


def _place(index, modes):
    """The place by CuTe's layout ((n0, stride0), (n1, stride1), …), whose first index is the fastest."""
    place = 0
    for n, stride in modes:
        index, digit = divmod(index, n)
        place += digit * stride
    return place


@pytest.mark.parametrize("kind", ["f16", "bf16", "tf32"])
def test_every_width_with_a_from_registers_and_from_memory(kind):
    for n, swizzle_a in itertools.product((8, 16, 24, 72, 128, 200, 256), (None, 32)):
        found, a, b, old, _ = product(kind, n, swizzle_a, 16)
        np.testing.assert_array_equal(found, a @ b.T + old, err_msg=f"{n}")


def test_accumulators_of_half_precision_signs_and_scale():
    for result, signs, use in itertools.product(("f16", "f32"), ((1, 1), (-1, 1), (1, -1), (-1, -1)), (True, False)):
        found, a, b, old, _ = product("f16", 40, None, 64, across_b=True, result=result, signs=signs, use=use)
        np.testing.assert_array_equal(found, signs[0] * signs[1] * (a @ b.T) + use * old)
    found, a, b, _, _ = product("f16", 40, 128, 128, scale="0")
    np.testing.assert_array_equal(found, a @ b.T)


def assembles(ptx, folder):
    """Whether the assembler accepts a kernel, and its message."""
    (folder / "k.ptx").write_text(ptx)
    command = [ASSEMBLER, "-arch=sm_90a", folder / "k.ptx", "-o", folder / "k.cubin"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("kind", "n", "swizzle_a", "result"), [
    ("f16", 64, 128, "f32"), ("tf32", 8, None, "f32"), ("f16", 40, None, "f16"), ("bf16", 128, None, "f32"),
])  # fmt: skip
def test_the_assembler_takes_these_kernels(kind, n, swizzle_a, result, tmp_path):
    good, said = assembles(product(kind, n, swizzle_a, 32, result=result)[-1], tmp_path)
    assert good, said


# Forbidden actions. The kernel multiplies A in registers, m64n8k16, by B in shared memory at byte 0.

LOAD = """mad.wide.u32 %rd24, %r1, 16, %rd3;
ld.global.v4.b32 {%r30, %r31, %r32, %r33}, [%rd24];
mov.b64 %rd31, DESCRIPTOR;
"""
MULTIPLY = f"wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {vector(4)}, {{%r30, %r31, %r32, %r33}}, %rd31, 1, 1, 1, 0;"
COMMIT, WAIT = "wgmma.commit_group.sync.aligned;", "wgmma.wait_group.sync.aligned 0;"
ISSUE = ["wgmma.fence.sync.aligned;", MULTIPLY, COMMIT]
CLEAN = [*FENCED.splitlines(), *ISSUE, WAIT]


def simulated(lines, *, value=None, head="", **options):
    rng = np.random.default_rng(5)
    a, b = integers(rng, 64, 16), integers(rng, 8, 16)
    image = np.zeros(SIZE, dtype=np.uint8)
    placed = Placed(image, 0, encoded(b, "f16"), 32, across=False)
    registers = np.array([fragment_of_a(encoded(a, "f16"), thread) for thread in range(THREADS)], dtype=np.uint32)
    before = np.zeros((BLOCKS * THREADS, 4), dtype=np.float32)
    after = np.full_like(before, np.nan)
    text = LOAD.replace("DESCRIPTOR", hex(placed.descriptor if value is None else value)) + head + "\n".join(lines)
    ptx = program(text, SIZE, 4)
    report = launch(ptx, "k", BLOCKS, THREADS, [image, before, after, registers], **options)
    rows, columns = accumulators(8)
    return report, ptx, after, np.tile((a @ b.T)[rows, columns], (BLOCKS, 1))


def caught(lines, kind, bad, **options):
    """Check that only the planted bug is found, in its line; returns the finding."""
    with pytest.raises(SimulationError) as error:
        simulated(lines, **options)
    report, ptx, _, _ = simulated(lines, check="collect", **options)
    (finding,) = error.value.findings
    assert finding.kind == kind
    assert finding.line == line_of(ptx, bad)
    assert {each.kind for each in report.findings} == {kind}
    return finding


def before(line, *new):
    """The clean kernel with lines inserted before one of its lines."""
    at = CLEAN.index(line)
    return [*CLEAN[:at], *new, *CLEAN[at:]]


def without(*left_out):
    return [line for line in CLEAN if line not in left_out]


def clean(lines, **options):
    _, _, found, expected = simulated(lines, **options)
    np.testing.assert_array_equal(found, expected)


def test_the_kernel_without_a_bug():
    clean(CLEAN)


TOUCHED = "wgmma register touched before wait"


@pytest.mark.parametrize(
    "bad", ["add.f32 %f20, %f3, %f3;", "setp.lt.f32 %p6, %f1, %f2;", "mov.b32 %f2, 0;", "add.u32 %r30, %r30, 1;"]
)
def test_a_register_touched_between_issue_and_wait(bad):
    finding = caught(before(WAIT, bad), TOUCHED, bad)
    assert ("accumulator" in finding.message) == ("%f" in bad)
    clean([*CLEAN, bad.replace("%f2, 0", "%f20, 0")])


def test_a_register_in_flight_may_get_another_name_but_not_be_touched_by_it():
    clean(before(WAIT, "mov.b32 %f20, %f0;", "mov.b32 %f0, %f20;"))
    caught(before(WAIT, "mov.b32 %f20, %f0;", "add.f32 %f21, %f20, %f20;"), TOUCHED, "add.f32 %f21")
    caught(before(WAIT, "mov.b64 %rd40, {%f0, %f1};", "add.s64 %rd41, %rd40, 1;"), TOUCHED, "add.s64 %rd41")


@pytest.mark.parametrize("change", [(WAIT, WAIT.replace("0;", "1;")), (COMMIT, ""), (WAIT, "")])
def test_a_wait_that_does_not_wait_for_it(change):
    lines = [line.replace(*change) for line in CLEAN]
    with pytest.raises(SimulationError, match=TOUCHED) as error:
        simulated(lines)
    assert "st.global.b32 [%rd23+0]" in error.value.findings[0].text


def test_groups_are_waited_for_in_their_order():
    second = [line.replace("%f", "%f4").replace("%r3", "%r4") for line in ISSUE]
    copies = [f"mov.b32 %r4{i}, %r3{i};\nmov.b32 %f4{i}, 0;" for i in range(4)]
    waits = [WAIT.replace("0;", "1;")]
    clean([*FENCED.splitlines(), *copies, *ISSUE, *second, *waits, "add.f32 %f20, %f0, %f0;", WAIT])
    bad = "add.f32 %f20, %f40, %f40;"
    caught([*FENCED.splitlines(), *copies, *ISSUE, *second, *waits, bad, WAIT], TOUCHED, bad)


def test_accumulators_in_flight_as_those_of_another_shape():
    wider = MULTIPLY.replace("n8", "n16").replace(vector(4), vector(8))
    start = ["mov.b32 %f4, 0;\nmov.b32 %f5, 0;\nmov.b32 %f6, 0;\nmov.b32 %f7, 0;"]
    clean([*FENCED.splitlines(), ISSUE[0], MULTIPLY, MULTIPLY.replace(", 1, 1, 1, 0", ", 0, 1, 1, 0"), COMMIT, WAIT])
    finding = caught([*FENCED.splitlines(), *start, ISSUE[0], MULTIPLY, wider, COMMIT, WAIT], TOUCHED, wider)
    assert "m64n8k16 is used by another wgmma as an accumulator of a wgmma m64n16k16" in finding.message


def test_a_missing_wgmma_fence():
    bad = MULTIPLY
    caught(without(ISSUE[0]), "missing wgmma.fence", bad)
    first = "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%f10, %f11, %f12, %f13}, %rd31, %rd31, 0, 1, 1, 0, 0;"
    untouched = [*FENCED.splitlines(), first, COMMIT, WAIT]
    assert "no wgmma.fence stands before the first" in caught(untouched, "missing wgmma.fence", first).message
    simulated([*FENCED.splitlines(), ISSUE[0], first, COMMIT, WAIT])
    touched = before(MULTIPLY, "add.u32 %r30, %r30, 0;")
    caught(touched, "missing wgmma.fence", bad)
    # As compilers do: a constant, or another name, after the fence.
    clean(before(MULTIPLY, "mov.b32 %r40, %r30;", "mov.b32 %r30, %r40;", "mov.b32 %f2, 0;"))


FENCE, BARRIER = FENCED.splitlines()
ONLY_FIRST = "shr.u32 %r50, %r1, 5;\nsetp.eq.u32 %p5, %r50, 0;\n"


@pytest.mark.parametrize("lines", [[BARRIER], [FENCE.join(["@%p5 ", ""]), BARRIER], [BARRIER, f"@%p5 {FENCE}"]], ids=str)
def test_a_missing_proxy_fence(lines):
    """No fence at all, or one by a warp that does not cover the others."""
    second = ONLY_FIRST.replace("%r50, 0", "%r50, 1")  # the operand is the first one's
    finding = caught([*lines, *ISSUE, WAIT], "missing proxy fence", MULTIPLY, head=second)
    assert "without a fence.proxy.async between" in finding.message


def test_a_proxy_fence_may_stand_before_the_barrier_or_after_it():
    clean([BARRIER, FENCE, *ISSUE, WAIT])
    clean([FENCE.replace("async", "async.shared::cta"), BARRIER, *ISSUE, WAIT])
    # One warp writes data that it is told are there already: it fences for itself, and the others come after.
    again = ["ld.shared.b32 %r51, [s];", BARRIER, f"@%p6 st.shared.b32 [s], %r51;\n@%p6 {FENCE}", BARRIER]
    one = ONLY_FIRST + "setp.eq.u32 %p6, %r1, 0;\n"
    clean([BARRIER, FENCE, BARRIER, *again, *ISSUE, WAIT], head=one)
    late = again[-2].replace("\n@%p6 " + FENCE, "")
    caught([BARRIER, FENCE, BARRIER, *again[:2], late, BARRIER, *ISSUE, WAIT], "missing proxy fence", MULTIPLY, head=one)


def test_an_operand_that_other_warps_still_write():
    finding = caught(without(BARRIER), "shared memory race", MULTIPLY)
    assert "B of a wgmma reads offset" in finding.message


def test_an_operand_overwritten_before_the_wait():
    bad = "@%p5 st.shared.b32 [s+64], %r1;"
    head = "setp.eq.u32 %p5, %r1, 3;\n"
    finding = caught(before(WAIT, bad), "asynchronous operand overwritten", bad, head=head)
    assert "a wgmma of warpgroup 0" in finding.message
    clean([*CLEAN, bad], head=head)
    clean(before(WAIT, bad.replace("s+64", "s+4096")), head=head)


def test_an_operand_that_a_copy_is_still_under_way_to():
    copy = ["add.s64 %rd25, %rd0, 512;\n@%p5 cp.async.ca.shared.global [s+48], [%rd25], 4;", "cp.async.commit_group;"]
    head = "setp.eq.u32 %p5, %r1, 3;\n"
    lines = [BARRIER, *copy, BARRIER, FENCE, *ISSUE, WAIT, "cp.async.wait_all;"]
    caught(lines, "asynchronous copy read before wait", MULTIPLY, head=head)
    lines = [BARRIER, *copy, "cp.async.wait_group 0;", BARRIER, FENCE, *ISSUE, WAIT]
    simulated(lines, head=head)


def test_a_descriptor_outside_its_memory():
    value = SIZE >> 4 | 1 << 16 | 16 << 32 | 3 << 62
    finding = caught(CLEAN, "descriptor out of bounds", MULTIPLY, value=value)
    assert f"reaches to byte {SIZE + 256} of {SIZE}" in finding.message
    simulated(CLEAN, value=value - 16)


def test_a_descriptor_within_its_pattern():
    value = 128 >> 4 | 1 << 16 | 16 << 32 | 1 << 62
    caught(CLEAN, "misaligned descriptor", MULTIPLY, value=value)
    simulated(CLEAN, value=value - 8)
    with pytest.raises(UnsupportedInstruction, match="base offset"):
        simulated(CLEAN, value=value | 1 << 49)


def test_operands_that_differ_in_a_warpgroup():
    bad = "selp.b64 %rd31, %rd31, 4096, %p5;"
    caught(before(ISSUE[0], bad), "operand not the same in the warpgroup", MULTIPLY, head=ONLY_FIRST)


def test_memory_that_nothing_has_written():
    """The second half of shared memory is declared but not filled."""
    text = program(
        "\n".join([LOAD.replace("DESCRIPTOR", hex(1 << 16 | 16 << 32 | 3 << 62 | (SIZE - 1024) >> 4)), *CLEAN]), SIZE, 4
    )
    text = text.replace(f"setp.lt.u32 %p1, %r8, {SIZE // 2048};", "setp.lt.u32 %p1, %r8, 2;")
    arrays = [
        np.zeros(SIZE, np.uint8),
        np.zeros((THREADS, 4), np.float32),
        np.zeros((THREADS, 4), np.float32),
        np.zeros(512, np.uint32),
    ]
    with pytest.raises(SimulationError, match="uninitialised shared read"):
        launch(text, "k", 1, THREADS, arrays)


def test_a_part_of_a_warpgroup():
    skip = [f"@%p5 bra $END;\n{MULTIPLY}", COMMIT, WAIT, "$END:"]
    caught([FENCE, BARRIER, ISSUE[0], *skip], "partial warpgroup", MULTIPLY, head=ONLY_FIRST)
    late = [FENCE, BARRIER, f"@%p5 bra $END;\n{ISSUE[0]}", MULTIPLY, COMMIT, WAIT, "$END:\nbar.sync 0;"]
    with pytest.raises(SimulationError, match="partial warpgroup") as error:
        simulated(late, head=ONLY_FIRST)
    assert error.value.findings[0].text == ISSUE[0]


def test_threads_that_went_ahead_wait_at_the_fence():
    """One warp arrives later: the wgmma is still that of all four."""
    loop = "$LATER:\nadd.u32 %r52, %r52, 1;\nsetp.lt.u32 %p6, %r52, 5;\n@%p6 bra $LATER;\nbra $JOIN;\n$ON:"
    later = ["@!%p5 bra $ON;\nmov.u32 %r52, 0;", loop]
    clean([FENCE, BARRIER, *later, "$JOIN:", *ISSUE, WAIT], head=ONLY_FIRST)


@pytest.mark.parametrize("text", [
    "wgmma.mma_async.sync.aligned.m64n8k32.f32.e4m3.e4m3 {%f0, %f1, %f2, %f3}, %rd31, %rd31, 1, 1, 1;",
    "wgmma.mma_async.sync.aligned.m64n8k32.s32.s8.s8 {%f0, %f1, %f2, %f3}, %rd31, %rd31, 1;",
    "wgmma.mma_async.sp.sync.aligned.m64n8k32.f32.f16.f16 {%f0, %f1, %f2, %f3}, %rd31, %rd31, %r30, 0, 1, 1, 1, 0, 0;",
    "wgmma.mma_async.sync.aligned.m64n12k16.f32.f16.f16 {%f0, %f1, %f2, %f3, %f4, %f5}, %rd31, %rd31, 1, 1, 1, 0, 0;",
])  # fmt: skip
def test_other_products_are_refused_by_name(text):
    with pytest.raises(UnsupportedInstruction, match="wgmma.mma_async"):
        simulated(before(WAIT, text))


# Triton's products, exact against numpy: an independent statement of the same layouts.

TYPES = {torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16"}
SHAPES = [
    # M, N, K, A and B along M and N, A from registers; 16, 32 and 64 columns have swizzles of 32, 64 and 128 bytes.
    (torch.float16, 64, 16, 16, (False, False, False)),
    (torch.float16, 64, 32, 32, (False, True, False)),
    (torch.float16, 128, 64, 64, (False, True, True)),
    (torch.float16, 64, 128, 64, (True, False, False)),
    (torch.bfloat16, 64, 16, 128, (True, True, False)),
    (torch.bfloat16, 64, 256, 32, (False, True, True)),
    (torch.float32, 64, 16, 16, (False, False, False)),
    (torch.float32, 128, 64, 64, (False, True, True)),
]


@pytest.mark.parametrize(("dtype", "m", "n", "k", "how"), SHAPES, ids=str)
def test_tritons_products_of_integers_are_exact(dtype, m, n, k, how):
    generator = torch.Generator().manual_seed(m + n + k)
    a, b = (torch.randint(-8, 9, shape, generator=generator).to(dtype) for shape in ((m, k), (k, n)))
    across_a, across_b, from_registers = how
    a = a.t().contiguous().t() if across_a else a
    b = b if across_b else b.t().contiguous().t()
    c = torch.full((m, n), float("nan"))
    signature = {"a": TYPES[dtype], "b": TYPES[dtype], "c": "*fp32"}
    constants = {"M": m, "N": n, "K": k, "AM": a.stride(0), "AK": a.stride(1), "BK": b.stride(0), "BN": b.stride(1)}
    constants["FROM_REGISTERS"] = from_registers
    ptx, shared = kernels.compiled(kernels.product, 90, signature, constants, tuple(signature))
    report = launch(ptx, "product", 1, 128, [a, b, c], shared=shared, uninitialised=[c])
    assert torch.equal(c.double(), (1 + from_registers) * a.double() @ b.double())
    assert any(name.startswith("wgmma.mma_async") for name in report.opcodes)
    assert report.mma_multiply_adds == m * n * k


def test_they_have_every_swizzle_and_both_orders(monkeypatch):
    """Among `SHAPES`, according to the descriptors."""
    seen = set()

    def spied(self, m, operand, *rest):
        seen.update((descriptor(int(v)).swizzle, operand.transposed) for v in np.unique(m.registers[operand.slot]))
        return original(self, m, operand, *rest)

    original = warpgroup._Product._operand
    monkeypatch.setattr(warpgroup._Product, "_operand", spied)
    for shape in SHAPES[:6]:
        test_tritons_products_of_integers_are_exact(*shape)
    assert seen == set(itertools.product((32, 64, 128), (False, True)))
