"""Triton's code, proven on hardware, gives torch's result here: this calibrates the simulator."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import triton
from ptxsim.triton import compiled as compiled_by_ptxsim
from ptxsim.triton import run

from ptxsim import SimulationError, launch
from tests.ptxsim import triton_kernels as kernels
from tests.ptxsim.triton_kernels import TARGETS, compiled

torch.set_num_threads(1)
NAMES = {torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16", torch.int8: "*i8", torch.int32: "*i32"}

# Before 3.7 Triton lacked a proxy fence between cp.async and wgmma (triton-lang/triton#10537): the simulator reports that.
UNFENCED = {"missing proxy fence"} if triton.__version__ < "3.7" else set()

# Bounds on the sum of n products of normally distributed numbers, from the bits of the operands and of the result.
STEP = {torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7, torch.float32: 2.0**-22}


def randn(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def empty(*shape, dtype=torch.float32):
    """A tensor filled with a value that no result has."""
    return torch.full(shape, float("nan") if dtype.is_floating_point else 77, dtype=dtype)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("dtype", "precision"),
    [
        (torch.float16, "ieee"),
        (torch.bfloat16, "ieee"),
        (torch.float32, "tf32"),
        (torch.float32, "tf32x3"),
        (torch.float32, "ieee"),
    ],
)
@pytest.mark.parametrize(("m", "n", "k"), [(128, 192, 96), (100, 72, 50)])
def test_matmul(target, dtype, precision, m, n, k):
    """A pipeline of three stages; with sizes that are no multiples of the tiles, and strides no multiples of 16, as well."""
    a, b, c = randn(m, k, seed=1, dtype=dtype), randn(k, n, seed=2, dtype=dtype), empty(m, n, dtype=dtype)
    aligned = m % 16 == n % 16 == k % 16 == 0
    signature = dict.fromkeys("abc", NAMES[dtype]) | dict.fromkeys(["m", "n", "k", "stride_a", "stride_b", "stride_c"], "i32")
    constants = {"BM": 64, "BN": 32, "BK": 32, "GROUP": 2, "PRECISION": precision}
    ptx, shared = compiled(kernels.matmul, target, signature, constants, tuple(signature) if aligned else ("a", "b", "c"))
    grid = -(-m // 64) * -(-n // 32)
    report = launch(
        ptx, "matmul", grid, 128, [a, b, c, m, n, k, k, n, n], shared=shared, uninitialised=[c], check="collect"
    )  # fmt: skip
    assert {finding.kind for finding in report.findings} <= (UNFENCED if target == 90 else set())
    exact = a.double() @ b.double()
    step = 2.0**-10 * 2 if precision == "tf32" else 0.0
    bound = k**0.5 * 6 * step + STEP[dtype] * exact.abs() + 1e-5
    assert ((c.double() - exact).abs() <= bound).all()
    tiles = grid * -(-k // 32) * 64 * 32 * 32
    assert (
        report.mma_multiply_adds
        == {"ieee": tiles if dtype != torch.float32 else 0, "tf32": tiles, "tf32x3": 3 * tiles}[precision]
    )
    if aligned:
        assert report.copy_bytes > 0
        assert report.global_store_sectors == report.unique_store_sectors == m * n * c.element_size() // 32


@pytest.mark.parametrize("target", TARGETS)
def test_softmax(target):
    x, out = randn(37, 1000), empty(37, 1000)
    signature = {"out": "*fp32", "x": "*fp32", "stride": "i32", "rows": "i32", "columns": "i32"}
    ptx, shared = compiled(kernels.softmax, target, signature, {"BLOCK": 1024}, ("out", "x"))
    launch(ptx, "softmax", 8, 128, [out, x, 1000, 37, 1000], shared=shared, uninitialised=[out])
    torch.testing.assert_close(out, x.double().softmax(1).float(), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_reductions_over_both_axes(target, dtype):
    x = randn(64, 32, dtype=dtype)
    sums, largest, where = empty(32, dtype=dtype), empty(64, dtype=dtype), empty(64, dtype=torch.int32)
    signature = {"x": NAMES[dtype], "sums": NAMES[dtype], "largest": NAMES[dtype], "where": "*i32"}
    ptx, shared = compiled(kernels.reductions, target, signature, {"N": 64, "M": 32}, tuple(signature))
    launch(ptx, "reductions", 1, 128, [x, sums, largest, where], shared=shared, uninitialised=[sums, largest, where])
    # Six levels of additions, each rounded to the type.
    assert ((sums.double() - x.double().sum(0)).abs() <= 6 * STEP[dtype] * x.double().abs().sum(0)).all()
    assert torch.equal(largest, x.max(1).values)
    assert torch.equal(where.long(), x.float().argmax(1))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int8])
def test_gather_along_both_axes(target, dtype):
    x = (randn(32, 32) * 30).to(dtype)
    index = torch.randint(0, 32, (32, 32), generator=torch.Generator().manual_seed(3), dtype=torch.int32)
    outs = [empty(32, 32, dtype=dtype) for _ in range(2)]
    signature = {"x": NAMES[dtype], "index": "*i32", "out0": NAMES[dtype], "out1": NAMES[dtype]}
    ptx, shared = compiled(kernels.gathers, target, signature, {"N": 32, "M": 32}, tuple(signature))
    launch(ptx, "gathers", 1, 128, [x, index, *outs], shared=shared, uninitialised=outs)
    for axis in (0, 1):
        assert torch.equal(outs[axis], x.gather(axis, index.long()))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("aligned", [True, False])
def test_functions_masks_and_casts(target, aligned):
    n = 1500
    x, u = randn(n) * 3, torch.randint(0, 256, (n,), generator=torch.Generator().manual_seed(4), dtype=torch.uint8)
    x[:5] = torch.tensor([float("nan"), 0.0, -0.0, 70.0, 12345.0])
    outs = [empty(n), empty(n, dtype=torch.float16), empty(n, dtype=torch.bfloat16)]
    signature = {"x": "*fp32", "u": "*u8", "out": "*fp32", "half": "*fp16", "brain": "*bf16", "n": "i32" if aligned else "i64"}
    divisible = ("x", "u", "out", "half", "brain") if aligned else ()
    ptx, shared = compiled(kernels.functions, target, signature, {"BLOCK": 512}, divisible)
    launch(ptx, "functions", 3, 128, [x, u, *outs, n], shared=shared, uninitialised=outs)
    v, w = x.double(), u.double()
    a = v.abs()
    r = v.exp() + (a + 1).log2() + v.exp2() + a.sqrt() + (a + 1).rsqrt() + w / (v * v + 1) + (a + 2).log()
    r = torch.maximum(r, w)
    r = torch.where(v > 0, r, torch.fmin(r, v)) + v.sin() + v.cos() + v / (w + 1) + v.floor() + v.ceil()
    finite = r.abs() < 60000
    torch.testing.assert_close(outs[0].double()[finite], (r * (1 + v * v) ** 0.75)[finite], rtol=2e-5, atol=2e-5)
    torch.testing.assert_close(outs[1].double()[finite], r[finite], rtol=6e-4, atol=2e-3)
    torch.testing.assert_close(outs[2].double()[finite], r[finite], rtol=5e-3, atol=2e-2)
    assert all(torch.isnan(out[0]) for out in outs)


@pytest.mark.parametrize("target", TARGETS)
def test_join_permute_reshape(target):
    x, y, out = randn(512, seed=1), randn(512, seed=2), empty(128, 8)
    signature = {"x": "*fp32", "y": "*fp32", "out": "*fp32"}
    ptx, shared = compiled(kernels.arrangements, target, signature, {"N": 512}, tuple(signature))
    launch(ptx, "arrangements", 1, 128, [x, y, out], shared=shared, uninitialised=[out])
    assert torch.equal(out, torch.stack([x, y], -1).permute(1, 0).reshape(4, 256).t().reshape(128, 8))


@pytest.mark.parametrize("target", TARGETS)
def test_addresses_and_loops_from_a_table(target):
    """Programs of one launch loop a different number of times, over buffers that are not arguments."""
    counts, numbers = (1, 3, 0, 5, 2), (0, 5, 100, 1, 7)
    data = [randn(max(c, 1), 256, seed=c) for c in counts]
    table = torch.tensor([[d.data_ptr(), c, k] for d, c, k in zip(data, counts, numbers, strict=True)])
    out = empty(5, 256)
    ptx, shared = compiled(kernels.tables, target, {"table": "*i64", "out": "*fp32"}, {"BLOCK": 256}, ("table", "out"))
    launch(ptx, "tables", 5, 128, [table, out], shared=shared, buffers=data, uninitialised=[out])
    for d, c, k, got in zip(data, counts, numbers, out, strict=True):
        sums = torch.zeros(256)
        for row in d[:c]:
            sums = sums + row
        while k > 0:
            sums = sums * 0.5 + float(k)
            k //= 3
        torch.testing.assert_close(got, sums, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("dtype", "precision"), [(torch.float16, "ieee"), (torch.float32, "tf32"), (torch.float32, "ieee")])
def test_batched_products(target, dtype, precision):
    a, b, c = randn(4, 32, 32, seed=1, dtype=dtype), randn(4, 32, 32, seed=2, dtype=dtype), empty(4, 32, 32)
    signature = {"a": NAMES[dtype], "b": NAMES[dtype], "c": "*fp32"}
    constants = {"Z": 4, "M": 32, "N": 32, "K": 32, "PRECISION": precision}
    ptx, shared = compiled(kernels.batched, target, signature, constants, tuple(signature))
    launch(ptx, "batched", 1, 128, [a, b, c], shared=shared, uninitialised=[c])
    bound = 6 * 32**0.5 * 2.0**-9 if precision == "tf32" else 1e-5
    assert (c.double() - a.double() @ b.double()).abs().max() <= bound


@pytest.mark.parametrize("target", TARGETS)
def test_atomics(target):
    x = randn(1024)
    index = torch.randint(0, 64, (1024,), generator=torch.Generator().manual_seed(5), dtype=torch.int32)
    sums, largest, half = torch.zeros(64), torch.full((64,), -9.0), torch.zeros(64, dtype=torch.float16)
    counter = torch.zeros(5, dtype=torch.int32)
    signature = {"x": "*fp32", "index": "*i32", "sums": "*fp32", "largest": "*fp32", "half": "*fp16", "counter": "*i32"}
    ptx, shared = compiled(kernels.atomics, target, signature, {"BLOCK": 256}, tuple(signature))
    launch(ptx, "atomics", 4, 128, [x, index, sums, largest, half, counter], shared=shared)
    exact = torch.zeros(64, dtype=torch.float64).index_add(0, index.long(), x.double())
    torch.testing.assert_close(sums.double(), exact, rtol=0, atol=1e-5)
    torch.testing.assert_close(half.double(), exact, rtol=0, atol=0.1)
    assert torch.equal(largest, torch.full((64,), -9.0).scatter_reduce(0, index.long(), x, "amax"))
    assert counter.tolist() == [4, 0, 1, 2, 3]


@pytest.mark.parametrize("target", TARGETS)
def test_scans_and_sorting(target):
    x, sums, ordered = randn(16, 64), empty(16, 64), empty(16, 64)
    signature = {"x": "*fp32", "sums": "*fp32", "ordered": "*fp32"}
    ptx, shared = compiled(kernels.scans, target, signature, {"N": 16, "M": 64}, tuple(signature))
    launch(ptx, "scans", 1, 128, [x, sums, ordered], shared=shared, uninitialised=[sums, ordered])
    torch.testing.assert_close(sums, x.cumsum(0), rtol=0, atol=1e-5)
    assert torch.equal(ordered, x.sort(1).values)


def test_findings_name_the_line_of_the_kernel():
    x, out = randn(37, 1000), empty(37, 1000)
    signature = {"out": "*fp32", "x": "*fp32", "stride": "i32", "rows": "i32", "columns": "i32"}
    ptx, shared = compiled(kernels.softmax, 80, signature, {"BLOCK": 1024}, ("out", "x"))
    with pytest.raises(SimulationError, match="global access out of bounds") as error:
        launch(ptx, "softmax", 8, 128, [out[:36], x, 1000, 37, 1000], shared=shared)
    file, line = error.value.findings[0].source.rsplit(":", 1)
    source = Path(file).read_text().splitlines()[int(line) - 1]
    assert "tl.store(out + row * stride" in source


def test_products_may_be_added_as_tensor_cores_do(tmp_path):
    """From Python and from the command: terms that are small beside the largest are truncated; by default none is."""
    a, b = torch.full((16, 16), 2.0**-13, dtype=torch.float16), torch.full((16, 16), 2.0**-13, dtype=torch.float16)
    a[:, 0], b[0] = 1, 1
    numbers = [16, 16, 16, 16, 16, 16]
    constants = {"BM": 16, "BN": 16, "BK": 16, "GROUP": 1, "PRECISION": "ieee"}
    expected = {"exact": 1 + 15 * 2.0**-26, "hardware": 1.0}
    found = {}
    for rounding in expected:
        c = torch.empty(16, 16)
        run(kernels.matmul, 1, a, b, c, *numbers, rounding=rounding, uninitialised=[c], **constants)
        found[rounding] = c
    assert all((found[name] == torch.tensor(value)).all() for name, value in expected.items())

    ptx, entry, shared = compiled_by_ptxsim(kernels.matmul, [a, b, c, *numbers], constants, capability=80)
    (tmp_path / "matmul.ptx").write_text(ptx)
    for name, value in {"a": a, "b": b}.items():
        np.save(tmp_path / f"{name}.npy", value.numpy())
    words = ["--arg", "a.npy", "--arg", "b.npy", "--arg", "new:float32:16x16", *(w for n in numbers for w in ("--arg", str(n)))]
    for rounding in expected:
        subprocess.run(
            [sys.executable, "-m", "ptxsim", "run", "matmul.ptx", "--entry", entry, "--grid", "1", "--block", "128",
             "--shared", str(shared), "--rounding", rounding, "--write", rounding, *words], cwd=tmp_path, check=True,
        )  # fmt: skip
        assert np.array_equal(np.load(tmp_path / rounding / "arg2.npy"), found[rounding].numpy())
