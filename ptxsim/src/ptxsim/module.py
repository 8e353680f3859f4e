"""PTX kernels decoded into Python closures: register names become slots, statements become basic blocks."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from .errors import UnsupportedInstruction
from .parser import TYPE_BYTES, Kernel, Module, Statement, Variable, parse, parse_integer
from .values import BOOL, DTYPES, Array, constant

if TYPE_CHECKING:
    from .machine import Machine

Run = Callable[["Machine"], None]
Decoder = Callable[[Statement, "Context"], Run]
DECODERS: dict[str, Decoder] = {}

# Generic addresses of shared and local memory: outside what a host process can be given for its tensors.
SHARED_WINDOW = 1 << 60
LOCAL_WINDOW = 1 << 61


def decoder(*names: str) -> Callable[[Decoder], Decoder]:
    """Register a decoder for the opcodes whose first part is one of `names`."""

    def enter(function: Decoder) -> Decoder:
        for name in names:
            DECODERS[name] = function
        return function

    return enter


@dataclass
class Address:
    """`[base + offset]`: a register slot or None, and a constant."""

    slot: int | None
    offset: int


@dataclass
class Instruction:
    index: int
    statement: Statement
    run: Run
    pipe: str


@dataclass
class BasicBlock:
    """Straight code. Only its last instruction can change where the threads go; `run` of that one is `leave`."""

    index: int
    body: list[Run]
    leave: Run | None
    instructions: list[Instruction]
    pipes: dict[str, int] = field(default_factory=dict)


@dataclass
class Program:
    """A kernel ready to run."""

    kernel: Kernel
    blocks: list[BasicBlock]
    slots: int
    constants: dict[int, Array]
    special: dict[str, int]
    shared_bytes: int
    local_bytes: int
    parameters: list[Variable]
    parameter_offsets: dict[str, int]
    parameter_bytes: np.ndarray
    module_variables: dict[str, tuple[Variable, np.ndarray]]
    instructions: list[Instruction]


ENDS_BLOCK = {"bra", "ret", "exit", "bar", "barrier", "brx", "trap"}


class Context:
    """What a decoder needs: names to slots, labels to blocks."""

    def __init__(self, module: Module, kernel: Kernel) -> None:
        self.module, self.kernel = module, kernel
        self.names: dict[str, int] = {}
        self.constants: dict[int, Array] = {}
        self._constant_slots: dict[tuple[int, int], int] = {}
        self.special: dict[str, int] = {}
        self.slots = 0
        self.written: set[int] = set()
        self.next_block = 0
        self.block_of: dict[int, int] = {}
        self._lay_out()

    def _lay_out(self) -> None:
        """Give every variable its address: offsets in shared and local memory and in the parameters, host addresses else."""
        self.addresses: dict[str, tuple[int, str]] = {}
        sizes = {"shared": 0, "local": 0}
        variables = [v for v in self.module.variables if v.space == "shared"] + self.kernel.variables
        for v in sorted(variables, key=lambda v: v.external):
            start = -(-sizes[v.space] // v.align) * v.align
            self.addresses[v.name] = (start, v.space)
            # Dynamic shared memory, which has no size here, starts behind everything else.
            sizes[v.space] = start + v.bytes
        self.shared_bytes, self.local_bytes = sizes["shared"], sizes["local"]
        offset = 0
        self.parameter_offsets = {}
        for p in self.kernel.parameters:
            offset = -(-offset // p.align) * p.align
            self.parameter_offsets[p.name] = offset
            offset += p.bytes
        self.parameter_bytes = aligned_bytes(offset)
        for name, start in self.parameter_offsets.items():
            self.addresses[name] = (self.parameter_bytes.ctypes.data + start, "param")
        self.module_variables = {}
        for v in self.module.variables:
            if v.space != "shared":
                data = aligned_bytes(v.bytes)
                self.module_variables[v.name] = (v, data)
                self.addresses[v.name] = (data.ctypes.data, v.space)

    def new_slot(self) -> int:
        self.slots += 1
        return self.slots - 1

    def constant(self, value: int, size: int) -> int:
        key = (value % (1 << 8 * size), size)
        if key not in self._constant_slots:
            slot = self._constant_slots[key] = self.new_slot()
            self.constants[slot] = constant(value, size)
        return self._constant_slots[key]

    def register(self, name: str) -> int:
        if name not in self.names:
            self.names[name] = self.new_slot()
        return self.names[name]

    def width(self, name: str) -> int:
        """Bytes of a declared register."""
        return TYPE_BYTES[self.kernel.registers[name]]

    def is_register(self, name: str) -> bool:
        return name in self.kernel.registers

    def target(self, name: str) -> int | None:
        """Slot that an instruction writes; None for the sink `_`."""
        if name == "_":
            return None
        if not self.is_register(name):
            raise UnsupportedInstruction(f"{name} is not a declared register")
        slot = self.register(name)
        self.written.add(slot)
        return slot

    def source(self, text: str, kind: str = "b32") -> int:
        """Slot to read for a register, a literal, a special register or the address of a variable."""
        if self.is_register(text):
            return self.register(text)
        if re.match(r"-?\d", text):
            return self._literal(text, kind)
        if text.startswith("%") or text == "WARP_SZ":
            return self.special.setdefault(text, self.new_slot())
        m = re.fullmatch(r"([\w$%]+)([+-]\d+)?", text)
        if m and m.group(1) in self.addresses:
            return self.constant(self.addresses[m.group(1)][0] + int(m.group(2) or 0), DTYPES[kind].itemsize)
        raise UnsupportedInstruction(f"cannot read the operand {text!r}")

    def _literal(self, text: str, kind: str) -> int:
        if m := re.fullmatch(r"0[fF]([0-9a-fA-F]{8})", text):
            raw = int(m.group(1), 16)
            if kind != "f64":
                return self.constant(raw, 4)
            single = np.array([raw], dtype=np.uint32).view(np.float32)
            return self.constant(int(single.astype(np.float64).view(np.uint64)[0]), 8)
        if m := re.fullmatch(r"0[dD]([0-9a-fA-F]{16})", text):
            return self.constant(int(m.group(1), 16), 8)
        value = parse_integer(text)
        if kind != "pred":
            return self.constant(value, DTYPES[kind].itemsize)
        slot = self.new_slot()
        self.constants[slot] = np.array([[value != 0]], dtype=BOOL)
        return slot

    def address(self, text: str) -> Address:
        """`[reg+4]`, `[symbol+4]`, `[reg]` or `[1234]`."""
        m = re.fullmatch(r"\[([^+\-\]]+)(?:\+?(-?\w+))?\]", text)
        if m is None:
            raise UnsupportedInstruction(f"cannot read the address {text}")
        base, offset = m.group(1), parse_integer(m.group(2)) if m.group(2) else 0
        if self.is_register(base):
            return Address(self.register(base), offset)
        if base in self.addresses:
            return Address(None, self.addresses[base][0] + offset)
        return Address(None, parse_integer(base) + offset)

    def vector(self, text: str) -> list[str]:
        """The elements of `{a, b}`, or the one operand there is."""
        return text[1:-1].split(",") if text.startswith("{") else [text]

    def label(self, name: str) -> int:
        """Index of the basic block that a label starts."""
        return self.block_of[self.kernel.labels[name]]


def aligned_bytes(size: int) -> np.ndarray:
    """Zeros that start at a multiple of 256."""
    raw = np.zeros(size + 512, dtype=np.uint8)
    start = -raw.ctypes.data % 256
    return raw[start : start + size]


def predicated(run: Run, slot: int, negated: bool) -> Run:
    """`run` for those threads only whose predicate holds."""

    def guarded(m: Machine) -> None:
        p = m.registers[slot]
        if negated:
            p = ~p
        if p.all():
            run(m)
            return
        mask, active = m.mask, m.active
        m.mask = p if mask is None else mask & p
        m.active = p if active is None else active & p
        if m.active.any():
            run(m)
        m.mask, m.active = mask, active

    return guarded


_PIPES = {
    "lsu": {"ld", "st", "ldmatrix", "stmatrix", "atom", "red", "shfl", "ldu", "prefetch", "cp"},
    "tensor": {"mma"},
    "control": {"bra", "ret", "exit", "bar", "barrier", "brx", "membar", "fence", "trap"},
    "mufu": {"ex2", "lg2", "rcp", "rsqrt", "sqrt", "sin", "cos", "tanh", "div", "rem"},
    "convert": {"cvt"},
    "move": {"mov", "cvta"},
}
_PIPE_OF = {op: pipe for pipe, ops in _PIPES.items() for op in ops}


def _pipe(parts: tuple[str, ...]) -> str:
    """The pipe that executes an instruction: the nearest thing to say of PTX, which is not what the hardware runs."""
    op, kind = parts[0], parts[-1]
    if op == "cp" and parts[-1] in {"commit_group", "wait_group", "wait_all"}:
        return "control"
    if op in _PIPE_OF:
        return _PIPE_OF[op]
    if op in {"add", "sub", "mul", "fma", "mad"} and "f" in kind:
        return {"f32": "fma", "f32x2": "fma", "f64": "fp64"}.get(kind, "half")
    if op in {"mul", "mad", "mad24", "mul24", "madc", "dp4a", "sad"}:
        return "imad"
    return "alu"


def _program(module: Module, kernel: Kernel) -> Program:
    ctx = Context(module, kernel)
    statements = kernel.statements
    leaders = {0, *kernel.labels.values()} | {i + 1 for i, s in enumerate(statements) if s.parts[0] in ENDS_BLOCK and _ends(s)}
    starts = sorted(i for i in leaders if i < len(statements))
    ctx.block_of = {start: n for n, start in enumerate(starts)}
    for label in kernel.labels.values():
        ctx.block_of.setdefault(label, len(starts))
    blocks, instructions = [], []
    for n, start in enumerate(starts):
        end = starts[n + 1] if n + 1 < len(starts) else len(statements)
        body: list[Run] = []
        leave: Run | None = None
        held = []
        pipes: dict[str, int] = {}
        for i in range(start, end):
            statement = statements[i]
            ctx.next_block = n + 1
            run = _decode(statement, ctx)
            instruction = Instruction(i, statement, run, _pipe(statement.parts))
            held.append(instruction)
            pipes[instruction.pipe] = pipes.get(instruction.pipe, 0) + 1
            if i == end - 1 and statement.parts[0] in ENDS_BLOCK and _ends(statement):
                leave = run
            else:
                body.append(run)
        blocks.append(BasicBlock(n, body, leave, held, pipes))
        instructions += held
    _fill_what_nothing_writes(ctx)
    return Program(
        kernel, blocks, ctx.slots, ctx.constants, ctx.special, ctx.shared_bytes, ctx.local_bytes,
        kernel.parameters, ctx.parameter_offsets, ctx.parameter_bytes, ctx.module_variables, instructions,
    )  # fmt: skip


def _fill_what_nothing_writes(ctx: Context) -> None:
    """A register that no instruction writes is how compilers say that any value will do: give them a NaN."""
    patterns = {1: 0x5A, 2: 0x7FAD, 4: 0x7FADDEAD, 8: 0x7FFADEAD7FADDEAD}
    for name, slot in ctx.names.items():
        if slot in ctx.written or not ctx.is_register(name):
            continue
        size = ctx.width(name)
        is_predicate = ctx.kernel.registers[name] == "pred"
        ctx.constants[slot] = np.array([[True]]) if is_predicate else constant(patterns[size], size)


def _ends(statement: Statement) -> bool:
    return not statement.opcode.startswith("bar.warp")


# What decoders have been written for: a modifier that is not here could change what an instruction does.
_MODIFIER_NAMES = """
rn rz rm rp rna rni rzi rmi rpi ftz sat relu NaN xorsign abs approx full noftz lo hi wide cc l r wrap clamp shiftamt
eq ne lt le gt ge ls hs equ neu ltu leu gtu geu num nan and or xor finite infinite number notanumber normal subnormal
to global shared shared_cta local const param v2 v4 v8 nc ca cg cs cv wb wt volatile weak relaxed acquire release acq_rel
sys gpu cta cluster async commit_group wait_group wait_all sync aligned row col m8n8 x1 x2 x4 trans m16n8k4 m16n8k8 m16n8k16
up down bfly idx ballot any all uni add min max exch cas inc dec red popc warp fractional range
"""
_MODIFIERS = {*DTYPES, *TYPE_BYTES, "s16x2", "u16x2", *_MODIFIER_NAMES.split()}
_HINT = re.compile(r"L[12]_\w+")
_ORDER_ONLY = {"membar", "fence", "nanosleep", "prefetch", "prefetchu", "discard", "griddepcontrol", "pmevent", "applypriority"}


def _decode(statement: Statement, ctx: Context) -> Run:
    decode = DECODERS.get(statement.parts[0])
    unknown = [p for p in statement.parts[1:] if p not in _MODIFIERS and not _HINT.fullmatch(p)]
    if decode is None or (unknown and statement.parts[0] not in _ORDER_ONLY):
        raise UnsupportedInstruction(f"{statement.opcode} (PTX line {statement.line}: {statement.text})")
    try:
        run = decode(statement, ctx)
    except (UnsupportedInstruction, KeyError, ValueError) as error:
        raise UnsupportedInstruction(f"{statement.opcode} (PTX line {statement.line}: {statement.text}): {error}") from error
    if statement.predicate is not None and not (statement.parts[0] in ENDS_BLOCK and _ends(statement)):
        run = predicated(run, ctx.register(statement.predicate), statement.negated)
    return run


@lru_cache(maxsize=64)
def _parsed(ptx: str) -> Module:
    return parse(ptx)


@lru_cache(maxsize=256)
def program(ptx: str, kernel: str) -> Program:
    """The decoded kernel; decoded once for each PTX text."""
    module = _parsed(ptx)
    if kernel not in module.kernels:
        raise KeyError(f"no kernel {kernel!r} in this PTX; it has {sorted(module.kernels)}")
    return _program(module, module.kernels[kernel])
