"""A kernel that is ready to run: its instructions as closures, in basic blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .parser import Kernel, Statement, Variable
from .state import State
from .values import Array

Run = Callable[[State], None]
"""One instruction, for the threads that run."""


@dataclass
class Instruction:
    index: int
    statement: Statement
    run: Run
    pipe: str


@dataclass
class BasicBlock:
    """Straight-line code. Only its last instruction, `leave`, can change where threads continue."""

    index: int
    body: list[Run]
    leave: Run | None
    instructions: list[Instruction]
    pipes: dict[str, int] = field(default_factory=dict)
    opcodes: dict[str, int] = field(default_factory=dict)


@dataclass
class Program:
    """A kernel ready to run. asynchronous: it has `wgmma`, mbarriers or bulk copies. target: "sm_80"."""

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
    asynchronous: bool
    target: str
