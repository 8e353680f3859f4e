"""The sources that determine the figures of each suite, and whether results are from the present sources.

`DECIDED_BY` is the only list of them. A digest covers the content of files, so it needs no git and no history; a suite's
figures are stale where one of its digests has changed. Comments count, as no cheap rule separates them from code.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parent.parent
Digests = Mapping[str, str]  # by file or folder

ENGINE = ("CMakeLists.txt", "csrc", "dcnn_fast/engine.py")
NETWORKS = ("dcnn_fast/networks", "dcnn_fast/ops", "dcnn_fast/plan", "dcnn_fast/nets/column.py", "dcnn_fast/nets/network.py")
SCORING = ("dcnn_fast/runtime", "dcnn_fast/scoring", "dcnn_fast/nets/weights.py")
READING = (
    "dcnn_fast/data/reading.py", "dcnn_fast/data/color.py",
    "dcnn_fast/data/pillow_settings.py", "dcnn_fast/data/libtiff.py", "dcnn_fast/data/jpeg.py", "dcnn_fast/data/profiles.py",
    "dcnn_fast/data/upright.py", "dcnn_fast/data/reduction.py", "dcnn_fast/data/file_parts.py", "dcnn_fast/data/heif_items.py",
    "dcnn_fast/data/av1.py", "dcnn_fast/data/jpeg2000.py", "dcnn_fast/data/in_flight.py", "dcnn_fast/data/picture_cost.py",
    "dcnn_fast/data/shot.py", "dcnn_fast/data/decoded_memory.py", "dcnn_fast/data/summary.py",
    "bench/photos.py", "bench/pipeline.py",
)  # fmt: skip
MEASURING = ("bench/cases.py", "bench/effort.py", "bench/machine.py", "bench/measure.py", "bench/timing.py", "bench/row.py")
PEERS = ("bench/peers",)

DECIDED_BY: dict[str, tuple[str, ...]] = {
    "block": (*ENGINE, *NETWORKS, *MEASURING, *PEERS, "bench/work.py"),
    "score": (*ENGINE, *NETWORKS, *SCORING, *MEASURING, *PEERS, "bench/features.py"),
    "backbone": (
        *ENGINE, "dcnn_fast/ops", "dcnn_fast/networks/efficientnet.py", "dcnn_fast/nets/efficientnet.py", *MEASURING, *PEERS,
    ),
    "c_library": (
        *ENGINE, "include", *NETWORKS, *SCORING, *MEASURING, "dcnn_fast/c_library.py", "bench/c_binding.py",
        "examples/c_library",
    ),
    "roofline": (*ENGINE, *NETWORKS, *SCORING, *MEASURING, "bench/features.py", "bench/work.py"),
    "paper": (*ENGINE, *NETWORKS, *SCORING, *READING, *MEASURING, *PEERS),
    "jpeg": (*ENGINE, *NETWORKS, *SCORING, *READING, *MEASURING, *PEERS),
    "scaling": (*ENGINE, *NETWORKS, *SCORING, *READING, *MEASURING, "bench/features.py"),
    "read": (
        "CMakeLists.txt", "csrc/core/pixels.cpp", "csrc/core/resample.cpp", "csrc/core/resample_strips.cpp",
        "csrc/core/sha256.cpp", "csrc/core/summary.cpp", "csrc/cpu/pixel_steps_avx2.h", "csrc/cpu/pixels_avx2.cpp",
        "csrc/cpu/resample_avx2.cpp", "csrc/cpu/summary_x86.cpp", "csrc/python/pixels.cpp", "csrc/python/summary.cpp",
        "csrc/python/views.cpp", "dcnn_fast/ops/views", *READING, *MEASURING, "bench/icc.py",
    ),
    "training": (
        *ENGINE, *NETWORKS, *MEASURING, "dcnn_fast/training/update_rule.py", "bench/chain.py", "bench/training_step.py",
    ),
    "host": (
        "CMakeLists.txt", "csrc/core", "csrc/cpu", "csrc/python", "dcnn_fast/engine.py", *NETWORKS, *SCORING, *MEASURING,
        "dcnn_fast/training", "bench/counted.py", "bench/suites/host_step.py",
    ),
    "serve": (
        *ENGINE, *NETWORKS, *SCORING, *READING, *MEASURING, "dcnn_fast/serve", "dcnn_fast/cli/serve_run.py",
        "bench/serve_load.py",
    ),
    "gpu": ("dcnn_fast/networks", *MEASURING, *PEERS),
    "kernels": (
        "dcnn_fast/networks", "dcnn_fast/ops/block", "dcnn_fast/ops/gpus.py", "bench/gpu_cost.py",
        "bench/results/kernel-counts.json",
    ),
}  # fmt: skip

# Parts of folders that run only on GPUs; they determine no time measured on a processor.
ON_GPUS = (
    "csrc/cuda/*", "*/triton*", "*/cuda*", "*/gpu*", "*/device_tables.py", "*/launch.py", "*/recording.py", "*/views/fixed.py",
    "*/runtime/contexts.py", "*/runtime/copies.py", "*/runtime/device_columns.py", "*/runtime/fixed*.py", "*/runtime/ring.py",
)  # fmt: skip
OF_GPUS = ("host", "gpu", "kernels")  # suites with figures for GPUs, where these parts count

# Files that a run imports but that determine no figure: the choice of suites, printing and writing, and parts of dcnn_fast that
# come along when a package is imported.
NO_FIGURES = (
    "bench/__init__.py", "bench/__main__.py", "bench/contract.py", "bench/floors.py", "bench/report.py", "bench/result.py",
    "bench/run.py", "bench/sources.py", "bench/suites/__init__.py", "dcnn_fast/__init__.py", "dcnn_fast/cli/*",
    "dcnn_fast/data/*", "dcnn_fast/former.py", "dcnn_fast/locking.py", "dcnn_fast/nets/*", "dcnn_fast/partials.py",
    "dcnn_fast/photographs/*", "dcnn_fast/printable.py", "dcnn_fast/strict_json.py", "dcnn_fast/training/*",
    "dcnn_fast/version.py", "dcnn_fast/viz/*",
)  # fmt: skip

UNKNOWN, NO_SUITE = "unknown, as no digests were written down", "the suite {} has been removed"

_SUFFIXES = {".py", ".h", ".hpp", ".c", ".cpp", ".cu", ".cuh", ".txt", ".json", ".cmake"}


def files_of(suite: str, entry: str, root: Path = ROOT) -> list[str]:
    """The files of an entry of `DECIDED_BY`, relative to the root. Raises ValueError where there are none."""
    place = root / entry
    found = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.suffix in _SUFFIXES)
    names = [path.relative_to(root).as_posix() for path in found if path.is_file() and "__pycache__" not in path.parts]
    if suite not in OF_GPUS:
        names = [name for name in names if not any(fnmatch(name, pattern) for pattern in ON_GPUS)]
    if not names:
        raise ValueError(f"bench/sources.py names {entry}, where there is no source")
    return names


def entries(suite: str) -> tuple[str, ...]:
    """Files and folders that determine a suite's figures, including its own module."""
    return (*DECIDED_BY[suite], f"bench/suites/{suite}.py")


def digests(suite: str, root: Path = ROOT) -> Digests:
    """A digest of each file or folder that determines the suite's figures. Raises ValueError as `files_of`."""
    return {entry: _digest(tuple(files_of(suite, entry, root)), root) for entry in entries(suite)}


def _digest(names: Iterable[str], root: Path) -> str:
    state = hashlib.sha256()
    for name in names:
        content = (root / name).read_bytes().replace(b"\r\n", b"\n")  # line ends of a checkout do not count
        state.update(f"{name}\0{len(content)}\0".encode() + content)
    return state.hexdigest()[:16]


def changed(recorded: Mapping[str, Digests], root: Path = ROOT) -> dict[str, tuple[str, ...]]:
    """The suites whose recorded digests differ from the present sources, each with the differing files and folders.

    A suite without digests, or one that no longer exists, has a remark instead.
    """
    found = {}
    for suite, then in recorded.items():
        now = digests(suite, root) if suite in DECIDED_BY else {}
        differ = tuple(entry for entry in sorted({*then, *now}) if then.get(entry) != now.get(entry))
        if differ or not now:
            found[suite] = differ if then and now else (UNKNOWN if now else NO_SUITE.format(suite),)
    return found


@dataclass(frozen=True)
class State:
    """The date and source state of a result. commit: short, None where git gives none."""

    date: str
    commit: str | None = None
    edited: bool = False

    def __str__(self) -> str:
        commit = f", {self.commit}{' and what was not committed' if self.edited else ''}" if self.commit else ""
        return f"{self.date}{commit}"


def state(root: Path = ROOT) -> State:
    """The present state."""
    commit = _git(root, "rev-parse", "--short=7", "HEAD")
    edited = bool(commit and _git(root, "status", "--porcelain", "--untracked-files=no"))
    return State(datetime.now(timezone.utc).date().isoformat(), commit or None, edited)


def _git(root: Path, *arguments: str) -> str:
    """git's output, empty where there is no git, no history, or only an enclosing project's."""
    try:
        top = subprocess.run(["git", "-C", root, "rev-parse", "--show-toplevel"], capture_output=True, text=True, check=True)
        if Path(top.stdout.strip()).resolve() != root.resolve():
            return ""
        return subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def engine_file() -> Path | None:
    """The compiled engine's file; None where it was not built."""
    built = find_spec("dcnn_fast._engine")
    return Path(built.origin) if built is not None and built.origin else None


def unbuilt(root: Path = ROOT) -> str | None:
    """A warning when the compiled engine is older than its sources, so that times would not be theirs; None otherwise."""
    built = engine_file()
    if built is None:
        return None
    sources = [root / name for entry in ("CMakeLists.txt", "csrc") for name in files_of("block", entry, root)]
    newest = max(sources, key=lambda path: path.stat().st_mtime)
    if newest.stat().st_mtime <= built.stat().st_mtime:
        return None
    return f"the engine was built before {newest.relative_to(root).as_posix()} was changed: run `make setup` first"
