"""Kernels in CUDA C++ on a GPU: CuPy loads the machine code and launches it on torch's current stream.

Nothing synchronises. A kernel's first launch on a device loads its module, which a CUDA graph cannot capture: launch once
before capturing. No launch has been run on a GPU; the arguments passed are tested without one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dcnn_fast.ops import cuda_compile
from dcnn_fast.ops.gpus import FREE_SHARED, WARP
from dcnn_fast.ops.launch import CudaKernel, Launch

_TYPES: dict[str, Any] = {
    "u64": np.uint64, "s64": np.int64, "b64": np.uint64, "u32": np.uint32, "s32": np.int32, "b32": np.uint32, "f32": np.float32,
    "f64": np.float64,
}  # fmt: skip


def launch(what: Launch) -> None:
    """Launch the kernel asynchronously on its tensors' device. The tensors must stay alive until it has run."""
    import cupy  # noqa: PLC0415

    tensors = [value for value in (*what.args.values(), *what.reads, *what.writes) if isinstance(value, Tensor)]
    device = tensors[0].device
    with torch.cuda.device(device):
        function, types = _function(what.kernel, tuple(sorted(what.constants.items())), device.index, what.shared)
        arguments = packed([what.args[name] for name in what.kernel.parameters], types)
        stream = cupys_stream(cupy.cuda, torch.cuda.current_stream(device).cuda_stream)
        function(tuple(what.grid), (WARP * what.warps,), arguments, shared_mem=what.shared, stream=stream)


class _Stream:
    """A stream in the CUDA stream protocol."""

    def __init__(self, address: int) -> None:
        self._address = address

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self._address


def cupys_stream(cuda: Any, address: int) -> Any:
    """Another library's stream as a CuPy stream. cuda: `cupy.cuda`, whose `ExternalStream` is deprecated since 14.2."""
    if hasattr(cuda.Stream, "from_external"):
        return cuda.Stream.from_external(_Stream(address))
    return cuda.ExternalStream(address)


def packed(values: Sequence[Tensor | int | float], types: Sequence[str]) -> tuple[Any, ...]:
    """Arguments as numpy scalars with the widths of a kernel's parameters, `parameter_types` of its PTX.

    A tensor becomes its address. Raises OverflowError for an integer that does not fit and TypeError where the counts differ.
    """
    if len(values) != len(types):
        raise TypeError(f"the kernel takes {len(types)} arguments, got {len(values)}")
    return tuple(
        _TYPES[kind](value.data_ptr() if isinstance(value, Tensor) else value)
        for value, kind in zip(values, types, strict=True)
    )


def parameter_types(ptx: str, kernel: str) -> tuple[str, ...]:
    """The types of a kernel's parameters, as PTX names them: ("u64", "u32", "f32")."""
    entry = re.search(rf"\.entry\s+{re.escape(kernel)}\s*\(([^)]*)\)", ptx)
    if entry is None:
        raise ValueError(f"there is no kernel {kernel} in the compiled source")
    return tuple(re.findall(r"\.param\s+\.(\w+)", entry[1]))


@cache
def _function(
    kernel: CudaKernel, constants: tuple[tuple[str, Any], ...], device: int, shared: int
) -> tuple[Any, tuple[str, ...]]:
    """The loaded kernel, with its shared memory allowed, and its parameters' types."""
    from cupy.cuda import driver, function  # noqa: PLC0415

    major, minor = torch.cuda.get_device_capability(device)
    code = cuda_compile.compiled(kernel.source, dict(constants), 10 * major + minor, kernel.folder)
    module = function.Module()
    module.load(code.cubin)
    loaded = module.get_function(kernel.name)
    if shared > FREE_SHARED:
        driver.funcSetAttribute(loaded.ptr, driver.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, shared)
    return loaded, parameter_types(code.ptx, kernel.name)
