"""Runs the package's GPU kernels in the PTX simulator: within `simulated(80)`, their launches with cpu tensors go there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import ptxsim
from dcnn_fast.ops.launch import CudaKernel, Launch, launched_by
from devtools import aot

_ONE = Lock()  # the simulator keeps a module's state between launches


@contextmanager
def simulated(capability: int = 80, sources: Path | None = None) -> Iterator[list[tuple[Launch, Any]]]:
    """Compile every launch for sm_`capability` and run the PTX. Yields the list of launches and their reports so far.

    sources: a folder whose CUDA C++ is compiled instead of csrc/cuda.
    """
    done: list[tuple[Launch, Any]] = []

    def run(what: Launch) -> None:
        if sources is not None and isinstance(what.kernel, CudaKernel):
            what = replace(what, kernel=replace(what.kernel, folder=sources))
        done.append((what, simulate(what, capability)))

    with launched_by(run, capability):
        yield done


def simulate(what: Launch, capability: int) -> Any:
    """Run one launch and return the simulator's report; one at a time, from any thread."""
    with _ONE:
        code = aot.compiled(what, capability)
        args = [what.args[name] for name in code.names]
        buffers = [*what.reads, *what.writes]
        return ptxsim.launch(code.ptx, code.kernel, what.grid, 32 * code.warps, args, shared=code.shared, buffers=buffers)
