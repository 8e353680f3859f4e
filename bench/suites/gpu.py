"""torch on a GPU, where there is one. This suite does not measure the project's own kernels."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

from bench import cases, peers
from bench.effort import Effort
from bench.measure import EXPECTED, Case, compare
from bench.row import Found
from bench.timing import Rival


def rows(effort: Effort, device: str = "cuda") -> Iterator[Found]:
    """SCNN, grid 1: copying the distinct windows as bytes, mean and scale, the network, copying the features back."""
    net = cases.scnn(effort.unit_share)
    column = cases.columns(net)[0].spec
    plane = cases.photograph(column.plane, column.plane)
    cut = cases.Cut(column, plane, cases.windows(column, plane.shape[:2], effort.windows))
    expected = Rival(EXPECTED, partial(_eager, cases.plain(net), cut, "cpu"), peers.tolerance(EXPECTED))
    there = {bf16: _placed(cases.plain(net), device, bf16=bf16) for bf16 in (False, True)}
    moved = [
        Rival(name, partial(_eager, there[bf16], cut, device, bf16=bf16), peers.tolerance(name))
        for name, bf16 in ((f"torch eager {device}", False), (f"torch eager {device} bf16", True))
    ]
    note = f"{_name(device)}; ratio, in fp32: torch eager on the processor over this"
    case = Case("gpu", "SCNN, grid 1", torch.get_num_threads(), note)
    with torch.backends.cudnn.flags(allow_tf32=False):  # fp32 means ieee, as everywhere in the benchmark
        yield from compare(case, moved, [expected], effort.rounds)


def _name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def _placed(net: torch.nn.Module, device: str, *, bf16: bool) -> torch.nn.Module:
    moved: torch.nn.Module = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved.bfloat16() if bf16 else moved  # autocast would round the weights again in every call


def _eager(net: torch.nn.Module, cut: cases.Cut, device: str, *, bf16: bool = False) -> np.ndarray:
    windows = torch.from_numpy(np.ascontiguousarray(cut.pixels().transpose(0, 2, 3, 1)))
    with torch.inference_mode(), torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16):
        x = cases.entered(windows.to(device).permute(0, 3, 1, 2).float(), cut.column)
        result: np.ndarray = net(x).float().cpu().numpy()[cut.given()[1]]
        return result
