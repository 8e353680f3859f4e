"""Makes a network's executor, and states the head's problem that it poses."""

from __future__ import annotations

import re

import torch

from dcnn_fast.nets import MultiColumn
from dcnn_fast.networks import Network
from dcnn_fast.ops import launch
from dcnn_fast.ops.head import HeadParams
from dcnn_fast.ops.head.params import problem_of
from dcnn_fast.ops.views import BACKENDS as VIEWS
from dcnn_fast.ops.views.cuts import CutList
from dcnn_fast.runtime.cpu import RESULTS, CpuNetwork
from dcnn_fast.runtime.executor import Executor
from dcnn_fast.runtime.gpu import GpuNetwork

CPU_DTYPES = (torch.float32, torch.bfloat16)
GPU_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def executor_of(
    net: MultiColumn, device: str = "cpu", dtype: torch.dtype = torch.float32, *, graphs: bool = True, tf32: bool = False
) -> Executor:  # fmt: skip
    """The executor of `net` on "cpu", "cuda" (the current GPU, or the simulator that stands in for one) or "cuda:N".

    dtype: of the products' operands: float32, bfloat16 or, on "cuda", float16; sums are in float32. graphs: on "cuda", replay
    repeated launches as CUDA graphs; it changes no result. tf32: on "cuda" with float32, round the operands of blocks'
    products to TF32.
    Raises ValueError naming the argument, WeightsError for unusable weights.
    """
    of_gpu = re.fullmatch(r"cuda(?::([0-9]+))?", device)
    if device != "cpu" and of_gpu is None:
        raise ValueError(f"device must be cpu, cuda or cuda:N, got {device!r}")
    dtypes = CPU_DTYPES if device == "cpu" else GPU_DTYPES
    if dtype not in dtypes:
        raise ValueError(f"dtype must be one of {', '.join(map(str, dtypes))} on {device}; got {dtype}")
    if tf32 and (of_gpu is None or dtype != torch.float32):
        raise ValueError(f"tf32 must be asked of float32 on cuda, got {dtype} on {device}")
    if of_gpu is None:
        return CpuNetwork(net, "bf16" if dtype == torch.bfloat16 else "ieee")
    try:
        where = launch.gpu(None if of_gpu[1] is None else int(of_gpu[1]))
    except RuntimeError as error:
        raise ValueError(f"device must be one that is there: {error}") from None
    if why := VIEWS["cuda"].can_run(CutList(()), where):  # for any dtype: without views no photograph can be scored
        raise ValueError(f"device must be one that views can be made on: {why}")
    return GpuNetwork(net, where, dtype, graphs, tf32=tf32)


def head_problem(network: Network, device: torch.device, dtype: torch.dtype, samples: int = 50) -> HeadParams:
    """The head's problem for one image whose samples all differ, as the device's executor poses it; the operation's backends,
    asked with it, tell which of them runs.
    """
    return problem_of(network, dtype, RESULTS if device.type == "cpu" else None, samples)
