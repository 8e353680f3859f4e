"""The simulator's exceptions and findings."""

from __future__ import annotations

from dataclasses import dataclass


class UnsupportedInstruction(NotImplementedError):  # noqa: N818  (the name users of the simulator know)
    """PTX that the simulator does not execute; the message names the instruction and its line."""


@dataclass(frozen=True)
class Finding:
    """One broken rule: its kind, a description, the thread, and its place in the PTX and in the source."""

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
    """A kernel broke a rule. `findings` holds one `Finding` for each kind and PTX line."""

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = findings
        super().__init__("\n".join(str(f) for f in findings))
