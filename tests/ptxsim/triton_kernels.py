# ruff: noqa: N803  (constants of a kernel are capitals, as in Triton's tutorials)
"""Kernels in the style of Triton's tutorials, and their compilation for processors that are absent."""

from __future__ import annotations

from functools import cache

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

TARGETS = (80, 86, 89, 90, 120)


@cache
def _compiled(kernel, target, signature, constants, divisible, warps, stages):
    names = kernel.arg_names
    kinds = dict(signature)
    source = ASTSource(
        fn=kernel,
        signature={n: kinds.get(n, "constexpr") for n in names},
        constexprs=dict(constants),
        attrs={(names.index(n),): [["tt.divisibility", 16]] for n in divisible},
    )
    options = {"num_warps": warps, "num_stages": stages}
    compiled = triton.compile(source, target=GPUTarget("cuda", target, 32), options=options)
    return compiled.asm["ptx"], compiled.metadata.shared


def compiled(kernel, target, signature, constants, divisible=(), warps=4, stages=3):
    """(PTX, bytes of shared memory). `divisible`: arguments that are multiples of 16."""
    return _compiled(kernel, target, tuple(signature.items()), tuple(constants.items()), tuple(divisible), warps, stages)


@triton.jit
def matmul(a, b, c, m, n, k, stride_a, stride_b, stride_c,
           BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr, PRECISION: tl.constexpr):  # fmt: skip
    pid = tl.program_id(0)
    rows, columns = tl.cdiv(m, BM), tl.cdiv(n, BN)
    per_group = GROUP * columns
    first = pid // per_group * GROUP
    height = min(rows - first, GROUP)
    row = first + pid % per_group % height
    column = pid % per_group // height
    i = (row * BM + tl.arange(0, BM)) % m
    j = (column * BN + tl.arange(0, BN)) % n
    inner = tl.arange(0, BK)
    pa = a + i[:, None] * stride_a + inner[None, :]
    pb = b + inner[:, None] * stride_b + j[None, :]
    sums = tl.zeros((BM, BN), dtype=tl.float32)
    for step in range(tl.cdiv(k, BK)):
        x = tl.load(pa, mask=inner[None, :] < k - step * BK, other=0.0)
        y = tl.load(pb, mask=inner[:, None] < k - step * BK, other=0.0)
        sums = tl.dot(x, y, sums, input_precision=PRECISION)
        pa += BK
        pb += BK * stride_b
    i = row * BM + tl.arange(0, BM)
    j = column * BN + tl.arange(0, BN)
    tl.store(c + stride_c * i[:, None] + j[None, :], sums.to(c.dtype.element_ty), mask=(i[:, None] < m) & (j[None, :] < n))


@triton.jit
def softmax(out, x, stride, rows, columns, BLOCK: tl.constexpr):
    for row in tl.range(tl.program_id(0), rows, tl.num_programs(0), num_stages=3):
        j = tl.arange(0, BLOCK)
        v = tl.load(x + row * stride + j, mask=j < columns, other=-float("inf"))
        e = tl.exp(v - tl.max(v, axis=0))
        tl.store(out + row * stride + j, e / tl.sum(e, axis=0), mask=j < columns)


@triton.jit
def reductions(x, sums, largest, where, N: tl.constexpr, M: tl.constexpr):
    v = tl.load(x + tl.arange(0, N)[:, None] * M + tl.arange(0, M)[None, :])
    tl.store(sums + tl.arange(0, M), tl.sum(v, axis=0))
    tl.store(largest + tl.arange(0, N), tl.max(v, axis=1))
    tl.store(where + tl.arange(0, N), tl.argmax(v, axis=1))


@triton.jit
def gathers(x, index, out0, out1, N: tl.constexpr, M: tl.constexpr):
    place = tl.arange(0, N)[:, None] * M + tl.arange(0, M)[None, :]
    v, i = tl.load(x + place), tl.load(index + place)
    tl.store(out0 + place, tl.gather(v, i, 0))
    tl.store(out1 + place, tl.gather(v, i, 1))


@triton.jit
def functions(x, u, out, half, brain, n, BLOCK: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < n
    v = tl.load(x + i, mask=inside, other=0.0)
    w = tl.load(u + i, mask=inside, other=0).to(tl.float32)
    a = tl.abs(v)
    r = tl.exp(v) + tl.log2(a + 1) + tl.exp2(v) + tl.sqrt(a) + tl.rsqrt(a + 1) + w / (v * v + 1) + tl.log(a + 2)
    r = tl.maximum(r, w, propagate_nan=tl.PropagateNan.ALL)
    r = tl.where(v > 0, r, tl.minimum(r, v)) + tl.sin(v) + tl.cos(v) + tl.div_rn(v, w + 1) + tl.floor(v) + tl.ceil(v)
    p = tl.exp2(0.75 * tl.log2(1 + v * v))
    tl.store(out + i, r * p, mask=inside)
    tl.store(half + i, r.to(tl.float16), mask=inside)
    tl.store(brain + i, r.to(tl.bfloat16), mask=inside)


@triton.jit
def arrangements(x, y, out, N: tl.constexpr):
    j = tl.join(tl.load(x + tl.arange(0, N)), tl.load(y + tl.arange(0, N)))
    j = tl.trans(tl.reshape(tl.permute(j, (1, 0)), (4, N // 2)))
    place = tl.arange(0, N // 4)[:, None] * 8 + tl.arange(0, 8)[None, :]
    tl.store(out + place, tl.reshape(j, (N // 4, 8)))


@triton.jit
def tables(table, out, BLOCK: tl.constexpr):
    """Each program reads an address, a count and a number from a table of int64."""
    pid = tl.program_id(0)
    base = tl.load(table + pid * 3).to(tl.pointer_type(tl.float32))
    count = tl.load(table + pid * 3 + 1).to(tl.int32)
    k = tl.load(table + pid * 3 + 2)
    sums = tl.zeros((BLOCK,), tl.float32)
    for i in range(count):
        sums += tl.load(base + i * BLOCK + tl.arange(0, BLOCK))
    while k > 0:
        sums = sums * 0.5 + k.to(tl.float32)
        k = k // 3
    tl.store(out + pid * BLOCK + tl.arange(0, BLOCK), sums)


@triton.jit
def batched(a, b, c, Z: tl.constexpr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, PRECISION: tl.constexpr):
    z = tl.arange(0, Z)[:, None, None]
    x = tl.load(a + z * M * K + tl.arange(0, M)[None, :, None] * K + tl.arange(0, K)[None, None, :])
    y = tl.load(b + z * K * N + tl.arange(0, K)[None, :, None] * N + tl.arange(0, N)[None, None, :])
    place = z * M * N + tl.arange(0, M)[None, :, None] * N + tl.arange(0, N)[None, None, :]
    tl.store(c + place, tl.dot(x, y, input_precision=PRECISION))


@triton.jit
def atomics(x, index, sums, largest, half, counter, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v, j = tl.load(x + i), tl.load(index + i)
    tl.atomic_add(sums + j, v)
    tl.atomic_max(largest + j, v)
    tl.atomic_add(half + j, v.to(tl.float16))
    tl.store(counter + 1 + tl.program_id(0), tl.atomic_add(counter, 1))


@triton.jit
def scans(x, sums, ordered, N: tl.constexpr, M: tl.constexpr):
    place = tl.arange(0, N)[:, None] * M + tl.arange(0, M)[None, :]
    v = tl.load(x + place)
    tl.store(sums + place, tl.cumsum(v, 0))
    tl.store(ordered + place, tl.sort(v))


@triton.jit
def product(a, b, c, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, AM: tl.constexpr, AK: tl.constexpr, BK: tl.constexpr,
            BN: tl.constexpr, FROM_REGISTERS: tl.constexpr):  # fmt: skip
    """A product of whole tiles, with operands along either axis."""
    i, j, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    x = tl.load(a + i[:, None] * AM + k[None, :] * AK)
    y = tl.load(b + k[:, None] * BK + j[None, :] * BN)
    if FROM_REGISTERS:
        x = x + x
    tl.store(c + i[:, None] * N + j[None, :], tl.dot(x, y, input_precision="tf32"))
