"""python compile.py [DIR]: compiles the tutorial's kernels for sm_80, with Triton and torch and without a GPU, to DIR/*.ptx."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import kernels
import torch
from ptxsim.triton import compiled

HERE = Path(__file__).resolve().parent


def ptx_of(name: str) -> str:
    """The PTX of a kernel, without the folder that it was compiled in."""
    tensor = torch.zeros(16)
    args, constants = {
        "add": ((tensor, tensor, tensor, 1000), {"BLOCK": 256}),
        "add_without_mask": ((tensor, tensor, tensor, 1000), {"BLOCK": 256}),
        "softmax": ((tensor, tensor, 100), {"BLOCK": 128}),
        "matmul": ((tensor, tensor, tensor, 50, 70, 40), {"BM": 32, "BN": 32, "BK": 16}),
    }[name]
    ptx, _, shared = compiled(getattr(kernels, name), args, constants, capability=80)
    return re.sub(r'(\.file\s+\d+ ")[^"]*/', r"\1", f"// {shared} bytes of shared memory\n{ptx}")


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    for name in ("add", "add_without_mask", "softmax", "matmul"):
        (folder / f"{name}.ptx").write_text(ptx_of(name))


if __name__ == "__main__":
    main()
