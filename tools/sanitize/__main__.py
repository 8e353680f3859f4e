"""Runs tests on an engine built with AddressSanitizer and UndefinedBehaviorSanitizer: `make sanitize`.

    python -m tools.sanitize [pytest's arguments]

Builds the engine once more, into build/sanitize, and runs pytest with it in a process of its own, which the first finding ends.
Without arguments the tests are those of SELECTION. Needs a compiler with both sanitizers, as gcc has them, and pip to build.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "sanitize"

# What calls the engine at small sizes: some of each file, so that all of it takes minutes.
SELECTION = (
    "tests/fuzz", "tests/ops/test_region_rules.py", "tests/ops/test_tile_unit.py", "tests/ops/block/test_regions.py",
    "tests/ops/block/test_cpu.py", "tests/ops/block/test_column.py", "tests/ops/backbone", "tests/ops/mbconv/test_cpu.py",
    "tests/ops/update",
)  # fmt: skip

# Python and torch leave memory to the system when they end, which the leak detector would call lost, by the thousand.
ASAN_OPTIONS = "detect_leaks=0"
UBSAN_OPTIONS = "print_stacktrace=1"


def build() -> Path:
    """The engine's module, built where its sources have changed."""
    # RelWithDebInfo: names of functions are kept, and nothing is optimised when it is linked, which would take minutes.
    settings = (f"build-dir={BUILD / 'cmake'}", "cmake.build-type=RelWithDebInfo", "cmake.define.DCNN_SANITIZE=ON")
    command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--upgrade"]
    command += ["--target", str(BUILD / "package"), *(word for setting in settings for word in ("-C", setting)), str(ROOT)]
    subprocess.run(command, check=True)
    return next((BUILD / "package" / "dcnn_fast").glob("_engine*.so"))


def runtime(engine: Path) -> str:
    """The libraries that must be in the process before anything asks for memory: the sanitizer's, and C++'s, whose exceptions
    it looks for when it starts.
    """
    needed = subprocess.run(["ldd", str(engine)], capture_output=True, text=True, check=True).stdout
    paths = {line.split()[0].split(".")[0]: line.split()[2] for line in needed.splitlines() if "=>" in line}
    return f"{paths['libasan']} {paths['libstdc++']}"


def main() -> int:
    engine = build()
    options = {"LD_PRELOAD": runtime(engine), "ASAN_OPTIONS": ASAN_OPTIONS, "UBSAN_OPTIONS": UBSAN_OPTIONS}
    command = [sys.executable, "-m", "tools.sanitize.tests", str(engine), *(sys.argv[1:] or SELECTION)]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **options}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
