"""PTX written by hand for the tests: a kernel around a body, and one instruction applied to arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ptxsim import Report, launch

SIZES = {"pred": 1, **{f"{k}{n}": n // 8 for k in "bus" for n in (8, 16, 32, 64)}, "f32": 4, "f64": 8, "f16": 2, "bf16": 2}
REGISTERS = "".join(f".reg .{t} %{n}<64>;\n" for t, n in (("pred", "p"), ("b16", "rs"), ("b32", "r"), ("b64", "rd")))


def kernel(body: str, parameters: int, *, module: str = "", declarations: str = "", loc: bool = True) -> str:
    """A kernel `k` with this many 64-bit parameters, in %rd0 … . %r0 is the thread in the grid, %r1 in the block, %r2 the
    block. Line n of the body is line n of `source.cu` to the line information."""
    head = ", ".join(f".param .u64 k_param_{i}" for i in range(parameters))
    loads = "".join(f"ld.param.u64 %rd{i}, [k_param_{i}];\n" for i in range(parameters))
    lines = body.strip().splitlines()
    text = "\n".join(f".loc 1 {i} 0\n{line}" if loc else line for i, line in enumerate(lines, 1))
    return f"""//
.version 8.7
.target sm_80
.address_size 64
{module}
.visible .entry k({head})
{{
{REGISTERS}{declarations}
{loads}mov.u32 %r1, %tid.x;
mov.u32 %r2, %ctaid.x;
mov.u32 %r3, %ntid.x;
mad.lo.s32 %r0, %r2, %r3, %r1;
{text}
ret;
}}
.file 1 "source.cu"
"""


def run(body: str, args: Sequence[object], grid: object = 1, block: object = 32, **options: object) -> Report:
    text = {name: options.pop(name) for name in ("module", "declarations") if name in options}
    return launch(kernel(body, len(args), **text), "k", grid, block, args, **options)


def line_of(ptx: str, part: str) -> int:
    """The line of a PTX text that contains `part`."""
    (line,) = [i for i, text in enumerate(ptx.splitlines(), 1) if part in text]
    return line


def _register(size: int, number: int) -> str:
    return f"%{ {1: 'rs', 2: 'rs', 4: 'r', 8: 'rd'}[size] }{number}"


def elementwise(opcode: str, inputs: Sequence[np.ndarray], out: np.dtype | type, *, extra: str = "", predicate: bool = False):
    """`opcode d, in0[i], in1[i], … extra` for every element; `predicate`: d is a predicate, stored as 0 or 1."""
    out = np.dtype(out)
    n = len(inputs[0])
    result = np.zeros(n, dtype=out)
    body, names = [], []
    for i, x in enumerate(inputs):
        size = x.dtype.itemsize
        reg = _register(size, 20 + i)
        body.append(f"mul.wide.u32 %rd40, %r0, {size};\nadd.s64 %rd41, %rd{i}, %rd40;\nld.global.b{8 * size} {reg}, [%rd41];")
        names.append(reg)
    size = out.itemsize
    target = "%p1" if predicate else _register(size, 30)
    body.append(f"{opcode} {target}, {', '.join(names)}{extra};")
    if predicate:
        target = _register(size, 30)
        body.append(f"selp.b{8 * size} {target}, 1, 0, %p1;")
    body.append(
        f"mul.wide.u32 %rd40, %r0, {size};\nadd.s64 %rd41, %rd{len(inputs)}, %rd40;\nst.global.b{8 * size} [%rd41], {target};"
    )
    body = [line for text in body for line in text.splitlines()]
    guard = [f"setp.ge.u32 %p0, %r0, {n};", "@%p0 ret;"]
    run("\n".join(guard + body), [*inputs, result], grid=-(-n // 64), block=64)
    return result


def integers(rng: np.random.Generator, dtype: str, n: int = 200) -> np.ndarray:
    """Random integers, small ones, and the ends of the range."""
    info = np.iinfo(dtype)
    x = rng.integers(info.min, info.max, n, dtype=dtype, endpoint=True)
    x[: n // 4] = rng.integers(max(info.min, -9), 10, n // 4)
    x[n // 4 : n // 4 + 5] = [0, 1, info.max, info.min, info.max - 1]
    rng.shuffle(x)
    return x


def floats(rng: np.random.Generator, n: int = 200, *, special: bool = True) -> np.ndarray:
    x = (rng.standard_normal(n) * 10.0 ** rng.integers(-6, 6, n)).astype(np.float32)
    if special:
        x[:8] = [0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 3e38]
    rng.shuffle(x)
    return x


def halves(rng: np.random.Generator, kind: str, n: int = 200) -> np.ndarray:
    """Bits of fp16 or bf16 numbers, special ones included."""
    x = (rng.standard_normal(n) * 2.0 ** rng.integers(-6, 6, n)).astype(np.float32)
    x[:5] = [0, -0.0, np.inf, -np.inf, np.nan]
    rng.shuffle(x)
    if kind == "f16":
        return x.astype(np.float16).view(np.uint16)
    return (x.view(np.uint32) >> 16).astype(np.uint16)


def as_double(bits: np.ndarray, kind: str) -> np.ndarray:
    if kind == "f16":
        return bits.view(np.float16).astype(np.float64)
    return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
