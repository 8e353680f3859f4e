"""The machine and the software of a run, and what it can do at most."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch

from dcnn_fast import engine

PACKAGES = ("dcnn-fast", "torch", "numpy", "pillow", "onnxruntime", "openvino")


def describe() -> dict[str, Any]:
    """Processor, engine, and versions."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
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


def limits() -> dict[str, float]:
    """Peaks of one thread: multiply-adds in registers (GFLOP/s), torch's matrix products (GFLOP/s), memory (GB/s)."""
    torch.set_num_threads(1)
    found = {f"multiply-adds {isa}": _peak(isa) for isa in engine.isas()}
    for dtype in (torch.float32, torch.bfloat16):
        found[f"torch GEMM 2048 {str(dtype).removeprefix('torch.')}"] = _gemm(dtype)
    big = np.ones(2**27 // 8)
    found["reading memory GB/s"] = big.nbytes / _best(big.sum) / 1e9
    target = np.empty_like(big)
    found["copying memory GB/s"] = 2 * big.nbytes / _best(lambda: np.copyto(target, big)) / 1e9
    return found


def _peak(isa: str) -> float:
    module = engine.load()
    rounds = 2_000_000
    operations = module.peak(isa, rounds)
    return float(operations / _best(lambda: module.peak(isa, rounds)) / 1e9)


def _gemm(dtype: torch.dtype) -> float:
    a, b = (torch.randn(2048, 2048).to(dtype) for _ in range(2))
    return 2 * 2048**3 / _best(lambda: a @ b) / 1e9


def _best(run: Any, rounds: int = 5) -> float:
    run()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)
