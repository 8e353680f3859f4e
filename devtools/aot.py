"""Compiles launches of Triton and CUDA C++ kernels ahead of time, for any GPU and without one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

from dcnn_fast.ops import cuda_compile
from dcnn_fast.ops.gpus import WARP
from dcnn_fast.ops.launch import CudaKernel, Launch

_POINTERS = {
    torch.float64: "*fp64", torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16", torch.uint8: "*u8",
    torch.int16: "*i16", torch.int32: "*i32", torch.int64: "*i64", torch.bool: "*i1",
}  # fmt: skip


@dataclass(frozen=True)
class Compiled:
    """A kernel's machine code for one compute capability, and its launch's arguments.

    names: the run-time arguments in the order of the PTX's parameters. shared: dynamic shared memory in bytes. declared: the
    part that the source itself declares.
    """

    kernel: str
    names: tuple[str, ...]
    ptx: str
    cubin: bytes
    shared: int
    warps: int
    declared: int = 0


def compiled(what: Launch, capability: int) -> Compiled:
    """The kernel of `what` for sm_`capability`."""
    if isinstance(what.kernel, CudaKernel):
        kernel = what.kernel
        code = cuda_compile.compiled(kernel.source, what.constants, capability, kernel.folder)
        return Compiled(kernel.name, kernel.parameters, code.ptx, code.cubin, what.shared, what.warps, _declared(code.ptx))
    return _compiled(what.kernel, *specialised(what), capability, tuple(what.options.items()))


def kernel_name(what: Launch) -> str:
    """The name of a launch's kernel."""
    name: str = what.kernel.name if isinstance(what.kernel, CudaKernel) else what.kernel.__name__
    return name


def machine_code_of(what: Launch) -> tuple[Any, ...]:
    """A key that differs between launches with different machine code."""
    if isinstance(what.kernel, CudaKernel):
        return what.kernel, tuple(sorted(what.constants.items())), what.warps, what.shared
    return what.kernel, tuple(what.constants.items()), tuple(what.options.items()), specialised(what)[0]


def _declared(ptx: str) -> int:
    """Bytes of the arrays that PTX declares in shared memory; dynamic memory has no size."""
    return sum(int(count) for count in re.findall(r"\.shared\s+\.align\s+\d+\s+\.b8\s+\w+\[(\d+)\]", ptx))


_Pairs = tuple[tuple[str, Any], ...]


def specialised(what: Launch) -> tuple[_Pairs, _Pairs, tuple[int, ...]]:
    """Types by argument, constants, and the arguments that are multiples of 16, as in Triton's own launcher."""
    constants = dict(what.constants)
    signature: dict[str, str] = {}
    aligned: list[int] = []
    for index, name in enumerate(what.kernel.arg_names):
        if name in constants:
            signature[name] = "constexpr"
            continue
        value = what.args[name]
        if isinstance(value, int) and value == 1:
            constants[name], signature[name] = 1, "constexpr"
            continue
        signature[name] = _type(value)
        address = value.data_ptr() if isinstance(value, Tensor) else value
        if isinstance(address, int) and address % 16 == 0:
            aligned.append(index)
    return tuple(signature.items()), tuple(constants.items()), tuple(aligned)


def _type(value: Tensor | int | float) -> str:
    if isinstance(value, Tensor):
        return _POINTERS[value.dtype]
    if isinstance(value, float):
        return "fp32"
    return "i32" if -(2**31) <= value < 2**31 else "i64"


@lru_cache(maxsize=256)  # PTX and machine code take up to a megabyte a kernel; the others are in Triton's cache on disk
def _compiled(
    kernel: Any, signature: _Pairs, constants: _Pairs, aligned: tuple[int, ...], capability: int, options: _Pairs
) -> Compiled:
    source = ASTSource(
        fn=kernel,
        signature=dict(signature),
        constexprs=dict(constants),
        attrs={(index,): [["tt.divisibility", 16]] for index in aligned},
    )
    target = GPUTarget("cuda", capability, WARP)
    result = compile(source, target=target, options=dict(options))
    ptx = result.asm["ptx"]
    entry = re.search(r"\.entry\s+(\w+)", ptx)
    assert entry is not None
    names = tuple(name for name, kind in signature if kind != "constexpr")
    return Compiled(entry[1], names, ptx, result.asm["cubin"], result.metadata.shared, dict(options)["num_warps"])
