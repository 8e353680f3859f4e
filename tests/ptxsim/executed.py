"""The README's table of instructions executed per architecture: those in the tests' kernels, which run and are checked.

`python -m tests.ptxsim.executed` writes it anew.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from unittest import mock

from ptxsim.building import program

from tests.ptxsim import test_mbarrier, test_triton
from tests.ptxsim.triton_kernels import TARGETS

README = Path(__file__).resolve().parents[2] / "ptxsim" / "README.md"
DATA = Path(__file__).parent / "data"
BEGIN, END = "<!-- written by tests/ptxsim/executed.py -->\n", "<!-- end -->\n"

# A row's name, and the pattern of its opcodes.
ROWS = {
    **{f"`mma` of {kind}": rf"mma\.sync.*\.{kind}\.{kind}\." for kind in ("f16", "bf16", "tf32")},
    **{f"`wgmma` of {kind}": rf"wgmma\.mma_async.*\.{kind}\.{kind}$" for kind in ("f16", "bf16", "tf32")},
    "`wgmma` fences, groups": r"wgmma\.(fence|commit_group|wait_group)",
    "`ldmatrix`": r"ldmatrix",
    "`stmatrix`": r"stmatrix",
    "`cp.async`": r"cp\.async\.c[ag]",
    "`cp.async.bulk`": r"cp\.async\.bulk",
    "`mbarrier`": r"mbarrier",
    "`fence.proxy.async`": r"fence\.proxy\.async",
    "`setmaxnreg`, `elect`, `mapa`": r"setmaxnreg|elect|mapa",
    "atomics": r"(atom|red)\.",
    "`shfl`": r"shfl",
    "packed fp32": r"\w+(\.\w+)*\.f32x2",
    "packed halves": r"\w+(\.\w+)*\.b?f16x2",
}


class _SeenError(Exception):
    """A test has reached its launch."""


def _of_triton(target: int) -> list[tuple[str, str]]:
    """(PTX, kernel) for every launch of `test_triton` that is made for all targets."""
    found = []

    def seen(ptx, kernel, *rest, **options):
        found.append((ptx, kernel))
        raise _SeenError

    with mock.patch.object(test_triton, "launch", seen):
        for name, test in vars(test_triton).items():
            marks = getattr(test, "pytestmark", []) if name.startswith("test_") else []
            if not any(mark.args[0] == "target" for mark in marks):
                continue
            choices = []
            for mark in marks:
                names = [mark.args[0]] if isinstance(mark.args[0], str) else list(mark.args[0])
                values = [target] if names == ["target"] else mark.args[1]
                choices.append([dict(zip(names, v if len(names) > 1 else [v], strict=True)) for v in values])
            for choice in itertools.product(*choices):
                arguments = {key: value for part in choice for key, value in part.items()}
                try:
                    test(**arguments)
                except _SeenError:
                    continue
                raise AssertionError(f"{name} launches nothing")
    return found


def _by_hand(target: int) -> list[tuple[str, str]]:
    """The kernels by nvcc and in handwritten PTX for one target."""
    if target == 80:
        ptx = (DATA / "samples.sm_80.ptx").read_text()
        return [(ptx, kernel) for kernel in ("gather", "block_sum", "pairs", "gemm", "integers")]
    if target == 90:
        more = ["mapa.shared::cluster.u32 %r20, %r6, 0;", "elect.sync %r20|%p2, 0xffffffff;"]
        return [((DATA / "hopper.sm_90a.ptx").read_text(), "product"), (test_mbarrier.text([*test_mbarrier.CLEAN, *more]), "k")]
    return []


def opcodes(target: int) -> tuple[int, set[str]]:
    """The number of kernels for a target, and all their opcodes."""
    kernels = list(dict.fromkeys([*_of_triton(target), *_by_hand(target)]))
    return len(kernels), {s.opcode for ptx, name in kernels for s in program(ptx, name).kernel.statements}


def table() -> str:
    """The table in Markdown."""
    by_target = {target: opcodes(target) for target in TARGETS}
    lines = ["| | " + " | ".join(f"sm_{target}" for target in TARGETS) + " |", "|---|" + "---|" * len(TARGETS)]
    lines.append("| kernels | " + " | ".join(str(count) for count, _ in by_target.values()) + " |")
    for row, pattern in ROWS.items():
        cells = ["yes" if any(re.match(pattern, op) for op in ops) else "" for _, ops in by_target.values()]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def written(text: str) -> str:
    """The README with the current table."""
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    return text[:start] + table() + text[end:]


if __name__ == "__main__":
    README.write_text(written(README.read_text()))
