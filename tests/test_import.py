"""Importing the package touches no driver and needs neither Triton nor CuPy."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import dcnn_fast
from tests import warm

PROGRAM = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in (
            "triton", "cupy", "scipy", "sklearn", "skimage", "lxml", "onnx", "onnxruntime", "openvino", "fastapi", "uvicorn",
            "pyarrow", "pandas", "fsspec", "ray",
        ):
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


def test_a_first_score_waits_for_no_library_that_it_does_not_need():
    """Torch imports sympy, which takes a third of a second, for some ways of asking for tensors without memory."""
    program = (
        "import sys, numpy as np, dcnn_fast\n"
        "dcnn_fast.Scorer(samples=1).score(np.zeros((40, 50, 3), np.uint8))\n"
        "print([name for name in ('sympy', 'scipy', 'sklearn', 'matplotlib', 'torch._dynamo') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.stdout == "[]\n", result.stdout + result.stderr


def test_a_training_waits_for_no_compiler(tmp_path):
    """Torch's compiler, whose import by its optimiser takes over a second, and sympy."""
    program = """if True:
        import sys
        from pathlib import Path
        from dcnn_fast.training import ConvNetUpdate, Settings, train
        from tests.training import sets
        net = sets.net()
        train(net, sets.data_set(16, 4), Settings(epochs=1, batch=8), Path(sys.argv[1]))
        ConvNetUpdate(net.parameters()).load_state_dict(ConvNetUpdate(net.parameters()).state_dict())
        print([name for name in ('sympy', 'torch._dynamo') if name in sys.modules], file=sys.stderr)
    """
    result = warm.run(program, [tmp_path / "run"], cwd=ROOT.parent)
    assert result.stderr == "[]\n", result.stdout + result.stderr


def test_everything_public_can_be_imported_and_has_a_docstring():
    assert set(dcnn_fast.__all__) <= set(dir(dcnn_fast))
    for name in dcnn_fast.__all__:
        assert name == "__version__" or getattr(dcnn_fast, name).__doc__, name


def test_the_version_is_that_of_the_installed_package():
    assert dcnn_fast.__version__ == version("dcnn-fast")


# A package imports only from the lines before its own and from its neighbours in the same line.
LAYERS = (
    {"engine", "former", "locking", "networks", "partials", "printable", "spec", "strict_json", "version",
     "whole_files", "xmp"},
    {"ops"}, {"plan"}, {"nets"}, {"runtime"},
    {"data", "photographs", "scoring", "training", "evaluation", "viz"}, {"batch", "export", "serve"}, {"cli"},
)  # fmt: skip
ROOT = Path(dcnn_fast.__file__).parent


def imported(source):
    """The project's modules and packages that a source imports anywhere."""
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (name.split(".")[1] for name in names if name.startswith("dcnn_fast."))


def test_the_compiled_module_is_imported_by_one_file():
    assert [path.name for path in ROOT.rglob("*.py") if "_engine" in imported(path.read_text())] == ["engine.py"]


def test_imports_point_one_way():
    layer_of = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    files = [path for path in ROOT.rglob("*.py") if path.parent != ROOT or path.stem in layer_of]
    assert {path.relative_to(ROOT).with_suffix("").parts[0] for path in files} == set(layer_of)
    upward = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in imported(path.read_text())
        if name != "_engine" and layer_of[name] > layer_of[path.relative_to(ROOT).with_suffix("").parts[0]]
    ]
    assert not upward
