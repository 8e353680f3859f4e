"""Where the tensors of these tests lie: on a GPU or, to see that the tests work, on the cpu in the PTX simulator."""

from __future__ import annotations

import pytest
import torch

from tools.gpu_check.stage import Setting


@pytest.fixture
def gpu(request):
    """The setting of a GPU with its kernels: `--device cuda`, `cuda:N`, or `sim` for the simulator."""
    name = request.config.getoption("device")
    if name == "cpu":
        pytest.skip("needs a CUDA device")
    torch.set_num_threads(1)
    setting = Setting(name, request.config.rootpath)
    with setting.kernels():
        yield setting
    setting.wait()
