"""What a launch has executed, by instruction and in total."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
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

    `unique_load_sectors` and `unique_store_sectors`: different 32-byte sectors per thread block, summed over the blocks:
    what device memory moves if a block's own cache were all there is. `lines` has the counts of each PTX line.
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
    lines: dict[int, dict[str, Any]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def by_source(self) -> dict[str, dict[str, int]]:
        """The counts of `lines`, summed by source line (`file:line`)."""
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
        self.by_instruction[instruction].update(counts)

    def barrier(self, block: BasicBlock | None, warps: int) -> None:
        assert block is not None
        self.add(block.instructions[-1].index, barriers=warps)

    def report(self) -> Report:
        program = self.program
        report = Report(program.kernel.name)
        pipes: Counter[str] = Counter()
        opcodes: Counter[str] = Counter()
        for block, warps in zip(program.blocks, self.executed, strict=True):
            if warps == 0:
                continue
            for instruction in block.instructions:
                statement = instruction.statement
                pipes[instruction.pipe] += warps
                opcodes[statement.opcode] += warps
                counts = report.lines.setdefault(
                    statement.line,
                    {"text": statement.text, "source": statement.source, "instructions": 0},
                )
                counts["instructions"] += warps
                for name, n in self.by_instruction.get(instruction.index, {}).items():
                    counts[name] = counts.get(name, 0) + n
        totals: Counter[str] = Counter()
        for counter in self.by_instruction.values():
            totals.update(counter)
        report.instructions = dict(pipes)
        report.opcodes = dict(opcodes)
        report.issued = sum(pipes.values())
        for name in SUMMED:
            setattr(report, name, totals[name])
        return report
