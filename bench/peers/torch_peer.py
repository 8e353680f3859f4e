"""torch as a peer, eager and compiled, in either layout."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from bench.peers.settings import CHUNK, Run, Setting, in_chunks

LAYOUTS = {"channels-last": torch.channels_last, "NCHW": torch.contiguous_format}


def eager(net: nn.Module, *, bf16: bool = False) -> list[Setting]:
    """torch eager; bf16 by autocast, since its norm has no bfloat16 on the CPU."""
    settings = []
    for layout, memory in LAYOUTS.items():
        for how, chunks in (("all at once", False), (f"{CHUNK} at a time", True)):
            settings.append(Setting(f"{layout}, {how}", memory, partial(_eager, net, memory, bf16, chunks)))
    return settings


def compiled(net: nn.Module, *, bf16: bool = False) -> list[Setting]:
    """torch.compile with the default backend, channels-last: compiling takes too long for more settings."""
    torch._dynamo.config.recompile_limit = 256  # every case recompiles; none may fall back to eager
    memory = torch.channels_last

    def prepare() -> Run:
        return _run(torch.compile(_placed(net, memory, bf16), dynamic=False), bf16)

    return [Setting("channels-last, all at once", memory, prepare)]


def _eager(net: nn.Module, memory: torch.memory_format, bf16: bool, chunks: bool) -> Run:
    run = _run(_placed(net, memory, bf16), bf16)
    return in_chunks(run) if chunks else run


def _placed(net: nn.Module, memory: torch.memory_format, bf16: bool) -> nn.Module:
    """A copy in that layout, as the change is in place and the settings must not share a module."""
    placed: nn.Module = copy.deepcopy(net).eval().to(memory_format=memory)  # type: ignore[call-overload]
    return placed.bfloat16() if bf16 else placed  # autocast would round the weights again in every call


def _run(net: Callable[[Tensor], Tensor], bf16: bool) -> Run:
    def run(x: Tensor) -> np.ndarray:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            result: np.ndarray = net(x).float().numpy()
            return result

    return run
