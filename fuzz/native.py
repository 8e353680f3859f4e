"""The targets in C++: tables of regions, plans, and model files in the C library's reader, built with AddressSanitizer and
UndefinedBehaviorSanitizer.

With clang and its libFuzzer, coverage guides; otherwise the corpora are replayed once.
"""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from fuzz.target import load
from tests.ops.random_tables import Tables, damaged, random_tables

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("core/*.cpp", "core/plan/*.cpp", "capi/*.cpp", "cpu/backbone.cpp", "cpu/block_spec.cpp", "cpu/column.cpp",
           "cpu/hashes.cpp",
           "cpu/mbconv.cpp", "cpu/pack.cpp", "cpu/passes.cpp", "cpu/run.cpp", "cpu/spread.cpp", "cpu/update.cpp",
           "cpu/cpu_features.cpp", "cpu/isa_portable.cpp")  # fmt: skip
NAMES = ("regions", "plan", "c_models")

# As in cpp/input.h.
_HOSTILE = (-(2**63), 1 - 2**63, -(2**31), -1000, 1000, 65535, 2**20, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1)
_FIRST_HOSTILE = 240


def build(names: Sequence[str], folder: Path) -> None:
    """Compile the targets into `folder`. Raises CalledProcessError where the compiler fails, OSError where it is missing."""
    if not names:
        return
    folder.mkdir(parents=True, exist_ok=True)
    clang = _has_libfuzzer(folder)
    command = ["clang++" if clang else "g++", "-std=c++17", "-O1", "-g1", "-ffp-contract=off", "-fno-math-errno"]
    command += [f"-fsanitize=address,undefined{',fuzzer-no-link' if clang else ''}", "-fno-sanitize-recover=all"]
    command += ["-I", str(ROOT / "csrc"), "-I", str(ROOT / "csrc" / "cpu")]
    command += ["-I", str(ROOT / "include"), '-DDCNN_VERSION="0"', "-pthread", "-w"]
    files = [file for pattern in SOURCES for file in sorted((ROOT / "csrc").glob(pattern))]
    objects = [folder / f"{file.parent.name}-{file.stem}.o" for file in files]
    for file, made in zip(files, objects, strict=True):
        subprocess.run([*command, "-c", str(file), "-o", str(made)], check=True)
    last = ["-fsanitize=fuzzer"] if clang else [str(ROOT / "fuzz" / "cpp" / "replay.cpp")]
    for name in names:
        target = str(ROOT / "fuzz" / "cpp" / f"{name}.cpp")
        subprocess.run([*command, target, *map(str, objects), *last, "-o", str(folder / name)], check=True)


def command(name: str, folder: Path, corpus: Path, findings: Path, arguments: Sequence[str]) -> list[str]:
    """The command of a built target, with its folders and libFuzzer's arguments."""
    return [
        str(folder / name),
        f"-artifact_prefix={findings}/",
        str(corpus),
        *arguments,
    ]  # new inputs go to the first folder


def _has_libfuzzer(folder: Path) -> bool:
    if shutil.which("clang++") is None:
        return False
    probe = folder / "probe.cpp"
    probe.write_text('extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }\n')
    made = ["clang++", "-fsanitize=fuzzer,address", str(probe), "-o", str(folder / "probe")]
    return subprocess.run(made, capture_output=True, check=False).returncode == 0


def _byte(value: int) -> int:
    return value + 2 if -2 <= value < _FIRST_HOSTILE - 2 else _FIRST_HOSTILE + _HOSTILE.index(value)


def _encoded(tables: Tables, rng: np.random.Generator) -> bytes:
    """Tables with their block in the format of cpp/regions.cpp. Raises ValueError for a value without a byte."""
    up, (pool, step), norm = tables.rounding == "up", tables.pool, int(rng.integers(3))
    found = [*rng.integers(0, 3, 3).tolist(), *map(_byte, (tables.size, tables.stride, tables.padding)), int(up)]
    found += [_byte(pool), _byte(step), norm, *([_byte(3)] if norm else []), 0, 0]
    for shapes in (tables.sources, tables.outputs):
        found += [len(shapes) - 1, *(_byte(value) for shape in shapes for value in shape)]
    for table in tables.arrays():
        rows = table.view(np.int64).reshape(len(table), -1)
        found += [len(rows), *(_byte(int(value)) for value in rows.ravel())]
    return bytes(found)


def _region_seeds() -> Mapping[str, bytes]:
    found = {}
    for seed in range(60):
        rng = np.random.default_rng(seed)
        tables = random_tables(rng)
        try:
            found[f"{seed}"] = _encoded(tables, rng)
            found[f"{seed}-damaged"] = _encoded(damaged(rng, tables), rng)
        except ValueError:
            continue  # more rows, or a larger value, than the format allows
    return found


def _plan_seeds() -> Mapping[str, bytes]:
    def column(*blocks: Sequence[int], channels: int, window: int, plane: int, windows: Sequence[tuple[int, int]]) -> bytes:
        found = [_byte(channels), _byte(window), 1, len(blocks)]
        for filters, size, stride, padding, pool, step in blocks:
            found += [*map(_byte, (filters, size, stride, padding)), 0, *map(_byte, (pool, step, 1)), 0, 3, 3, 3, 1]
        found += [_byte(plane), _byte(plane), len(windows), *(_byte(value) for window in windows for value in window), 8, 1]
        return bytes(found)

    places = [(0, 0), (3, 5), (8, 8), (4, 0), (3, 5)]
    return {
        "one": column((8, 5, 2, 0, 3, 2), channels=3, window=24, plane=32, windows=places),
        "two": column((8, 5, 2, 0, 3, 2), (12, 3, 1, 1, 1, 1), channels=3, window=24, plane=32, windows=places),
        "deep": column(
            (8, 11, 2, 0, 3, 2), (8, 5, 1, 2, 3, 2), (8, 3, 1, 1, 1, 1), channels=3, window=100, plane=120, windows=places
        ),
    }


def _model_seeds() -> Mapping[str, bytes]:
    """Whole files, their headers, and the headers' network JSON, as distinguished by cpp/c_models.cpp."""
    found = {}
    for name, data in load("model_files").seeds().items():
        (length,) = struct.unpack("<Q", data[:8])
        header = data[8 : 8 + length]
        entry = json.loads(json.loads(header)["__metadata__"]["dcnn_fast"])
        found[f"{name}, file"] = b"\0" + data
        found[f"{name}, header"] = b"\1" + header
        found[f"{name}, network"] = b"\2" + json.dumps(entry["network"]).encode()
    lite = {"name": "l", "columns": [{"lite": "lite1", "stages": [0, 3], "fc": [4], "plane": 40, "window": 33}]}
    found["a backbone's network"] = b"\2" + json.dumps(lite).encode()
    return found


SEEDS: Mapping[str, Callable[[], Mapping[str, bytes]]] = {
    "regions": _region_seeds, "plan": _plan_seeds, "c_models": _model_seeds,
}  # fmt: skip
