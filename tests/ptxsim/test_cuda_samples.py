"""CUDA C++ compiled by nvcc (data/samples.cu), compared with numpy and torch."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from ptxsim import launch

PTX = (Path(__file__).parent / "data" / "samples.sm_80.ptx").read_text()


def test_structure_local_array_and_constant_tables():
    rng = np.random.default_rng(1)
    x = rng.standard_normal(200).astype(np.float32)
    table = rng.standard_normal(16).astype(np.float32)
    offsets = np.array([3, 0, 5, 7, 2, 9], dtype=np.int32)
    out = np.full(256, np.nan, dtype=np.float32)
    window = struct.pack("<Qfi", x.ctypes.data, 1.5, 200) + offsets.tobytes()
    launch(PTX, "gather", 2, 128, [window, out], buffers=[x], symbols={"table": table})
    steps = [1, 2, -3, 4]
    expected = [table[(t + ((int(offsets[t % 6]) + steps[t & 3]) & 7)) & 15] * np.float32(1.5) + x[t] for t in range(200)]
    np.testing.assert_allclose(out[:200], expected, rtol=1e-6)
    assert np.isnan(out[200:]).all()


def test_block_reduction_with_shuffles_ballot_and_atomics():
    x = np.random.default_rng(2).standard_normal(1000).astype(np.float32)
    total, largest, above = np.zeros(1, np.float32), np.full(1, -(2**31), np.int32), np.zeros(1, np.uint32)
    launch(PTX, "block_sum", 4, 256, [x, 1000, total, largest, above])
    assert total[0] == pytest.approx(x.sum(dtype=np.float64), abs=1e-4)
    assert largest[0] == np.rint(x * np.float32(100)).max()
    assert above[0] == (x > 1).sum()


def test_half2_and_bf16x2():
    generator = torch.Generator().manual_seed(3)
    a, b = (torch.randn(64, generator=generator).to(torch.float16) for _ in range(2))
    c, d = (torch.randn(64, generator=generator).to(torch.bfloat16) for _ in range(2))
    ab, cd = torch.zeros_like(a), torch.zeros_like(c)
    launch(PTX, "pairs", 1, 32, [a, b, ab, c, d, cd])
    for x, y, out in ((a, b, ab), (c, d, cd)):
        once = (x.double() * y.double() + x.double()).to(x.dtype)
        twice = (x.double() * (y.double() + x.double()).to(x.dtype).double()).to(x.dtype)
        assert torch.equal(out, torch.maximum(once, twice))


@pytest.mark.parametrize("k", [16, 64, 80])
def test_gemm_with_staged_copies(k):
    generator = torch.Generator().manual_seed(k)
    a, b = torch.randn(128, k, generator=generator).half(), torch.randn(k, 192, generator=generator).half()
    c = torch.full((128, 192), float("nan"))
    report = launch(PTX, "gemm", (3, 2), 128, [a, b, c, 192, k], shared=2 * (64 * 48 + 16 * 144), uninitialised=[c])
    torch.testing.assert_close(c.double(), a.double() @ b.double(), rtol=0, atol=1e-4)
    assert report.mma_multiply_adds == 128 * 192 * k
    assert report.copy_bytes == 6 * (k // 16) * 2 * 2048
    assert report.barriers == 6 * 4 * 2 * (k // 16)


def test_integer_code():
    rng = np.random.default_rng(4)
    x = rng.integers(-(2**31), 2**31, 300, dtype=np.int32)
    u = rng.integers(0, 256, 300, dtype=np.uint8)
    out = np.zeros(300, dtype=np.int64)
    launch(PTX, "integers", 3, 128, [x, u, out, 300])
    expected = [_integers(int(v), i) * 1000 + int(u[i]) + _halvings(int(v) % 2**32) for i, v in enumerate(x)]
    assert out.tolist() == [(e + 2**63) % 2**64 - 2**63 for e in expected]


def _integers(v: int, i: int) -> int:
    w = v % 2**32
    reverse = int(f"{w:032b}"[::-1], 2)
    selected = [(w | (i << 32)) >> 8 * n & 255 for n in (0, 4, 1, 5)]
    funnel = ((i << 32 | w) << 5) >> 32 & 0xFFFFFFFF
    cases = [
        abs(v) // 7 * (1 if v >= 0 else -1),
        abs(v) % 13 * (1 if v >= 0 else -1),
        v * v,
        sum(b << 8 * n for n, b in enumerate(selected)),
        32 - w.bit_length() + 100 * w.bit_count(),
        w // 11,
        reverse >> (i & 15),
        # The sum is of an int and an unsigned.
        ((v * 123456789 >> 32) + funnel) % 2**32,
    ]
    return cases[v & 7]


def _halvings(w: int) -> int:
    steps = 0
    while w > 1:
        w = w - 1 if w & 1 else w >> 1
        steps += 1
    return steps
