"""How tests run the GPU's kernels on cpu tensors: as PTX in the simulator; with `--device cuda` on a GPU, on
copies; or in Triton's interpreter, where it was enabled before Triton's import.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch

from devtools.mirrored import mirrored

DEVICE_VARIABLE = "DCNN_FAST_TEST_DEVICE"  # set by `--device`
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
FLOATS = (torch.float32, torch.float16) if INTERPRETED else (torch.float32, torch.float16, torch.bfloat16)


def kernels_on_cpu(capability: int = 80) -> AbstractContextManager:
    """Context in which launches on cpu tensors run as PTX compiled for sm_`capability`, or on the actual GPU."""
    if INTERPRETED:
        return nullcontext()
    if device := os.environ.get(DEVICE_VARIABLE):
        return mirrored(device)
    from devtools.simulated import simulated  # noqa: PLC0415 - it compiles, which the interpreter cannot

    return simulated(capability)


@pytest.fixture
def triton_on_cpu(monkeypatch):
    """The triton backend, forced, on cpu tensors."""
    monkeypatch.setenv("DCNN_FAST_BACKEND", "triton")
    torch.set_num_threads(1)
    with kernels_on_cpu() as launches:
        yield launches
