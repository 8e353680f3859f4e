"""`--max-memory`: a memory limit for a command's process, and the share that it leaves for pictures.

The limit is on the process's data (RLIMIT_DATA: allocated memory, including threads' stacks), which is within a few per cent of
its resident memory. The address space, which other limits restrict, is two to three times as large: libraries reserve memory
that they never touch.
"""

from __future__ import annotations

import re
import resource
from pathlib import Path
from typing import Annotated

import typer

OPTION = "--max-memory"
MaxMemory = Annotated[
    str | None,
    typer.Option(
        OPTION,
        metavar="SIZE",
        help="Limit the process's data (allocated memory, not files it maps), e.g. to 2G or 800M; pictures that do not fit "
        "into the memory left over are refused, others wait for their turn. Default: no limit; pictures in work share 2 GiB, "
        "or a sixteenth of the memory.",
    ),
]

MaxMemoryOfEach = Annotated[
    str | None,
    typer.Option(
        OPTION,
        metavar="SIZE",
        help="Limit the data of each of the run's processes (allocated memory, not files it maps), e.g. to 2G or 800M; "
        "photographs that do not fit beside training are skipped and named, a mini-batch that does not fit ends the run. "
        "Default: no limit; pictures in work share 2 GiB, or a sixteenth of the memory.",
    ),
]

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_OF_A_WORKER = 96 * 2**20  # its computations, and freed picture memory that the allocator keeps
_BESIDE = 128 * 2**20  # results that wait for their batch, tables, output
_LEAST_ROOM = 64 * 2**20
_TORCH_SAYS = "can't allocate memory"  # torch's CPU allocator, whose error has no type of its own


def limit_memory(size: str | None, workers: int | None, *, what: str | None = None, beside: int = 0) -> None:
    """Limit this process to `size` from now on; None sets no limit.

    Call it once the models are loaded. workers: pictures in work at a time, None for the scorer's default. what: names the need
    in the error, None for a model and its workers. beside: bytes that will still be allocated for anything but pictures.
    Raises ValueError for a malformed size, or one that is too small for the memory already in use.
    """
    import torch  # noqa: PLC0415 - keeps `dcnn-fast --help` fast

    from dcnn_fast.data import in_flight  # noqa: PLC0415 - imports torch

    if size is None:
        return
    most = _bytes(size)
    threads = min(256, torch.get_num_threads()) if workers is None else workers
    taken = _data() + threads * _OF_A_WORKER + _BESIDE + beside
    if most < taken + _LEAST_ROOM:
        least = -(-(taken + _LEAST_ROOM) // 2**20)
        what = f"this model and {threads} workers" if what is None else what
        raise ValueError(f"{OPTION} {size} is too little for {what}: it must be at least {least}M")
    in_flight.set_limit(most - taken, f"{OPTION} {size}")
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def is_short_of_memory(error: BaseException) -> bool:
    """Whether `error` is an out-of-memory error of Python, numpy, the engine or torch."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _TORCH_SAYS in str(error))


def _bytes(size: str) -> int:
    found = re.fullmatch(r"([0-9]{1,9})([KMGT]?)i?B?", size.strip(), re.IGNORECASE | re.ASCII)
    if found is None:
        raise ValueError(f"{OPTION} must be a number of bytes with K, M, G or T, as 2G, got {size!r}")
    return int(found[1]) * _UNITS[found[2].upper()]


def _data() -> int:
    """The bytes that count towards the limit now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0
