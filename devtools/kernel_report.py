"""Compile every GPU kernel and configuration that a preset can select, for every GPU, and judge the machine code.

    python -m devtools.kernel_report            compile what has changed and write devtools/kernel_report.csv
    python -m devtools.kernel_report --check    compare with the committed table; exit 1 when it is stale or a rule is broken

A row is one kernel, problem and compute capability. `source` is a hash of all that the machine code follows from; --check
compiles what has another hash than the committed row, and some of the others. Rules: no spills; tensor cores in a loop of
every kernel with 16-bit products; 16-byte loads in every such loop, but for block 1, whose pixels have 3 channels, and for
EfficientNet-Lite's layers (launches.py). sm_75, for which Triton emits no tensor-core instructions, is reported and not judged.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import re
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import triton
import triton.language as tl
from rich.progress import track

from dcnn_fast.ops import cuda_compile
from dcnn_fast.ops.gpus import CAPABILITIES, LEAST_CAPABILITY, MULTIPROCESSORS, WARP
from dcnn_fast.ops.launch import CudaKernel, Launch
from devtools import aot, sass
from devtools.launches import Named, as_compiled, preset_launches

TABLE = Path(__file__).with_suffix(".csv")
JUDGED = tuple(capability for capability in CAPABILITIES if capability >= LEAST_CAPABILITY)
_CHUNK = 200  # rows compiled before the table is written
SAMPLE = 40  # --check compiles one in this many unchanged rows


@dataclass(frozen=True)
class Row:
    """registers, stack: per thread. shared: bytes per thread block. occupancy: resident warps over the maximum."""

    kernel: str
    problem: str
    capability: int
    source: str
    warps: int
    registers: int
    stack: int
    shared: int
    occupancy: float
    tensor: int
    tensor_loops: int
    wide_loops: int

    @property
    def key(self) -> tuple[str, str, int]:
        """The row's key."""
        return self.kernel, self.problem, self.capability


def occupancy(capability: int, registers: int, shared: int, warps: int) -> float:
    """Resident warps over a multiprocessor's maximum, 0 where a thread block does not fit. Registers come in 256 per warp."""
    of = MULTIPROCESSORS[capability]
    taken = shared + of.reserved
    if taken > of.shared:
        return 0.0
    by_registers = of.registers // (-(-registers * WARP // 256) * 256 * warps)
    by_shared = of.shared // taken if taken else of.blocks
    return min(by_registers, by_shared, of.blocks, of.warps // warps) * warps / of.warps


@cache
def kernel_text(kernel: Any) -> str:
    """The text of a kernel, of the functions under `triton.jit` that it calls, and the constants they name.

    Triton's own key of a kernel includes its first line's number, so that a comment above it would make all rows stale.
    """
    text: dict[str, str] = {}
    left = [kernel]
    while left:
        function = left.pop()
        text[function.__name__] = function.src
        for name in sorted(set(re.findall(r"[A-Za-z_]\w*", function.src)) - text.keys()):
            value = function.fn.__globals__.get(name)
            if isinstance(value, triton.JITFunction):
                left.append(value)
            elif isinstance(value, tl.constexpr):
                text[name] = repr(value)
    return repr(sorted(text.items()))


def source_of(what: Launch, capability: int) -> str:
    """A hash of the machine code's sources: the text of the kernel and of everything it calls or includes, its constants, the
    arguments' types, the compiler.
    """
    if isinstance(what.kernel, CudaKernel):
        kernel = what.kernel
        content = cuda_compile.content_hash(kernel.source, what.constants, capability, kernel.folder)
        return hashlib.sha256(repr((content, kernel.name, what.warps, what.shared)).encode()).hexdigest()[:12]
    signature, constants, aligned = aot.specialised(what)
    options = tuple(what.options.values())
    parts = (kernel_text(what.kernel), triton.__version__, signature, constants, aligned, capability, *options)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


_queue: list[tuple[Named, int]] = []


def _measured(index: int) -> Row:
    named, capability = _queue[index]
    code = aot.compiled(named.launch, capability)
    found = sass.read(code.cubin)
    shared = code.shared + code.declared
    return Row(
        code.kernel, named.problem, capability, source_of(named.launch, capability), code.warps, found.registers, found.stack,
        shared, round(occupancy(capability, found.registers, shared, code.warps), 3), found.tensor,
        found.tensor_loops, found.wide_loops,
    )  # fmt: skip


def broken_rules(row: Row, named: Named) -> Iterator[str]:
    """The rules that a row breaks, as sentences."""
    where = f"{row.kernel} of {row.problem} on sm_{row.capability}"
    if row.capability not in JUDGED:
        return
    if row.stack:
        yield f"{where} spills: {row.stack} bytes of stack"
    if row.occupancy == 0:
        yield f"{where} does not fit: {row.shared} bytes of shared memory"
    if named.tensor and not row.tensor_loops:
        yield f"{where} has no loop with tensor cores"
    if named.wide and row.wide_loops < row.tensor_loops:
        yield f"{where} has {row.wide_loops} of {row.tensor_loops} loops with tensor cores that load 16 bytes"


def _jobs() -> list[tuple[Named, int]]:
    return [(as_compiled(named), capability) for capability in CAPABILITIES for named in preset_launches(capability)]


def _compile(jobs: list[tuple[Named, int]], title: str) -> list[Row]:
    # Kernels cannot be pickled; a forked process has them already.
    _queue[:] = jobs
    with ProcessPoolExecutor(os.cpu_count(), get_context("fork")) as pool:
        return list(track(pool.map(_measured, range(len(jobs)), chunksize=4), title, total=len(jobs)))


def _read() -> dict[tuple[str, str, int], Row]:
    if not TABLE.exists():
        return {}
    kinds = {field.name: {"int": int, "float": float, "str": str}[str(field.type)] for field in fields(Row)}
    with TABLE.open(newline="") as file:
        rows = [Row(**{name: kinds[name](value) for name, value in line.items()}) for line in csv.DictReader(file)]
    return {row.key: row for row in rows}


def _write(rows: Iterable[Row]) -> None:
    with TABLE.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def _renewed(jobs: list[tuple[Named, int]]) -> dict[tuple[str, str, int], Row]:
    """The updated table, which is also written at intervals meanwhile."""
    selected = {_key(job) for job in jobs}
    known = {key: row for key, row in _read().items() if key in selected}
    stale = [job for job in jobs if _hash(known.get(_key(job))) != source_of(job[0].launch, job[1])]
    for first in range(0, len(stale), _CHUNK):
        known |= {row.key: row for row in _compile(stale[first : first + _CHUNK], f"compiling from {first} of {len(stale)}")}
        _write(known[key] for key in map(_key, jobs) if key in known)
    _write(known[key] for key in map(_key, jobs))
    return known


def _check() -> list[str]:
    jobs = _jobs()
    known = _read()
    names: dict[tuple[str, str, int], Named] = {_key(job): job[0] for job in jobs}
    said = [f"the table has a row for {key}, which no preset selects" for key in known.keys() - names.keys()]
    stale = [
        job for i, job in enumerate(jobs) if i % SAMPLE == 0 or _hash(known.get(_key(job))) != source_of(job[0].launch, job[1])
    ]
    for row in _compile(stale, "compiling"):
        if row != known.get(row.key):
            said.append(f"the table is stale: {known.get(row.key)} is now {row}")
            known[row.key] = row
    return said + [rule for key, row in known.items() if key in names for rule in broken_rules(row, names[key])]


def _key(job: tuple[Named, int]) -> tuple[str, str, int]:
    named, capability = job
    return aot.kernel_name(named.launch), named.problem, capability


def _hash(row: Row | None) -> str:
    return row.source if row is not None else ""


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 when a rule is broken or the table is stale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed table")
    check = parser.parse_args(arguments).check
    if check:
        said = _check()
    else:
        jobs = _jobs()
        rows = _renewed(jobs)
        said = [rule for job in jobs for rule in broken_rules(rows[_key(job)], job[0])]
    print(summary(list(_read().values())))
    print("\n".join(said) or "no rule is broken")
    return 1 if said else 0


def summary(rows: list[Row]) -> str:
    """One line for each capability."""
    lines = []
    for capability in CAPABILITIES:
        own = [row for row in rows if row.capability == capability]
        if own:
            spills = sum(row.stack > 0 for row in own)
            most = max(row.registers for row in own)
            shared = max(row.shared for row in own)
            lines.append(
                f"sm_{capability}: {len(own)} kernels, at most {most} registers and {shared} bytes of shared memory, "
                f"{spills} with a stack, {sum(row.tensor_loops > 0 for row in own)} with tensor cores"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
