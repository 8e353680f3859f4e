"""Registers of `wgmma`: which are in flight between issue and wait, and which a thread has touched since its last fence.

A `mov` does not count as a touch: compilers rename registers in flight, and the assembler gives both names one register. A
register's state moves with it.
"""

from __future__ import annotations

import re

import numpy as np

from .lanes import Lanes, Reporter
from .parser import Kernel, Statement
from .proxies import WARPGROUP, Proxies
from .values import Array

_NAME = re.compile(r"[%\w$@]+")


def named(statement: Statement) -> set[str]:
    """All names in the operands of a statement."""
    return {name for operand in statement.operands for name in _NAME.findall(operand)}


def fragment_registers(kernel: Kernel) -> frozenset[str]:
    """Registers that hold fragments of a `wgmma` of the kernel, or that exchange values with such registers by moves."""
    found: set[str] = set()
    moves = []
    for statement in kernel.statements:
        if statement.opcode.startswith("wgmma.mma_async"):
            found |= {name for operand in statement.operands[:2] if operand.startswith("{") for name in _NAME.findall(operand)}
        elif statement.parts[0] == "mov" and found is not None:
            moves.append(named(statement) & kernel.registers.keys())
    size = -1
    while found and len(found) != size:
        size = len(found)
        for names in moves:
            if names & found:
                found |= names
    return frozenset(found)


class Fragments:
    """State of registers in a batch of thread blocks, by slot: the group and role in which each is in flight, and its last
    touch.

    A flight is recorded as the number of its `wgmma` group, by thread block and warp; a touch as 1 + the number of earlier
    fences.
    """

    def __init__(self, lanes: Lanes, reporter: Reporter, proxies: Proxies) -> None:
        self._lanes, self._reporter, self._proxies = lanes, reporter, proxies
        self._flying: dict[int, dict[str, Array]] = {}
        self._touched: dict[int, Array] = {}
        self.fences = np.zeros((lanes.blocks, lanes.warps), dtype=np.int32)
        self._now = self.fences + 1
        self._none = np.zeros_like(self.fences)

    def _merged(self, new: Array, old: Array | None) -> Array:
        """`new` for the running warps, `old` for others."""
        if self._lanes.active is None:
            return new
        return np.where(self._proxies.active_warps(), new, self._none if old is None else old)

    def fence(self) -> None:
        """A `wgmma.fence` by the running threads."""
        self.fences = self._merged(self._now, self.fences)
        self._now = self.fences + 1

    def _waited(self) -> Array:
        """(blocks, warps): the last group that each warp has waited for, of its warpgroup."""
        warps = np.arange(self._lanes.warps)
        waited: Array = self._proxies.known[:, warps, self._lanes.warps + warps // WARPGROUP]
        return waited

    def flights(self, slot: int) -> list[tuple[str, Array]]:
        """The roles in which a register is in flight, each with the running warps for which it is."""
        roles = self._flying.get(slot)
        if not roles:
            return []
        found, waited, active = [], self._waited(), self._proxies.active_warps()
        for role, number in list(roles.items()):
            still = number > waited
            if not still.any():
                del roles[role]
            elif (still & active).any():
                found.append((role, still & active))
        return found

    def touch(self, slots: list[int]) -> None:
        """An instruction reads or writes registers."""
        for slot in slots:
            for role, warps in self.flights(slot):
                message = f"{role} is touched before a wgmma.wait_group has waited for it"
                self._reporter.report("wgmma register touched before wait", message, int(warps.reshape(-1).argmax()) * 32)
            self._touched[slot] = self._merged(self._now, self._touched.get(slot))

    def move(self, targets: list[int], sources: list[int]) -> None:
        """Rename a register. A target in flight may be overwritten only by a value in flight or by a move that reads it."""
        flying: dict[str, Array] = {}
        touched = self._none
        for source in sources:
            for role, number in self._flying.get(source, {}).items():
                flying[role] = np.maximum(number, flying.get(role, self._none))
            touched = np.maximum(touched, self._touched.get(source, self._none))
        for target in targets:
            if not flying and target not in sources:
                for role, warps in self.flights(target):
                    message = f"{role} is overwritten before a wgmma.wait_group has waited for it"
                    self._reporter.report("wgmma register touched before wait", message, int(warps.reshape(-1).argmax()) * 32)
            old = self._flying.get(target, {})
            self._flying[target] = {
                role: self._merged(flying.get(role, self._none), old.get(role)) for role in old.keys() | flying.keys()
            }
            self._touched[target] = self._merged(touched, self._touched.get(target))

    def issue(self, slots: list[int], role: str, number: Array) -> None:
        """A `wgmma` of the group `number`, by thread block and warp, uses registers in the given role."""
        for slot in slots:
            for other, warps in self.flights(slot):
                if other != role:
                    message = f"{other} is used by another wgmma as {role} before a wgmma.wait_group has waited for it"
                    self._reporter.report("wgmma register touched before wait", message, int(warps.reshape(-1).argmax()) * 32)
            touched = self._touched.get(slot)
            if touched is not None and (late := (touched > self.fences) & self._proxies.active_warps()).any():
                message = f"a register that is {role} has been touched since the last wgmma.fence"
                self._reporter.report("missing wgmma.fence", message, int(late.reshape(-1).argmax()) * 32)
            roles = self._flying.setdefault(slot, {})
            roles[role] = self._merged(number, roles.get(role))
        first = (self.fences == 0) & self._proxies.active_warps()
        if first.any():
            message = "no wgmma.fence stands before the first wgmma"
            self._reporter.report("missing wgmma.fence", message, int(first.reshape(-1).argmax()) * 32)
