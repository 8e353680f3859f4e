"""The simulator's exceptions and findings."""

from __future__ import annotations

from dataclasses import dataclass


class UnsupportedInstruction(NotImplementedError):  # noqa: N818  (the name users of the simulator know)
    """PTX that the simulator does not execute; the message names the instruction and its line."""


@dataclass(frozen=True)
class Finding:
    """One broken rule, the thread that broke it, and its place in the PTX and in the source.

    Attributes:
        kind: The rule's kind.
        message: A description.
        kernel: The kernel's name.
        block: The thread block's index, (x, y, z).
        thread: The thread's index in its block, (x, y, z).
        line: The line in the PTX, counted from 1.
        text: That line.
        source: The source line that it was compiled from, `file:line`, as far as the PTX names one.
    """

    kind: str
    message: str
    kernel: str
    block: tuple[int, int, int]
    thread: tuple[int, int, int]
    line: int
    text: str
    source: str

    def __str__(self) -> str:
        return (
            f"{self.kind} in {self.kernel}, thread block {self.block}, thread {self.thread}: {self.message}\n"
            f"    PTX line {self.line}: {self.text}\n    source {self.source}"
        )


class SimulationError(RuntimeError):
    """A kernel broke a rule.

    Args:
        findings: One `Finding` for each kind and PTX line; kept as the attribute `findings`.
    """

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = findings
        super().__init__("\n".join(str(f) for f in findings))
