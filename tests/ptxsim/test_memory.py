"""Loads and stores of every space, width and vector, generic addresses, parameters and module variables."""

import numpy as np
import pytest
import torch

from ptxsim import launch
from tests.ptxsim.kernels import kernel, run

VECTORS = [(8, 1), (8, 2), (8, 4), (16, 1), (16, 2), (16, 4), (32, 1), (32, 2), (32, 4), (64, 1), (64, 2)]


@pytest.mark.parametrize(("bits", "count"), VECTORS)
@pytest.mark.parametrize("space", ["global", "shared", "local", "generic", "generic shared", "generic local"])
def test_vectors_go_there_and_back(space, bits, count):
    size = bits // 8 * count
    x = np.random.default_rng(bits + count).integers(0, 256, (96, size), dtype=np.uint8)
    y = np.zeros_like(x)
    prefix = {8: "rs", 16: "rs", 32: "r", 64: "rd"}[bits]
    one, two = ("{" + ", ".join(f"%{prefix}{n + i}" for i in range(count)) + "}" for n in (20, 30))
    if count == 1:
        one, two = one.strip("{}"), two.strip("{}")
    kind = f"{'v' + str(count) + '.' if count > 1 else ''}b{bits}"
    body = f"""mul.wide.u32 %rd10, %r0, {size};
add.s64 %rd11, %rd0, %rd10;
add.s64 %rd12, %rd1, %rd10;
ld.global.{kind} {one}, [%rd11];
mul.wide.u32 %rd13, %r1, {size};
"""
    if "shared" in space:
        body += "mov.u64 %rd14, s;\nadd.s64 %rd15, %rd14, %rd13;\n"
    elif "local" in space:
        body += f"and.b32 %r9, %r1, 1;\nmul.wide.u32 %rd14, %r9, {size};\nmov.u64 %rd16, depot;\nadd.s64 %rd15, %rd14, %rd16;\n"
    else:
        body += "mov.b64 %rd15, %rd12;\n"
    if space.startswith("generic "):
        body += f"cvta.{space.split()[1]}.u64 %rd15, %rd15;\n"
    dot = "" if space.startswith("generic") else f".{space}"
    body += f"st{dot}.{kind} [%rd15], {one};\nld{dot}.{kind} {two}, [%rd15];\nst.global.{kind} [%rd12], {two};"
    declarations = ".shared .align 16 .b8 s[512];\n.local .align 16 .b8 depot[32];"
    run(body, [x, y], grid=3, block=32, declarations=declarations)
    np.testing.assert_array_equal(x, y)


def test_vectors_of_32_bytes():
    """As newer processors have; numpy's buffers may start anywhere."""
    raw = np.random.default_rng(0).integers(0, 2**32, 64 * 8 + 8, dtype=np.uint32)
    x = raw[-raw.ctypes.data // 4 % 8 :][: 64 * 8]
    out = np.zeros(64 * 8 + 8, dtype=np.uint32)
    y = out[-out.ctypes.data // 4 % 8 :][: 64 * 8]
    names = "{" + ", ".join(f"%r{20 + i}" for i in range(8)) + "}"
    body = f"""mad.wide.u32 %rd10, %r0, 32, %rd0;
mad.wide.u32 %rd11, %r0, 32, %rd1;
ld.global.v8.b32 {names}, [%rd10];
st.global.v8.b32 [%rd11], {names};"""
    report = run(body, [x, y], grid=2, uninitialised=[y])
    np.testing.assert_array_equal(x, y)
    assert report.global_load_sectors == report.global_store_sectors == 64


def test_a_negative_register_and_its_offset_meet_in_the_middle():
    """Compilers write this for shared memory; the sum has the register's 32 bits."""
    y = np.zeros(32, dtype=np.uint32)
    body = """mad.lo.s32 %r10, %r1, 4, -124;
st.shared.u32 [%r10+124], %r1;
mad.lo.s32 %r11, %r1, 4, 0;
ld.shared.u32 %r12, [%r11];
mad.wide.u32 %rd10, %r0, 4, %rd0;
st.global.u32 [%rd10], %r12;"""
    run(body, [y], declarations=".shared .align 16 .b8 s[128];")
    np.testing.assert_array_equal(y, np.arange(32))


def test_generic_addresses_of_different_spaces_at_once():
    """Even threads read shared memory, odd threads global memory, through one load."""
    x, y = np.arange(100, 164, dtype=np.int32), np.zeros(64, dtype=np.int32)
    body = """mul.wide.u32 %rd10, %r0, 4;
add.s64 %rd11, %rd0, %rd10;
add.s64 %rd12, %rd1, %rd10;
mov.u64 %rd13, s;
add.s64 %rd13, %rd13, %rd10;
st.shared.b32 [%rd13], %r1;
cvta.shared.u64 %rd14, %rd13;
and.b32 %r9, %r1, 1;
setp.eq.u32 %p1, %r9, 0;
selp.b64 %rd15, %rd14, %rd11, %p1;
ld.b32 %r10, [%rd15];
add.s32 %r10, %r10, 1;
st.b32 [%rd15], %r10;
setp.gt.u32 %p3, %r1, 9;
@!%p3 mov.b64 %rd15, 64;
mov.u32 %r11, 5;
@%p3 ld.b32 %r11, [%rd15];
@%p3 st.b32 [%rd15], %r11;
isspacep.shared %p2, %rd15;
@%p2 add.s32 %r11, %r11, 1000;
st.global.b32 [%rd12], %r11;"""
    run(body, [x, y], block=64, declarations=".shared .align 4 .b8 s[256];")
    i = np.arange(64)
    np.testing.assert_array_equal(y, np.where(i <= 9, 5, np.where(i % 2 == 0, i + 1001, i + 101)))
    np.testing.assert_array_equal(x, np.where(i % 2 == 0, i + 100, i + 101))


@pytest.mark.parametrize(("kind", "dtype"), [("u8", "uint8"), ("s8", "int8"), ("u16", "uint16"), ("s16", "int16")])
def test_narrow_loads_fill_the_register(kind, dtype):
    x = np.arange(-16, 16).astype(dtype)
    y = np.zeros(32, dtype=np.int32)
    size = x.itemsize
    body = f"""mul.wide.u32 %rd10, %r0, {size};
add.s64 %rd11, %rd0, %rd10;
mad.wide.u32 %rd12, %r0, 4, %rd1;
ld.global.{kind} %r10, [%rd11];
st.global.b32 [%rd12], %r10;"""
    run(body, [x, y])
    np.testing.assert_array_equal(y, x.astype(np.int32))


def test_parameters_of_every_type():
    text = """.version 8.7
.target sm_80
.address_size 64
.visible .entry k(.param .u64 .ptr .global .align 1 p0, .param .u8 p1, .param .s16 p2, .param .b32 p3, .param .f32 p4,
  .param .f64 p5, .param .align 8 .b8 p6[12], .param .b16 p7)
{
.reg .b16 %rs<9>; .reg .b32 %r<9>; .reg .f32 %f<3>; .reg .b64 %rd<9>;
ld.param.u64 %rd0, [p0];
ld.param.u8 %r0, [p1];
st.global.b32 [%rd0], %r0;
ld.param.s16 %r1, [p2];
st.global.b32 [%rd0+4], %r1;
ld.param.b32 %r2, [p3];
st.global.b32 [%rd0+8], %r2;
ld.param.f32 %f1, [p4];
st.global.f32 [%rd0+12], %f1;
ld.param.b64 %rd1, [p5];
st.global.b64 [%rd0+16], %rd1;
mov.b64 %rd2, p6;
ld.param.v2.b32 {%r3, %r4}, [p6];
ld.param.b32 %r5, [%rd2+8];
st.global.b32 [%rd0+24], %r3;
st.global.b32 [%rd0+28], %r4;
st.global.b32 [%rd0+32], %r5;
ld.param.b16 %rs1, [p7];
st.global.b16 [%rd0+36], %rs1;
ret;
}"""
    out = torch.zeros(40, dtype=torch.uint8)
    structure = np.array([5, 6, 7], dtype=np.int32)
    launch(text, "k", 1, 1, [out, 200, -3, 1.5, 0.25, np.float64(1e300), structure, 1.5])
    raw = out.numpy()
    assert raw[:8].view(np.int32).tolist() == [200, -3]
    assert raw[8:16].view(np.float32).tolist() == [1.5, 0.25]
    assert raw[16:24].view(np.float64)[0] == 1e300
    assert raw[24:36].view(np.int32).tolist() == [5, 6, 7]
    assert raw[36:38].view(np.float16)[0] == 1.5
    with pytest.raises(ValueError, match="does not fit"):
        launch(text, "k", 1, 1, [out, 300, -3, 1.5, 0.25, 0.0, structure, 1.5])
    with pytest.raises(TypeError, match="is a float"):
        launch(text, "k", 1, 1, [out, 1.5, -3, 1.5, 0.25, 0.0, structure, 1.5])
    with pytest.raises(ValueError, match="12 bytes"):
        launch(text, "k", 1, 1, [out, 1, -3, 1.5, 0.25, 0.0, structure[:2], 1.5])


def test_module_variables():
    module = """.const .align 4 .b8 tab[16];
.const .align 4 .u32 small[3] = {7, 0x10, -1};
.global .align 4 .u32 counter = 5;"""
    body = """and.b32 %r9, %r0, 3;
mul.wide.u32 %rd10, %r9, 4;
mov.u64 %rd11, tab;
add.s64 %rd12, %rd11, %rd10;
ld.const.b32 %r10, [%rd12];
ld.const.b32 %r11, [small+4];
ld.const.b32 %r12, [small+8];
ld.global.b32 %r13, [counter];
add.s32 %r10, %r10, %r11;
add.s32 %r10, %r10, %r12;
add.s32 %r10, %r10, %r13;
mad.wide.u32 %rd13, %r0, 4, %rd0;
st.global.b32 [%rd13], %r10;"""
    out = np.zeros(32, dtype=np.int32)
    run(body, [out], module=module, symbols={"tab": np.array([100, 200, 300, 400], dtype=np.int32)})
    np.testing.assert_array_equal(out, np.array([100, 200, 300, 400])[np.arange(32) % 4] + 16 - 1 + 5)
    run(body, [out], module=module)
    assert (out == 20).all()


def test_tensors_of_torch_in_place():
    x = torch.arange(64, dtype=torch.float32)
    y = torch.zeros(32, 2).t()[1]  # every other element
    body = """mul.wide.u32 %rd10, %r0, 4;
add.s64 %rd11, %rd0, %rd10;
mul.wide.u32 %rd12, %r0, 8;
add.s64 %rd13, %rd1, %rd12;
ld.global.b32 %r10, [%rd11];
st.global.b32 [%rd13], %r10;"""
    run(body, [x, y])
    assert torch.equal(y, x[:32])


def test_packing_and_unpacking():
    x = np.random.default_rng(0).integers(0, 2**63, 32, dtype=np.uint64)
    y = np.zeros(32, dtype=np.uint64)
    body = """mad.wide.u32 %rd10, %r0, 8, %rd0;
mad.wide.u32 %rd11, %r0, 8, %rd1;
ld.global.b64 %rd12, [%rd10];
mov.b64 {%r10, %r11}, %rd12;
mov.b32 {%rs1, %rs2}, %r10;
mov.b32 {_, %rs3}, %r11;
mov.b32 %r12, {%rs2, %rs1};
mov.b32 %r13, {0, %rs3};
mov.b64 %rd13, {%r12, %r13};
st.global.b64 [%rd11], %rd13;"""
    run(body, [x, y])
    h = x[:, None].view(np.uint16)
    expected = np.stack([h[:, 1], h[:, 0], 0 * h[:, 0], h[:, 3]], axis=1).astype(np.uint16).view(np.uint64)[:, 0]
    np.testing.assert_array_equal(y, expected)


def test_scopes_hide_names():
    y = np.zeros(32, dtype=np.int32)
    body = """mov.u32 %r10, 1;
{
.reg .b32 %r10;
.reg.b32 t;
mov.u32 %r10, 50;
mov.u32 t, 2;
{ .reg .b32 t; mov.u32 t, 7; add.s32 %r10, %r10, t; }
add.s32 %r11, %r10, t;
}
add.s32 %r11, %r11, %r10;
mad.wide.u32 %rd10, %r0, 4, %rd0;
st.global.b32 [ %rd10 + 0 ], { %r11 };"""
    text = kernel(body, 1, loc=False)
    launch(text, "k", 1, 32, [y])
    assert (y == 60).all()


def test_selection():
    y = np.zeros(32, dtype=np.int32)
    body = """setp.lt.u32 %p1, %r0, 10;
selp.b32 %r10, %r0, -1, %p1;
sub.s32 %r9, %r0, 20;
slct.s32.s32 %r11, 1000, 2000, %r9;
add.s32 %r10, %r10, %r11;
mad.wide.u32 %rd10, %r0, 4, %rd0;
st.global.b32 [%rd10], %r10;"""
    run(body, [y])
    i = np.arange(32)
    np.testing.assert_array_equal(y, np.where(i < 10, i, -1) + np.where(i >= 20, 1000, 2000))
