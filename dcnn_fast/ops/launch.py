"""Launches kernels: on their tensors' device or, inside `launched_by`, by a simulator.

A kernel's launch is data (`Launch`), so that a GPU, the PTX simulator (ptxsim) and the report of compiled kernels
(devtools/kernel_report.py) all use the same launch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dcnn_fast.ops import cuda_compile


@dataclass(frozen=True)
class CudaKernel:
    """A kernel in CUDA C++: `extern "C" __global__ void name(parameters)` in the file `source` below csrc/cuda.

    parameters: their names, in order. folder: of the sources, csrc/cuda if None.
    """

    source: str
    name: str
    parameters: tuple[str, ...]
    folder: Path | None = None


@dataclass(frozen=True)
class Launch:
    """One launch of one kernel.

    kernel: the function under `triton.jit`, or a `CudaKernel`. grid: programs (thread blocks) per axis, up to three. args: its
    run-time arguments, by name. constants: its `tl.constexpr` arguments, or the CUDA C++ compiler's definitions. reads, writes:
    tensors that it reaches through addresses in tables. shared: bytes of dynamic shared memory, which Triton determines itself;
    stages, and registers (the most per thread), are for Triton only. Without `registers` the compiler may aim at fewer than the
    GPU has, for occupancy, and spill a few.
    """

    kernel: Any
    grid: tuple[int, ...]
    args: Mapping[str, Tensor | int | float]
    constants: Mapping[str, Any]
    warps: int = 4
    stages: int = 2
    reads: Sequence[Tensor] = field(default=())
    writes: Sequence[Tensor] = field(default=())
    shared: int = 0
    registers: int | None = None

    @property
    def options(self) -> dict[str, int]:
        """Triton's compiler options other than the constants."""
        registers = {} if self.registers is None else {"maxnreg": self.registers}
        return {"num_warps": self.warps, "num_stages": self.stages, **registers}


Launcher = Callable[[Launch], None]
Copier = Callable[[Tensor, Tensor], None]
DEFAULT_CAPABILITY = 80


@dataclass(frozen=True)
class _Stand:
    """A stand-in for a GPU; its fields are `launched_by`'s arguments."""

    launcher: Launcher
    capability: int
    copy: Copier | None


_instead: ContextVar[_Stand | None] = ContextVar("instead", default=None)
_kept: ContextVar[list[Any] | None] = ContextVar("kept", default=None)


def refused(device: torch.device) -> str | None:
    """None when Triton's kernels can be launched on the device's tensors, else one sentence that says why not."""
    if device.type != "cuda" and _instead.get() is None and not _interpreted():  # per block: quickest first
        return f"Triton's kernels run on cuda, not on {device.type}"
    return "Triton is not installed" if find_spec("triton") is None else None


def cuda_refused(device: torch.device) -> str | None:
    """None when kernels in CUDA C++ can be launched on the device's tensors, else one sentence that says why not."""
    if _instead.get() is None:
        if device.type != "cuda":
            return f"CUDA C++ kernels run on cuda, not on {device.type}"
        if not torch.cuda.is_available():
            return "no CUDA device was found"
        if find_spec("cupy") is None:
            return "CuPy is not installed, which launches CUDA C++ kernels"
    return cuda_compile.missing()


def launch(what: Launch) -> None:
    """Run the launch, asynchronously on a GPU; an empty grid launches nothing."""
    if 0 in what.grid:
        return
    instead = _instead.get()
    (instead.launcher if instead is not None else on_device)(what)


def capability(device: torch.device) -> int:
    """The compute capability that kernels are chosen for, ten times the major number plus the minor one."""
    if (instead := _instead.get()) is not None:
        return instead.capability
    if device.type != "cuda":
        return DEFAULT_CAPABILITY
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor


def gpu(index: int | None = None) -> torch.device:
    """The device for these kernels' tensors: the GPU of that number, or the current one, or the cpu where a simulator stands in
    for the only GPU.

    Raises RuntimeError where there is no such GPU.
    """
    stands_in = _instead.get() is not None
    count = 1 if stands_in else torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index is not None and index >= count:
        raise RuntimeError(f"no CUDA device {index} was found, of {count} that there are")
    if not count:
        raise RuntimeError("no CUDA device was found")
    if stands_in:
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device() if index is None else index)


def copied(tensor: Tensor, device: torch.device) -> Tensor:
    """A host tensor brought to the device, contiguous; the host does not wait for a GPU's copy."""
    tensor = tensor.contiguous()
    if device.type != "cuda":
        return tensor.to(device)
    pinned = tensor.pin_memory()
    if (kept := _kept.get()) is not None:
        kept.append(pinned)
    return pinned.to(device, non_blocking=True)


@contextmanager
def keeping(kept: list[Any]) -> Iterator[None]:
    """Within it, `kept` collects the host memory that copies read: a recording reads it again at every replay."""
    token = _kept.set(kept)
    try:
        yield
    finally:
        _kept.reset(token)


def copy(target: Tensor, source: Tensor) -> None:
    """Copy between tensors of one size and dtype, host to device or back; the host does not wait for a GPU."""
    instead = _instead.get()
    if instead is not None and instead.copy is not None:
        instead.copy(target, source)
    else:
        target.copy_(source, non_blocking=True)


@contextmanager
def launched_by(
    launcher: Launcher, capability: int = DEFAULT_CAPABILITY, *, copy: Copier | None = None
) -> Iterator[None]:  # fmt: skip
    """Within it every launch goes to `launcher`, a stand-in of that compute capability, and tensors on the cpu are accepted.

    copy: called as copy(target, source) in place of each copy between host and device; None: copies are made.
    """
    token = _instead.set(_Stand(launcher, capability, copy))
    try:
        yield
    finally:
        _instead.reset(token)


def on_device(what: Launch) -> None:
    """Run the launch on its tensors' device: a GPU, or Triton's interpreter."""
    if isinstance(what.kernel, CudaKernel):
        from dcnn_fast.ops import cuda_launch  # noqa: PLC0415 - it imports CuPy

        cuda_launch.launch(what)
        return
    run = what.kernel[what.grid]
    device = next(value.device for value in what.args.values() if isinstance(value, Tensor))
    if device.type != "cuda":
        run(**what.args, **what.constants, **what.options)
        return
    with torch.cuda.device(device):
        run(**what.args, **what.constants, **what.options)


def _interpreted() -> bool:
    """Whether Triton interprets its kernels; it decides so when a kernel's module is imported."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"
