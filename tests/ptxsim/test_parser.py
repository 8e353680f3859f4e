"""The syntax of PTX: comments, literals, addresses, line information, debug sections."""

import pytest
from ptxsim.parser import parse, parse_integer, split_operands

TEXT = """// a comment with { and ; and .entry
.version 8.7
.target sm_80
.address_size 64
	// .globl	k                  // -- Begin function k
.extern .shared .align 16 .b8 global_smem[];
.global .align 4 .b8 data[6] = {1, 0xff, 255U, 0b11};
.extern .func  (.param .b32 r) vprintf (.param .b64 a, .param .b64 b);
.func (.reg .b32 r) helper (.reg .b32 x) { mov.b32 r, x; ret; }
.visible .entry k(
	.param .u64 .ptr .global .align 1 k_param_0,
	.param .u32 k_param_1,
	.param .align 8 .b8 k_param_2[48]
)
.reqntid 128
.minnctapersm 2
{
	.reg .pred 	%p<3>;
	.reg .b32 	%r<9>, %extra;
	.shared .align 8 .b8 own[32];
	.loc	1 6 24                          // zoo.py:6:24
$L__func_begin0:
	.loc	1 6 24, function_name $L__info_string0, inlined_at 1 7 3

	ld.param.b32 	%r1, [k_param_1];  /* a comment
	over lines */ mov.b32 %r2, -5;
	@!%p1 ld.global.v4.b32 { %r3, %r4, %r5, %r6 }, [ %rd28 + -16 ];
	{ .reg .b32 t; mov.u32 t, %r1; }
$L__BB0_2:
	.pragma "nounroll";
	.loc	2 43 17                         // standard.py:43:17 @[ standard.py:191:40 @[ zoo.py:37:23 ] ]
	@%p2 bra 	$L__BB0_2;
	.loc	1 9 0
	ret;
}
	.file	1 "zoo.py"
	.file	2 "standard.py"
	.section	.debug_abbrev
	{
.b8 1                                   // Abbreviation Code
.b8 17
	}
	.section	.debug_macinfo	{	}
"""


def test_a_module():
    module = parse(TEXT)
    assert list(module.kernels) == ["k"]
    assert module.files == {1: "zoo.py", 2: "standard.py"}
    shared, data = module.variables
    assert (shared.name, shared.space, shared.external, shared.align) == ("global_smem", "shared", True, 16)
    assert data.initial == b"\x01\xff\xff\x03\0\0"
    kernel = module.kernels["k"]
    assert [(p.name, p.type, p.bytes, p.align) for p in kernel.parameters] == [
        ("k_param_0", "u64", 8, 8),
        ("k_param_1", "u32", 4, 4),
        ("k_param_2", "b8", 48, 8),
    ]
    assert [v.name for v in kernel.variables] == ["own"]


def test_statements():
    kernel = parse(TEXT).kernels["k"]
    load, move, vector, inner, branch, end = kernel.statements
    assert (load.opcode, load.operands) == ("ld.param.b32", ("%r1", "[k_param_1]"))
    assert (move.opcode, move.operands) == ("mov.b32", ("%r2", "-5"))
    assert (vector.predicate, vector.negated) == ("%p1", True)
    assert vector.operands == ("{%r3,%r4,%r5,%r6}", "[%rd28+-16]")
    assert inner.operands[0] not in {"t", "%r1"} and inner.operands[1] == "%r1"
    assert kernel.registers[inner.operands[0]] == "b32"
    assert (branch.opcode, branch.operands, branch.predicate, branch.negated) == ("bra", ("$L__BB0_2",), "%p2", False)
    assert kernel.labels == {"$L__func_begin0": 0, "$L__BB0_2": 4}
    assert load.source == "zoo.py:6 called at zoo.py:7"
    assert branch.source == "standard.py:43 called at standard.py:191 called at zoo.py:37"
    assert end.source == "zoo.py:9"
    for statement in (load, vector, branch, end):
        text = TEXT.splitlines()[statement.line - 1]
        assert statement.opcode in text
        assert statement.text == text.strip()


@pytest.mark.parametrize(
    ("text", "value"),
    [("17", 17), ("-3", -3), ("0x10", 16), ("0X1fU", 31), ("010", 8), ("0", 0), ("0b101", 5), ("-0x2", -2), ("4096U", 4096)],
)
def test_integers(text, value):
    assert parse_integer(text) == value


def test_operands():
    assert split_operands("{%r1, %r2}, [%rd1+4], 0f3F800000") == ["{%r1, %r2}", "[%rd1+4]", "0f3F800000"]
    assert split_operands(" ") == []
