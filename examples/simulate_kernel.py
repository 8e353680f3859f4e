"""Run a Triton kernel without a GPU: its results, and the accesses that it makes.

pip install './ptxsim[triton]'
python examples/simulate_kernel.py
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from ptxsim.triton import run


@triton.jit
def row_sums(x, out, columns, BLOCK: tl.constexpr):  # noqa: N803 - Triton's way to name constants
    row = tl.program_id(0)
    total = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, columns, BLOCK):
        offsets = start + tl.arange(0, BLOCK)
        total += tl.load(x + row * columns + offsets, mask=offsets < columns, other=0.0)
    tl.store(out + row, tl.sum(total, 0))


def main() -> None:
    x, out = torch.randn(8, 300), torch.empty(8)
    report = run(row_sums, 8, x, out, 300, BLOCK=128, uninitialised=[out])  # raises at the first wrong access
    assert torch.allclose(out, x.sum(1), atol=1e-4)
    print(f"{report.global_load_bytes} bytes in {report.global_load_sectors} sectors of 32 bytes")


if __name__ == "__main__":
    main()
