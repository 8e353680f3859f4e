"""The update in Triton: one launch, whatever the number of parameters, over a table of their addresses."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dcnn_fast.ops import launch
from dcnn_fast.ops.update.backend import Step, UpdateBackend
from dcnn_fast.ops.update.params import UpdateParams, laid_like

BLOCK = 1024  # values per program
FIELDS = 8  # per row: three addresses, number of values, first block, and the bits of rate, momentum and decay * rate


class TritonUpdate(UpdateBackend):
    """The update in Triton."""

    def can_run(self, params: UpdateParams, device: torch.device) -> str | None:
        """None, or one sentence that says why not."""
        if why := launch.refused(device):
            return why
        if not params.in_step:
            return "the Triton kernel takes parameters without gaps in memory, and increments that lie as their parameters do"
        return None

    def update(self, params: UpdateParams, step: Step) -> None:
        """Update parameters and increments in place."""
        what = launch_of(params, step)
        if what is not None:
            launch.launch(what)


BACKEND = TritonUpdate()


def launch_of(params: UpdateParams, step: Step) -> launch.Launch | None:
    """The launch; None when no parameter has a value."""
    moved = moved_by(step)
    if not moved.rows:
        return None
    table = launch.copied(torch.tensor(moved.rows, dtype=torch.int64, device="cpu"), step.parameters[0].device)
    return launch_over(table, params, moved)


@dataclass(frozen=True)
class Moved:
    """The rows of the kernel's table, their total number of thread blocks, and the tensors that they address."""

    rows: Sequence[tuple[int, ...]]
    blocks: int
    reads: Sequence[Tensor]
    writes: Sequence[Tensor]


def moved_by(step: Step) -> Moved:
    """An update's table and tensors: a row for each parameter that has values."""
    rows: list[tuple[int, ...]] = []
    reads: list[Tensor] = []
    writes: list[Tensor] = []
    blocks = 0
    columns = step.parameters, step.gradients, step.increments, step.rates, step.momenta, step.decays
    for w, g, own, rate, momentum, decay in zip(*columns, strict=True):
        if not w.numel():
            continue
        laid = laid_like(g, w)
        addresses = (w.data_ptr(), laid.data_ptr(), own.data_ptr())
        rows.append((*addresses, w.numel(), blocks, _bits(rate), _bits(momentum), _bits(decay * rate)))
        reads.append(laid)
        writes += [w, own]
        blocks += -(-w.numel() // BLOCK)
    return Moved(rows, blocks, reads, writes)


def launch_over(table: Tensor, params: UpdateParams, moved: Moved) -> launch.Launch:
    """The launch over a table on the device, [rows, FIELDS] int64, whose addresses and sizes are those of `moved`."""
    import triton.language as tl  # noqa: PLC0415 - importing the package must not need Triton

    from dcnn_fast.ops.update.triton_kernels import update_kernel  # noqa: PLC0415

    names = {torch.float64: tl.float64, torch.float32: tl.float32, torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}
    constants = {
        "VALUE": names[params.dtype],
        "STEP": names[params.step_dtype],
        "ALIGNED": all(address % 16 == 0 for row in moved.rows for address in row[:3]),
        "BLOCK": BLOCK,
    }
    count = len(moved.rows)
    args: dict[str, Tensor | int | float] = {"table": table, "parameters": count, "halvings": (count - 1).bit_length()}
    return launch.Launch(update_kernel, (moved.blocks,), args, constants, reads=moved.reads, writes=moved.writes)


def _bits(value: float) -> int:
    """The float64's bits as an integer, for a table of int64."""
    bits: int = struct.unpack("<q", struct.pack("<d", value))[0]
    return bits
