"""Stores whether a GPU has passed the self-check of scores (`python -m tools.gpu_check`); `auto` chooses only such GPUs.

A verdict holds for one GPU model, driver, set of package versions and set of kernel sources; after a change in any of them the
check must run again.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from dcnn_fast.ops import cuda_compile
from dcnn_fast.ops.cache_folder import cache_folder
from dcnn_fast.version import version

_PACKAGES = ("triton", "cupy-cuda13x", "cupy-cuda12x")
_DRIVER = Path("/proc/driver/nvidia/version")
_HERE = Path(__file__).resolve().parents[1]


def passed(device: torch.device) -> bool:
    """Whether the check has passed on this GPU with the present driver, versions and sources."""
    file = _file()
    return file is not None and _read(file).get(_key(device)) is True


def keep(device: torch.device, verdict: bool) -> None:
    """Store the check's verdict; does nothing where the file cannot be written."""
    if (file := _file()) is None:
        return
    known = _read(file) | {_key(device): verdict}
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as part:
            json.dump(known, part, indent=1, sort_keys=True)
        os.replace(part.name, file)


def _file() -> Path | None:
    folder = cache_folder()
    return None if folder is None else folder / "gpu-checks.json"


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _key(device: torch.device) -> str:
    parts = torch.cuda.get_device_name(device), _driver(), f"dcnn-fast {version()}", f"torch {torch.__version__}"
    return ", ".join((*parts, *_installed(), f"kernels {_kernels()}"))


def _driver() -> str:
    try:
        return " ".join(_DRIVER.read_text().split())
    except OSError:
        return "driver unknown"


def _installed() -> list[str]:
    found = []
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found.append(f"{name} {metadata.version(name)}")
    return found


@cache
def _kernels() -> str:
    """A digest of all files that decide which kernels run and their results."""
    own = (file for part in ("ops", "runtime") for kind in ("*.py", "*.json") for file in (_HERE / part).rglob(kind))
    files = [*own, *cuda_compile.sources().rglob("*.cu*")]
    state = hashlib.sha256()
    for file in sorted(files):
        state.update(file.name.encode() + file.read_bytes())
    return state.hexdigest()[:16]
