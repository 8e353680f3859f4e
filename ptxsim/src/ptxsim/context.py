"""The names in a kernel: registers and their slots, variables and their addresses, labels and their basic blocks."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from .errors import UnsupportedInstruction
from .parser import TYPE_BYTES, Kernel, Module, parse_integer
from .values import BOOL, DTYPES, Array, constant

# Generic addresses of shared and local memory: outside the range of a host process's tensors.
SHARED_WINDOW = 1 << 60
LOCAL_WINDOW = 1 << 61


@dataclass
class Address:
    """`[base + offset]`: a register slot or None, and a constant."""

    slot: int | None
    offset: int


class Context:
    """The names that decoders look up: slots of registers, blocks of labels."""

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
        self.fragments: frozenset[str] = frozenset()  # registers that may be in flight in a `wgmma`
        self._lay_out()

    def _lay_out(self) -> None:
        """Assign addresses to variables: offsets in shared memory, local memory and parameters; host addresses otherwise."""
        self.addresses: dict[str, tuple[int, str]] = {}
        sizes = {"shared": 0, "local": 0}
        variables = [v for v in self.module.variables if v.space == "shared"] + self.kernel.variables
        for v in sorted(variables, key=lambda v: v.external):
            start = -(-sizes[v.space] // v.align) * v.align
            self.addresses[v.name] = (start, v.space)
            # Dynamic shared memory, declared without a size, follows all other variables.
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
        """The elements of `{a, b}`, or the single operand."""
        return text[1:-1].split(",") if text.startswith("{") else [text]

    def label(self, name: str) -> int:
        """Index of the basic block that begins at a label."""
        return self.block_of[self.kernel.labels[name]]


def aligned_bytes(size: int) -> np.ndarray:
    """Zeros that start at a multiple of 256."""
    raw = np.zeros(size + 512, dtype=np.uint8)
    start = -raw.ctypes.data % 256
    return raw[start : start + size]
