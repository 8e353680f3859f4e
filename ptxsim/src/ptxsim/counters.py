"""Counts of a launch, by instruction and in total."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any

from .errors import Finding
from .program import BasicBlock, Program

SUMMED = (
    "global_load_requests", "global_store_requests", "global_load_bytes", "global_store_bytes",
    "global_load_sectors", "global_store_sectors", "copy_bytes",
    "shared_load_requests", "shared_store_requests", "shared_load_bytes", "shared_store_bytes",
    "shared_wavefronts", "shared_ideal_wavefronts", "mma_multiply_adds", "atomic_operations", "barriers",
)  # fmt: skip


@dataclass
class Report:
    """Counts of one launch. Instructions, requests, sectors and wavefronts are per warp; bytes are of active threads.

    Attributes:
        kernel: The kernel's name.
        blocks: Thread blocks that ran.
        threads: Threads of a thread block.
        instructions: Instructions by pipe, an estimate: the hardware does not run PTX.
        opcodes: Instructions by opcode.
        issued: All instructions; a predicated one counts if its warp reaches it.
        global_load_requests: Loads from global memory.
        global_store_requests: Stores to global memory.
        global_load_bytes: Bytes that they load.
        global_store_bytes: Bytes that they store.
        global_load_sectors: 32-byte sectors that they load.
        global_store_sectors: 32-byte sectors that they store.
        unique_load_sectors: Different sectors loaded per thread block, summed over the blocks: the device memory's traffic if
            each thread block had a cache and shared none.
        unique_store_sectors: The same for stores.
        copy_bytes: Bytes of asynchronous copies.
        shared_load_requests: Loads from shared memory.
        shared_store_requests: Stores to shared memory.
        shared_load_bytes: Bytes that they load.
        shared_store_bytes: Bytes that they store.
        shared_wavefronts: Wavefronts of shared memory, with bank conflicts.
        shared_ideal_wavefronts: Wavefronts that there would be without bank conflicts.
        mma_multiply_adds: Multiply-adds of `mma` and `wgmma`.
        atomic_operations: Atomic operations, one for each active thread and value.
        barriers: Barriers, once per warp.
        findings: The rules that were broken, the first of each kind and PTX line.
        by_line: Computes `lines`, the counts of each PTX line.
    """

    kernel: str
    blocks: int = 0
    threads: int = 0
    instructions: dict[str, int] = field(default_factory=dict)
    opcodes: dict[str, int] = field(default_factory=dict)
    issued: int = 0
    global_load_requests: int = 0
    global_store_requests: int = 0
    global_load_bytes: int = 0
    global_store_bytes: int = 0
    global_load_sectors: int = 0
    global_store_sectors: int = 0
    unique_load_sectors: int = 0
    unique_store_sectors: int = 0
    copy_bytes: int = 0
    shared_load_requests: int = 0
    shared_store_requests: int = 0
    shared_load_bytes: int = 0
    shared_store_bytes: int = 0
    shared_wavefronts: int = 0
    shared_ideal_wavefronts: int = 0
    mma_multiply_adds: int = 0
    atomic_operations: int = 0
    barriers: int = 0
    findings: list[Finding] = field(default_factory=list)
    by_line: Callable[[], dict[int, dict[str, Any]]] = field(default=dict, repr=False, compare=False)

    @cached_property
    def lines(self) -> dict[int, dict[str, Any]]:
        """The counts of each PTX line that ran, computed on first use."""
        return self.by_line()

    def to_dict(self) -> dict[str, Any]:
        """All counts and findings, ready for `json.dumps`.

        Returns:
            The counts by their names, `lines`, and `findings` as dictionaries.
        """
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in {"by_line", "findings"}}
        return {**plain, "lines": self.lines, "findings": [asdict(f) for f in self.findings]}

    def by_source(self) -> dict[str, dict[str, int]]:
        """The counts of `lines`, summed by source line.

        Returns:
            By source line (`file:line`), the counts by their names.
        """
        sums: dict[str, Counter[str]] = defaultdict(Counter)
        for counts in self.lines.values():
            sums[counts["source"]].update({k: v for k, v in counts.items() if isinstance(v, int)})
        return {source: dict(c) for source, c in sums.items()}


class Counters:
    """Collects the counts of a launch, batch by batch."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.executed = [0] * len(program.blocks)
        self.by_instruction: dict[int, Counter[str]] = defaultdict(Counter)

    def execute(self, block: int, warps: int) -> None:
        self.executed[block] += warps

    def add(self, instruction: int, **counts: int) -> None:
        self.add_all(instruction, counts.keys(), counts.values())

    def add_all(self, instruction: int, names: Iterable[str], counts: Iterable[int]) -> None:
        total = self.by_instruction[instruction]
        for name, n in zip(names, counts, strict=True):
            total[name] += n

    def barrier(self, block: BasicBlock | None, warps: int) -> None:
        assert block is not None
        self.add(block.instructions[-1].index, barriers=warps)

    def report(self) -> Report:
        report = Report(self.program.kernel.name, by_line=self.lines)
        pipes: Counter[str] = Counter()
        opcodes: Counter[str] = Counter()
        for block, warps in self._that_ran():
            for counter, of in ((pipes, block.pipes), (opcodes, block.opcodes)):
                for name, n in of.items():
                    counter[name] += n * warps
        totals: Counter[str] = Counter()
        for counts in self.by_instruction.values():
            totals.update(counts)
        report.instructions = dict(pipes)
        report.opcodes = dict(opcodes)
        report.issued = sum(pipes.values())
        for name in SUMMED:
            setattr(report, name, totals[name])
        return report

    def _that_ran(self) -> Iterator[tuple[BasicBlock, int]]:
        return ((block, warps) for block, warps in zip(self.program.blocks, self.executed, strict=True) if warps)

    def lines(self) -> dict[int, dict[str, Any]]:
        """By PTX line: its text and source, the number of instructions that ran, and their counts."""
        lines: dict[int, dict[str, Any]] = {}
        for block, warps in self._that_ran():
            for instruction in block.instructions:
                of = instruction.statement
                counts = lines.setdefault(of.line, {"text": of.text, "source": of.source, "instructions": 0})
                counts["instructions"] += warps
                for name, n in self.by_instruction.get(instruction.index, {}).items():
                    counts[name] = counts.get(name, 0) + n
        return lines
