"""Training steps of the same network on the same batch, by us and as a torch user writes them.

`python -m bench.training_step` runs a few in a separate process and prints its peak memory.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench import cases
from bench.chain import torch_chain
from bench.row import OURS
from dcnn_fast import networks
from dcnn_fast.nets import Column, MultiColumn
from dcnn_fast.training import ConvNetUpdate, groups_of

EAGER, COMPILED = "torch eager", "torch.compile"
ALL_TIES = f"{OURS}, all ties"  # cuda-convnet's rule for a pool's equal maxima; torch's pools give only the first a gradient
LAYOUTS = {"NCHW": torch.contiguous_format, "channels-last": torch.channels_last}
NORMS = {"its norm": False, "ops.response_norm": True}
SETTINGS = tuple(f"{layout}, {norm}" for layout in LAYOUTS for norm in NORMS)
STEPS = 3  # enough to reach the peak: the first allocates the increments, the second has them beside a step's own memory


@dataclass(frozen=True)
class Job:
    """A preset, the number of windows in its mini-batch, the number of threads, the rival and its setting.

    unit_share: the share of its fully-connected layers' units to keep.
    """

    preset: str
    batch: int
    threads: int
    by: str = OURS
    setting: str = ""
    unit_share: float = 1.0


class Step:
    """A network in training and a batch of bytes; a call runs one step and returns the loss."""

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(job.threads)
        self.net = cases.network(job.preset, unit_share=job.unit_share).train()
        generator = torch.Generator().manual_seed(1)
        self.windows = [_random_bytes(job.batch, column, generator) for column in self.net.spec.columns]
        self.labels = torch.randint(0, len(self.net.spec.labels), (job.batch,), generator=generator)
        self.forward: Callable[..., Tensor] = self.net
        self.optimiser: torch.optim.Optimizer = ConvNetUpdate(groups_of(self.net))
        for column in cases.columns(self.net):
            column.give_ties("all" if job.by == ALL_TIES else "first")
        if job.by in (EAGER, COMPILED):
            layout, norm = job.setting.split(", ")
            self.forward, self.optimiser = as_torch(self.net, LAYOUTS[layout], own_norm=NORMS[norm])
        if job.by == COMPILED:
            torch._inductor.config.fallback_random = True  # eager's dropout, so that outputs can be compared
            self.forward = torch.compile(self.forward, dynamic=False)
        for group in self.optimiser.param_groups:
            group["lr"] *= 1e-3  # on noise, a usual rate soon makes the loss so large that gradients are subnormal

    def __call__(self) -> float:
        self.optimiser.zero_grad()
        loss = F.cross_entropy(self.forward(*self.windows), self.labels)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return loss.item()


def as_torch(
    net: MultiColumn, memory: torch.memory_format, *, own_norm: bool
) -> tuple[Callable[..., Tensor], torch.optim.Optimizer]:
    """The network's forward in torch's operations with filters in the layout `memory`, and torch's SGD with cuda-convnet's
    rates.

    At a constant rate it takes the same steps.
    """
    columns = cast("list[Column]", list(net.columns))
    for column in columns:
        for block in cases.blocks(column):
            block.weight.data = block.weight.data.contiguous(memory_format=memory)

    def forward(*windows: Tensor) -> Tensor:
        features = [_column(column, x, memory, own_norm) for column, x in zip(columns, windows, strict=True)]
        logits: Tensor = net.label(torch.cat(features, dim=1))
        return logits

    groups = [
        {"params": group["params"], "lr": group["lr"], "momentum": group["momentum"], "weight_decay": group["decay"]}
        for group in groups_of(net)
    ]
    return forward, torch.optim.SGD(groups, fused=True)


def _random_bytes(batch: int, column: networks.Column, generator: torch.Generator) -> Tensor:
    shape = (batch, column.channels, column.window, column.window)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return pixels.contiguous(memory_format=torch.channels_last)


def _column(column: Column, windows: Tensor, memory: torch.memory_format, own_norm: bool) -> Tensor:
    x = cases.entered(windows.contiguous(memory_format=memory).float(), column.spec)
    for block in cases.blocks(column):
        x = torch_chain(x, block.weight, block.bias, block.spec, block.rounding, own_norm)
    x = x.flatten(1) if column.spec.reduce == "flatten" else x.mean(dim=(2, 3))
    for layer in cases.layers(column):
        x = F.dropout(layer(x).relu(), column.spec.dropout, column.training)  # a frozen column is not in training mode
    return x


@torch.no_grad()
def first_step(step: Step) -> dict[str, np.ndarray]:
    """The loss of one step from the start, and each parameter's movement, with the same dropout for all rivals.

    Afterwards the step is reset to its start.
    """
    groups = step.optimiser.param_groups
    rates = [group["lr"] for group in groups]
    before = {name: parameter.clone() for name, parameter in step.net.named_parameters()}
    for group in groups:
        group["lr"] = 1.0  # at a usual rate, the parameters' rounding would hide the movement
    torch.manual_seed(0)
    with torch.enable_grad():
        found = {"loss": np.array([step()], np.float32)}
    for name, parameter in step.net.named_parameters():
        found[name] = (parameter - before[name]).contiguous().numpy().ravel()
        parameter.copy_(before.pop(name))
    step.optimiser.state.clear()
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = rate
    return found


def peak_bytes(job: Job) -> int | None:
    """The peak memory of a separate process during `STEPS` steps, including Python and libraries; None where the operating
    system does not report it. Raises RuntimeError with the process's last output when it fails.
    """
    if not Path("/proc/self/status").exists():
        return None
    command = [sys.executable, "-m", "bench.training_step", json.dumps(asdict(job))]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"the process that was to measure memory failed: {result.stderr.strip()[-500:]}")
    return int(result.stdout.split()[-1])


def _held_most() -> int:
    """The process's peak memory. `ru_maxrss` would count the parent process's memory."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None, "Linux tells a process's peak"
    return int(found.group(1)) * 1024


def _main(text: str) -> None:
    given: dict[str, Any] = json.loads(text)
    step = Step(Job(**given))
    for _ in range(STEPS):
        step()
    print(_held_most())


if __name__ == "__main__":
    _main(sys.argv[1])
