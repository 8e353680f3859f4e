"""Reads machine code's registers, spills, and the instructions of its loops."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import triton

_BIN = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
_INSTRUCTION = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)([^;]*);")
_LABEL = re.compile(r"^(\.L_\w+):")
_TENSOR = ("HMMA", "HGMMA", "UTCHMMA", "UTCQMMA", "OMMA", "QMMA")
_LOADS = ("LDG", "LDGSTS")
_BULK = ("UTMALDG", "UBLKCP")  # of one thread, for all
_OF_COPIES = ("UBLKCP", "SYNCS")
_SHORT = 12  # instructions


@dataclass(frozen=True)
class MachineCode:
    """registers: per thread. stack: bytes of local memory per thread, which holds spills. tensor: tensor-core instructions.
    tensor_loops, wide_loops: loops with tensor-core instructions, and those among them that load 16 bytes per thread. Where no
    loop has any and the code outside loops multiplies 16-bit operands, that code, from its first to its last tensor-core
    instruction, counts as one fully unrolled loop.
    """

    registers: int
    stack: int
    tensor: int
    tensor_loops: int
    wide_loops: int


def read(cubin: bytes) -> MachineCode:
    """The properties of a cubin with one kernel."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage = _run("cuobjdump", "-res-usage", file.name)
        text = _run("nvdisasm", "-c", file.name)
    match = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    if match is None:
        raise ValueError(f"cuobjdump names no registers: {usage!r}")
    code, loops = _loops(text)
    tensor_loops = [code[first : last + 1] for first, last in loops if any(map(_is_tensor, code[first : last + 1]))]
    tensor_loops = tensor_loops or _unrolled(code)
    wide = sum(any(map(_is_wide_load, body)) for body in tensor_loops)
    return MachineCode(int(match[1]), int(match[2]), sum(map(_is_tensor, code)), len(tensor_loops), wide)


def _unrolled(code: list[str]) -> list[list[str]]:
    # The norm's product with ones is tf32 and does not count as a loop. (sm_100's instructions do not name their operands.)
    places = [at for at, opcode in enumerate(code) if _is_tensor(opcode) and "TF32" not in opcode]
    return [code[places[0] : places[-1] + 1]] if places else []


def _is_tensor(opcode: str) -> bool:
    return opcode.partition(".")[0] in _TENSOR


def _is_wide_load(opcode: str) -> bool:
    name, *parts = opcode.split(".")
    return name in _BULK or (name in _LOADS and "128" in parts)


def _loops(text: str) -> tuple[list[str], list[tuple[int, int]]]:
    """The opcodes in order, and the innermost ranges (first, last) enclosed by a backward branch."""
    code: list[str] = []
    labels: dict[str, int] = {}
    branches: list[tuple[int, str]] = []
    for line in text.splitlines():
        if label := _LABEL.match(line):
            labels[label[1]] = len(code)
        elif found := _INSTRUCTION.search(line):
            if found[2].startswith("BRA") and (target := re.search(r"`\((\.L_\w+)\)", found[3])):
                branches.append((len(code), target[1]))
            code.append(found[2])
    back = sorted({(labels[target], at) for at, target in branches if labels.get(target, at + 1) <= at})
    return code, list(_innermost([loop for loop in back if not _starts_or_awaits_copies(code[loop[0] : loop[1] + 1])]))


def _starts_or_awaits_copies(body: list[str]) -> bool:
    """Whether a loop does nothing else: as long as copies are on their way, or once for each thread that starts one."""
    return len(body) <= _SHORT and any(opcode.partition(".")[0] in _OF_COPIES for opcode in body)


def _innermost(ranges: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for first, last in ranges:
        if not any((first, last) != other and first <= other[0] and other[1] <= last for other in ranges):
            yield first, last


def _run(tool: str, *arguments: str) -> str:
    return subprocess.run([str(_BIN / tool), *arguments], capture_output=True, text=True, check=True).stdout
