"""The machine and the software of a run, and the machine's peaks."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from bench.row import counted
from bench.timing import seconds
from dcnn_fast import engine

PACKAGES = ("dcnn-fast", "torch", "numpy", "pillow", "onnxruntime", "openvino")


def describe() -> dict[str, Any]:
    """Processor, engine, and versions."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "system": platform.system(),
        "python": platform.python_version(),
        "engine": engine.describe(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def limits(threads: Iterable[int], rounds: int) -> dict[str, float]:
    """Peaks: multiply-adds in registers on one thread; torch's products (GFLOP/s) and memory (GB/s) for each number of threads.

    The best of `rounds` counts.
    """
    found = {f"multiply-adds {isa}": _peak(isa, rounds) for isa in engine.isas()}
    for count in threads:
        torch.set_num_threads(count)
        for dtype in (torch.float32, torch.bfloat16):
            found[_of(f"torch GEMM 2048 {str(dtype).removeprefix('torch.')}", count)] = _gemm(dtype, rounds)
        big = torch.ones(2**27 // 8, dtype=torch.float64)
        target = torch.empty_like(big)
        found[_of("reading memory GB/s", count)] = big.nbytes / _best(big.sum, rounds) / 1e9
        found[_of("copying memory GB/s", count)] = 2 * big.nbytes / _best(partial(target.copy_, big), rounds) / 1e9
    return found


def _of(name: str, threads: int) -> str:
    return name if threads == 1 else f"{name}, {counted(threads)}"


def peak_rate(limits: Mapping[str, float], precision: str, threads: int) -> float | None:
    """The GFLOP/s to which shares refer: in fp32 the multiply-adds in registers, one thread's times `threads`; in bf16, which
    has no such loop, torch's matrix product.
    """
    if precision == "bf16":
        return limits.get(_of("torch GEMM 2048 bfloat16", threads))
    rates = [rate for name, rate in limits.items() if name.startswith("multiply-adds")]
    return max(rates) * threads if rates else None


def bandwidth(limits: Mapping[str, float], threads: int) -> float | None:
    """The rate of reading, GB/s."""
    return limits.get(_of("reading memory GB/s", threads))


def _peak(isa: str, rounds: int) -> float:
    module = engine.load()
    times = 2_000_000
    operations = module.peak(isa, times)
    return float(operations / _best(lambda: module.peak(isa, times), rounds) / 1e9)


def _gemm(dtype: torch.dtype, rounds: int) -> float:
    a, b = (torch.randn(2048, 2048).to(dtype) for _ in range(2))
    return 2 * 2048**3 / _best(lambda: a @ b, rounds) / 1e9


def _best(run: Callable[[], object], rounds: int) -> float:
    run()
    return min(seconds(run) for _ in range(rounds))
