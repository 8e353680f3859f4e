"""Builds the C++ engine in a source tree without an installation: without it no region can be laid out for a GPU.

pybind11 comes with torch. The files and their flags are read from CMakeLists.txt.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import invalidate_caches
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FLAGS = (
    "-std=c++17",
    "-fPIC",
    "-fvisibility=hidden",
    "-O3",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-DDCNN_SANITIZED=0",
    "-DDCNN_X86",
)


def built(seconds: float) -> str | None:
    """Build the engine where it is missing, in a process of its own. Returns None, or one sentence on why it cannot be built.

    Raises TimeoutError where it takes longer; the next time goes on from what has been compiled.
    """
    if _is_there():
        return None
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        return "there is no C++ compiler (g++ or clang++)"
    if find_spec("torch") is None:
        return "torch, which pybind11 comes with, is not installed"
    sys.stderr.write("building the C++ engine, once for this tree\n")
    program = [sys.executable, "-m", "tools.gpu_check.plain_tree", compiler]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True) as process:
        try:
            _, said = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"it was not built within {seconds:.1f} seconds") from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # compilers, too
    if process.returncode:
        return said.strip()[-500:]
    invalidate_caches()
    return None


def main() -> int:
    """The process that builds, with the compiler that it is given."""
    try:
        _build(sys.argv[1], ROOT / "dcnn_fast" / f"_engine{sysconfig.get_config_var('EXT_SUFFIX')}")
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"{error.cmd[0]} ended with status {error.returncode}: {error.stderr.strip()[-400:]}\n")
        return 1
    return 0


def _is_there() -> bool:
    """Whether the package has its engine, without importing the package, which looks for the engine only once."""
    package = find_spec("dcnn_fast")
    where = None if package is None else package.submodule_search_locations
    finders = (getattr(finder, "find_spec", None) for finder in sys.meta_path)
    return any(find is not None and find("dcnn_fast._engine", where) is not None for find in finders)


def sources(text: str) -> dict[str, list[str]]:
    """The engine's files with each one's additional flags, from CMakeLists.txt on x86-64."""
    names: list[str] = []
    for variable, place in (("CORE", "csrc/core"), ("CPU", "csrc/cpu"), ("BINDING", "csrc/python")):
        for listed in re.findall(rf"(?:set\({variable}|APPEND {variable}) ([^)]*)\)", text):
            names += [f"{place}/{name}.cpp" for name in listed.split()]
    found: dict[str, list[str]] = {name: [] for name in names}
    for files, flags in re.findall(r'set_source_files_properties\(([^"]*?)\s+PROPERTIES\s+COMPILE_OPTIONS "(-m[^"]*)"\)', text):
        for name in files.split():
            found[name] = flags.split(";")
    return found


def _build(compiler: str, library: Path) -> None:
    torch = find_spec("torch")  # for the folder of pybind11 alone
    assert torch is not None and torch.origin is not None
    objects = ROOT / "build" / "plain"
    objects.mkdir(parents=True, exist_ok=True)
    folders = ["csrc", "csrc/cpu", str(Path(torch.origin).parent / "include"), sysconfig.get_path("include")]
    base = [compiler, *_FLAGS, *(f"-I{each}" for each in folders)]

    def compiled(item: tuple[str, list[str]]) -> Path:
        name, flags = item
        made = objects / name.replace("/", "-").replace(".cpp", ".o")
        if not made.exists() or made.stat().st_mtime < _changed():
            part = made.with_suffix(".part")
            _run([*base, *flags, "-c", name, "-o", str(part)])
            os.replace(part, made)  # a part that is cut off is not taken for the whole
        return made

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = list(pool.map(compiled, sources((ROOT / "CMakeLists.txt").read_text()).items()))
    part = library.with_suffix(".part")
    _run([compiler, "-shared", "-pthread", *map(str, made), "-o", str(part)])
    os.replace(part, library)


def _changed() -> float:
    """The time of the last change of a source."""
    return max(file.stat().st_mtime for file in (ROOT / "csrc").rglob("*") if file.is_file())


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main())
