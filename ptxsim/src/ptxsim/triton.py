"""A Triton kernel on torch tensors in main memory, compiled for a GPU that need not be present (the extra `triton`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from .counters import Report
from .launch import launch

_POINTERS = {
    torch.float64: "*fp64", torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16", torch.uint8: "*u8",
    torch.int8: "*i8", torch.int16: "*i16", torch.int32: "*i32", torch.int64: "*i64", torch.bool: "*i1",
}  # fmt: skip
_WARP = 32
_ALIGNED = 16  # alignment that Triton's launcher promises for addresses and numbers
_Pairs = tuple[tuple[str, Any], ...]


def run(
    kernel: Any, grid: int | Sequence[int], *args: Any, capability: int = 80, num_warps: int = 4, num_stages: int = 3,
    check: str = "raise", rounding: str = "exact", uninitialised: Iterable[Any] = (), **constants: Any,
) -> Report:  # fmt: skip
    """Compile a `triton.jit` function for sm_`capability` and run it on the CPU.

    args: its arguments that are not `tl.constexpr`, in order: torch tensors on the cpu, which it changes in place, and numbers.
    constants: the others, by name. grid, check, rounding, uninitialised: as for `launch`, whose report is returned and whose
    errors are raised. Raises TypeError for arguments that do not fit the kernel.
    """
    ptx, entry, shared = compiled(
        kernel, args, constants, capability=capability, num_warps=num_warps, num_stages=num_stages
    )  # fmt: skip
    return launch(
        ptx, entry, grid, _WARP * num_warps, args, shared=shared, check=check, rounding=rounding, uninitialised=uninitialised
    )


def compiled(
    kernel: Any, args: Sequence[Any], constants: dict[str, Any], *, capability: int, num_warps: int = 4, num_stages: int = 3
) -> tuple[str, str, int]:
    """For these arguments, the kernel's PTX, its name there, and its bytes of shared memory. Raises TypeError."""
    names = [name for name in kernel.arg_names if name not in constants]
    if len(names) != len(args) or not set(constants) <= set(kernel.arg_names):
        raise TypeError(f"{kernel.__name__} takes {', '.join(kernel.arg_names)}: got {len(args)} and {', '.join(constants)}")
    signature = tuple(zip(names, map(_type, args), strict=True))
    aligned = tuple(name for name, value in zip(names, args, strict=True) if _is_aligned(value))
    return _compiled(kernel, signature, tuple(constants.items()), aligned, capability, num_warps, num_stages)


@cache
def _compiled(
    kernel: Any, signature: _Pairs, constants: _Pairs, aligned: tuple[str, ...], capability: int, warps: int, stages: int
) -> tuple[str, str, int]:
    names, kinds = kernel.arg_names, dict(signature)
    source = ASTSource(
        fn=kernel,
        signature={name: kinds.get(name, "constexpr") for name in names},
        constexprs=dict(constants),
        attrs={(names.index(name),): [["tt.divisibility", _ALIGNED]] for name in aligned},
    )
    options = {"num_warps": warps, "num_stages": stages}
    made = triton.compile(source, target=GPUTarget("cuda", capability, _WARP), options=options)
    entry = re.search(r"\.entry\s+(\w+)", made.asm["ptx"])
    assert entry is not None
    return made.asm["ptx"], entry[1], made.metadata.shared


def _type(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        if value.device.type != "cpu" or value.dtype not in _POINTERS:
            raise TypeError(f"a tensor must be on the cpu and of a type that Triton has, got {value.dtype} on {value.device}")
        return _POINTERS[value.dtype]
    if isinstance(value, float):
        return "fp32"
    if isinstance(value, int):
        return "i32" if -(2**31) <= value < 2**31 else "i64"
    raise TypeError(f"an argument is a tensor or a number, not {type(value).__name__}; constants are given by name")


def _is_aligned(value: Any) -> bool:
    number = value.data_ptr() if isinstance(value, torch.Tensor) else value
    return isinstance(number, int) and number % _ALIGNED == 0
