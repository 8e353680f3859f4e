"""Stage 1: versions, and whether both compilers work."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Iterator
from importlib import import_module, metadata

import torch

from dcnn_fast import engine
from dcnn_fast.ops import cuda_compile
from dcnn_fast.ops.gpus import named
from dcnn_fast.ops.launch import CudaKernel, Launch, capability, launch
from dcnn_fast.version import version
from tools.gpu_check.stage import ROOT, Finding, Setting

NEEDED = ("numpy", "pillow", "safetensors", "filelock", "jinja2", "typer", "rich")
MORE = ("simplejpeg",)  # makes reading JPEG files faster
FOR_A_GPU, FOR_TESTS = ("triton", "cupy-cuda13x", "cupy-cuda12x"), ("pytest", "pytest-xdist", "hypothesis")
DRIVER = "name,driver_version,memory.total,clocks.max.sm,power.limit"


def run(setting: Setting) -> Iterator[Finding]:
    """Versions first, in case a later check ends the process."""
    yield Finding("versions", None, values=_versions())
    lacking = [name for name in (*NEEDED, "triton") if _version(name) is None]
    yield Finding("packages", not lacking, f"not installed: {', '.join(lacking)}" if lacking else "all that is needed is there")
    yield Finding("engine", engine.reason() is None, engine.reason() or engine.describe())
    yield _device(setting)
    yield _nvrtc(setting)
    yield _triton(setting)


def _versions() -> dict[str, str]:
    found = {"dcnn_fast": version(), "python": platform.python_version(), "torch": torch.__version__}
    found |= {name: _version(name) or "not installed" for name in (*FOR_A_GPU, *FOR_TESTS, *NEEDED, *MORE)}
    return {**found, "cuda of torch": torch.version.cuda or "none", "machine": platform.platform()}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _device(setting: Setting) -> Finding:
    if setting.simulated:
        said = f"the PTX simulator, as sm_{setting.capability}; there is no GPU"
        return Finding("device", None, said, {"capability": setting.capability})
    if not torch.cuda.is_available():
        return Finding("device", False, "torch finds no CUDA device")
    has = torch.cuda.get_device_properties(setting.where)
    values = {
        "gpu": has.name, "capability": capability(setting.where), "multiprocessors": has.multi_processor_count,
        "memory": has.total_memory, "driver": _driver(),
    }  # fmt: skip
    return Finding("device", True, f"{has.name}, compute capability {named(capability(setting.where))}", values)


def _driver() -> str:
    if shutil.which("nvidia-smi") is None:
        return "nvidia-smi is not there"
    command = ["nvidia-smi", f"--query-gpu={DRIVER}", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout.strip()


def _nvrtc(setting: Setting) -> Finding:
    """Compile a kernel that adds nothing, and on a GPU load and launch it."""
    if why := cuda_compile.missing():
        return Finding("NVRTC", False, why)
    folder = setting.out / "trivial"
    folder.mkdir(exist_ok=True)
    (folder / "trivial.cu").write_text('extern "C" __global__ void trivial(float* x) { x[threadIdx.x] += 1.0f; }\n')
    x = torch.zeros(32, device=setting.where)
    with setting.kernels():
        launch(Launch(CudaKernel("trivial.cu", "trivial", ("x",), folder), (1,), {"x": x}, {}, warps=1))
        setting.wait()
    return Finding("NVRTC", bool((x == 1).all()), f"version {'.'.join(map(str, cuda_compile.nvrtc_version()))}")


def _triton(setting: Setting) -> Finding:
    """Run the update of one parameter, the project's smallest Triton kernel."""
    from dcnn_fast import ops  # noqa: PLC0415 - what is said before must not need it

    parameter, gradient, increment = (torch.full((64,), value, device=setting.where) for value in (1.0, 2.0, 0.0))
    with setting.kernels():
        ops.update([parameter], [gradient], [increment], rates=[0.5], momenta=[0.0], decays=[0.0])
        setting.wait()
    return Finding("Triton", bool((parameter == 0).all()), f"version {import_module('triton').__version__}, from {ROOT.name}")
