"""Importing the package touches no driver and needs neither Triton nor CuPy."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import dcnn_fast

PROGRAM = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("triton", "cupy", "scipy", "sklearn", "skimage"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
import torch
torch.cuda._lazy_init = torch.cuda.is_available = torch.cuda.device_count = None  # calling one of them fails
import dcnn_fast
dcnn_fast.Scorer, dcnn_fast.ops.block
with open("/proc/self/maps") as file:
    assert "libcuda.so" not in file.read()
"""


def test_the_import_works_without_triton_and_cupy_and_asks_for_no_driver():
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_everything_public_can_be_imported_and_has_a_docstring():
    assert set(dcnn_fast.__all__) <= set(dir(dcnn_fast))
    for name in dcnn_fast.__all__:
        assert name == "__version__" or getattr(dcnn_fast, name).__doc__, name


def test_the_version_is_that_of_the_installed_package():
    assert dcnn_fast.__version__ == version("dcnn-fast")
