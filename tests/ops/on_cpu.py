"""Where the tests of the GPU's kernels run them, on cpu tensors: as PTX in the simulator; with `--device cuda` on a GPU, on
copies; or, where Triton was told so before it was imported, in its interpreter.
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
    """Within it, launches on cpu tensors run as PTX compiled for sm_`capability`, or on the GPU there is."""
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
