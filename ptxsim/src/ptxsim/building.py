"""From PTX text to a program: statements are decoded and cut into basic blocks."""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np

from .context import Context
from .decoding import decoded, ends_block
from .errors import UnsupportedInstruction
from .fragments import fragment_registers
from .parser import Kernel, Module, parse
from .pipes import pipe_of
from .program import BasicBlock, Instruction, Program, Run
from .values import constant

_ASYNCHRONOUS = ("wgmma", "mbarrier", "cp.async.bulk")


def _program(module: Module, kernel: Kernel) -> Program:
    cluster = re.search(r"\.reqnctapercluster\s+([\d,\s]+)", kernel.directives)
    if cluster is not None and {int(size) for size in cluster[1].split(",")} != {1}:
        raise UnsupportedInstruction(f"clusters of more than one block: {cluster[0].strip()} of {kernel.name}")
    ctx = Context(module, kernel)
    statements = kernel.statements
    ctx.fragments = fragment_registers(kernel)
    leaders = {0, *kernel.labels.values()} | {i + 1 for i, s in enumerate(statements) if ends_block(s)}
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
        opcodes: dict[str, int] = {}
        for i in range(start, end):
            statement = statements[i]
            ctx.next_block = n + 1
            run = decoded(statement, ctx)
            instruction = Instruction(i, statement, run, pipe_of(statement.parts))
            held.append(instruction)
            pipes[instruction.pipe] = pipes.get(instruction.pipe, 0) + 1
            opcodes[statement.opcode] = opcodes.get(statement.opcode, 0) + 1
            if i == end - 1 and ends_block(statement):
                leave = run
            else:
                body.append(run)
        blocks.append(BasicBlock(n, body, leave, held, pipes, opcodes))
        instructions += held
    _fill_what_nothing_writes(ctx)
    return Program(
        kernel, blocks, ctx.slots, ctx.constants, ctx.special, ctx.shared_bytes, ctx.local_bytes,
        kernel.parameters, ctx.parameter_offsets, ctx.parameter_bytes, ctx.module_variables, instructions,
        any(s.opcode.startswith(_ASYNCHRONOUS) for s in statements), module.target,
    )  # fmt: skip


def _fill_what_nothing_writes(ctx: Context) -> None:
    """Fill registers that no instruction writes with NaN: compilers use them where any value will do."""
    patterns = {1: 0x5A, 2: 0x7FAD, 4: 0x7FADDEAD, 8: 0x7FFADEAD7FADDEAD}
    for name, slot in ctx.names.items():
        if slot in ctx.written or not ctx.is_register(name):
            continue
        size = ctx.width(name)
        is_predicate = ctx.kernel.registers[name] == "pred"
        ctx.constants[slot] = np.array([[True]]) if is_predicate else constant(patterns[size], size)


@lru_cache(maxsize=16)
def _parsed(ptx: str) -> Module:
    return parse(ptx)


@lru_cache(maxsize=64)
def program(ptx: str, kernel: str) -> Program:
    """The decoded kernel, cached for each PTX text."""
    module = _parsed(ptx)
    if kernel not in module.kernels:
        raise KeyError(f"no kernel {kernel!r} in this PTX; it has {sorted(module.kernels)}")
    return _program(module, module.kernels[kernel])
