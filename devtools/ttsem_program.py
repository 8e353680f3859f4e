"""The block's backward for ttsem, which executes Triton's intermediate code, a third opinion beside SentryWard and ptxsim:

    pip install --no-deps --ignore-requires-python --target FOLDER ttsem==0.1.0 triton==3.8.0
    PYTHONPATH=FOLDER:. python -m ttsem.sanitize devtools/ttsem_program.py     accesses outside tensors, races, reads of nothing
    PYTHONPATH=FOLDER:. python -m ttsem.validate devtools/ttsem_program.py     the input of every compiler pass means the same

Optional, and not part of the tests. ttsem knows the memory of a kernel's tensor arguments, but not that of addresses loaded
from tables, so this runs the kernels without tables, and prints the differences of their results from the reference's.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from dcnn_fast.networks import Pool
from dcnn_fast.ops.block import BACKENDS
from dcnn_fast.ops.block.backend import Needs, Operands
from dcnn_fast.ops.block.params import BlockOptions, BlockParams
from dcnn_fast.ops.launch import launched_by, on_device


def main(dev: str = "cpu") -> None:
    """One small backward with and without a pool; ttsem runs the launches on cpu tensors, whatever `dev` is."""
    triton, reference = BACKENDS["triton"], BACKENDS["reference"]
    plain = BlockParams(1, 16, 6, 6, 16, 3, BlockOptions(padding=1), torch.float16, torch.float16, weight_dtype=torch.float16)
    for params in (plain, replace(plain, options=replace(plain.options, pool=Pool(3, 2)))):
        generator = torch.Generator().manual_seed(0)
        x, weight, grad = (_drawn(shape, generator) for shape in ((1, 16, 6, 6), (16, 16, 3, 3), params.out_shape))
        operands = Operands(weight, torch.randn(16, generator=generator).half())
        saved = reference.training(params, operands, x).saved(params)
        with launched_by(on_device):
            ours = triton.backward(params.gradient(), operands, x, saved, grad, Needs())
        theirs = reference.backward(params.gradient(), operands, x, saved, grad, Needs())
        for name in ("x", "weight", "bias"):
            apart = (getattr(ours, name).float() - getattr(theirs, name).float()).abs().max()
            print(f"{params}: gradient of {name} differs by at most {apart:.2g}")


def _drawn(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator).half().contiguous(memory_format=torch.channels_last)


if __name__ == "__main__":
    main()
