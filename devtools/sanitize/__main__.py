"""Runs the engine in builds that look for what a test alone does not see: `make sanitize`.

    python -m devtools.sanitize [--memory] [--thread] [pytest's arguments]

--memory: with AddressSanitizer and UndefinedBehaviorSanitizer, tests in a separate process that ends at the first finding.
Scratch memory is filled with NaN at every use: a kernel that reads unwritten values gives wrong results. --thread: with
ThreadSanitizer, several callers at once in programs without Python (csrc/tests/threads.cpp, and c_threads.cpp of the C
library).

Without either option, both. Each is rebuilt into build/sanitize when its sources have changed, and its seconds are reported.
Without pytest's arguments the tests are those of SELECTION. Needs a compiler with the sanitizers, such as gcc, and pip to
build.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dcnn_fast.nets import save_model
from tests import small_lite

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "sanitize"

# Tests that call the engine at small sizes, so that all take minutes: two parts of about equal time, each in a process.
SELECTION = (
    ("tests/fuzz/test_binding.py", "tests/ops/test_region_rules.py", "tests/ops/test_tile_unit.py", "tests/ops/test_hostile.py",
     "tests/ops/backbone/test_backbone.py", "tests/ops/mbconv/test_cpu.py", "tests/ops/update", "tests/ops/linear",
     "tests/c_library/test_scores.py", "tests/c_library/test_refusals.py",
     "-k", "not triton"),  # as Triton is not the engine
    ("tests/ops/block/test_regions.py", "tests/ops/block/test_cpu.py", "tests/ops/block/test_column.py",
     "tests/ops/block/test_first_ties.py"),
)  # fmt: skip

# At exit Python and torch leave memory to the system, which the leak detector would report thousands of times. Some tests
# request more than any memory on purpose, which must be refused as without the sanitizer.
ASAN_OPTIONS = "detect_leaks=0:allocator_may_return_null=1"
UBSAN_OPTIONS = "print_stacktrace=1"
TSAN_OPTIONS = "halt_on_error=1"


def build(name: str, **define: str) -> Path:
    """The install folder of a build with these CMake definitions, rebuilt when its sources have changed.

    pip builds in a new folder each time, for which CMake would recompile everything.
    """
    stamp = BUILD / name / "built"
    sources = [ROOT / "CMakeLists.txt", ROOT / "pyproject.toml", *(ROOT / "csrc").rglob("*")]
    if stamp.exists() and stamp.stat().st_mtime >= max(path.stat().st_mtime for path in sources):
        return BUILD / name / "package" / "dcnn_fast"
    began = time.time()
    # RelWithDebInfo: keeps function names and omits link-time optimisation, which would take minutes.
    settings = [f"build-dir={BUILD / name / 'cmake'}", "cmake.build-type=RelWithDebInfo"]
    settings += [f"cmake.define.{variable}={value}" for variable, value in define.items()]
    command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--upgrade"]
    command += [
        "--target",
        str(BUILD / name / "package"),
        *(word for setting in settings for word in ("-C", setting)),
        str(ROOT),
    ]
    subprocess.run(command, check=True)
    stamp.touch()
    os.utime(stamp, (began, began))  # changes made meanwhile may not be included
    return BUILD / name / "package" / "dcnn_fast"


def runtime(engine: Path) -> str:
    """The libraries that must be loaded before any allocation: the sanitizer's, and C++'s, whose exceptions the former looks up
    at its start.
    """
    needed = subprocess.run(["ldd", str(engine)], capture_output=True, text=True, check=True).stdout
    paths = {line.split()[0].split(".")[0]: line.split()[2] for line in needed.splitlines() if "=>" in line}
    return f"{paths['libasan']} {paths['libstdc++']}"


def memory(tests: Sequence[str]) -> int:
    """Tests under AddressSanitizer and UndefinedBehaviorSanitizer, with NaN in scratch memory; the status of the process."""
    engine = next(build("memory", DCNN_SANITIZE="ON").glob("_engine*.so"))
    options = {"LD_PRELOAD": runtime(engine), "ASAN_OPTIONS": ASAN_OPTIONS, "UBSAN_OPTIONS": UBSAN_OPTIONS}

    def run(part: Sequence[str]) -> int:
        command = [sys.executable, "-m", "devtools.sanitize.tests", str(engine), *part]
        environment = {**os.environ, "OMP_WAIT_POLICY": "passive", **options}
        said = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        done = subprocess.run(command, cwd=ROOT, env=environment, check=False, **said)
        print(done.stdout, flush=True)
        return done.returncode

    with ThreadPoolExecutor(len(SELECTION)) as pool:
        return int(any(list(pool.map(run, [tests] if tests else SELECTION))))  # negative for a signal


def threads(tests: Sequence[str]) -> int:
    """The programs of several callers under ThreadSanitizer; 0 where both ended well."""
    folder = build("thread", DCNN_SANITIZE="thread")
    model = BUILD / "thread" / "model.safetensors"
    save_model(small_lite.model(), model)
    # The sanitizer's memory is at fixed addresses, which address randomisation may have given away.
    still = ["setarch", os.uname().machine, "-R"]
    environment = {**os.environ, "TSAN_OPTIONS": TSAN_OPTIONS}
    programs = ([str(folder / "threads")], [str(folder / "c_threads"), str(model)])
    statuses = [subprocess.run([*still, *each], env=environment, check=False).returncode for each in programs]
    return int(any(statuses))


KINDS: dict[str, Callable[[Sequence[str]], int]] = {"memory": memory, "thread": threads}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m devtools.sanitize", description=(__doc__ or "").split("\n", 1)[0])
    for kind, run in KINDS.items():
        parser.add_argument(f"--{kind}", dest="kinds", action="append_const", const=kind, help=run.__doc__)
    asked, tests = parser.parse_known_args()

    def status_of(kind: str) -> int:
        start = time.perf_counter()
        status = KINDS[kind](tests)
        print(f"sanitize, {kind}: status {status} after {time.perf_counter() - start:.0f} s", flush=True)
        return status

    with ThreadPoolExecutor(2) as pool:  # each uses one core most of the time
        statuses = list(pool.map(status_of, asked.kinds or KINDS))
    return 1 if any(statuses) else 0


if __name__ == "__main__":
    sys.exit(main())
