"""Tiles chosen by timing them, where someone asks for it: DCNN_FAST_AUTOTUNE=1. Its choices are kept on disk.

Without it the choice is the cost model's, the same everywhere; a timing differs from run to run. Both choose among tiles that
give the same bits.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from dcnn_fast.ops.block.gpu.problem import problem_key
from dcnn_fast.ops.block.params import BlockParams
from dcnn_fast.ops.block.triton.config import ForwardConfig, forward_candidates
from dcnn_fast.ops.cache_folder import cache_folder

VARIABLE = "DCNN_FAST_AUTOTUNE"


def asked_for(device: torch.device) -> bool:
    """Whether tiles are to be timed: only where there is a GPU to time them on."""
    return os.environ.get(VARIABLE) == "1" and device.type == "cuda"


def cache_file(capability: int) -> Path | None:
    """Where the choices for a compute capability are kept: in the cache folder; None where there is none."""
    folder = cache_folder()
    return None if folder is None else folder / f"triton-tiles-{capability}.json"


def tuned(params: BlockParams, capability: int, keeps: bool, seconds: Callable[[ForwardConfig], float]) -> ForwardConfig:
    """The fastest of the problem's candidates by `seconds`, timed once and then remembered.

    keeps: as `forward_candidates` has it. seconds: the time of a run in one tile; a tile it raises RuntimeError or Triton's own
    errors for, such as one without room, is left out. Raises RuntimeError when none is left. A file that cannot be read counts
    as empty, one that cannot be written is not written; where there is no folder for it, this process remembers.
    """
    from triton.errors import TritonError  # noqa: PLC0415 - Triton on first use

    candidates = forward_candidates(params, keeps)
    path = cache_file(capability)
    key = f"{torch.__version__} {problem_key(params, keeps)}"
    known = _read(path, capability)
    if known.get(key) not in candidates:
        times: dict[str, float] = {}
        for name, config in candidates.items():
            try:
                times[name] = seconds(config)
            except (RuntimeError, TritonError):  # of these `OutOfResources` is no RuntimeError
                continue
        if not times:
            raise RuntimeError(f"no tile runs for {params}")
        known = _read(path, capability) | {key: min(times, key=lambda name: times[name])}
        _write(path, capability, known)
    return candidates[known[key]]


_found: dict[int, dict[str, str]] = {}  # by capability, of a process that has no folder to keep them in


def _read(path: Path | None, capability: int) -> dict[str, str]:
    if path is None:
        return _found.get(capability, {})
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path | None, capability: int, known: dict[str, str]) -> None:
    """All at once, so that no other process reads half a file."""
    if path is None:
        _found[capability] = known
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            json.dump(known, file, indent=1, sort_keys=True)
        os.replace(file.name, path)
    except OSError:
        return
