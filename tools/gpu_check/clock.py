"""Times of launches on a GPU by CUDA events; in the simulator everything runs once, without a time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import torch

from dcnn_fast.ops.recording import CudaGraph, Step, run
from dcnn_fast.runtime.contexts import DeviceStream
from tools.gpu_check.stage import Setting

PAST_THE_L2 = 2**28  # total bytes of rotated buffers, more than any GPU's cache
MOST_BUFFERS = 32
ROUNDS = 15


def buffers(size: int, setting: Setting) -> int:
    """The number of operands of `size` bytes to rotate so that none is found in the L2."""
    return 1 if setting.simulated else max(2, min(MOST_BUFFERS, -(-PAST_THE_L2 // max(size, 1))))


def seconds(setting: Setting, steps: Sequence[Step]) -> float | None:
    """Seconds of one step, with the steps in sequence in a CUDA graph, which excludes the host's part.

    The median of `ROUNDS` after one round that loads the kernels and one that raises the clocks.
    """
    if setting.simulated:
        for step in steps:
            run(step)
        return None
    stream = DeviceStream(setting.where)
    with stream.current():
        for step in steps:
            run(step)
        stream.wait()
        graph = CudaGraph(setting.where, steps)
        times = [_of_device(graph.replay) for _ in range(ROUNDS + 1)]
    return statistics.median(times[1:]) / len(steps)


def _of_device(work: Callable[[], None]) -> float:
    """Seconds between two events around the work, on the current stream."""
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    work()
    last.record()
    last.synchronize()
    return first.elapsed_time(last) / 1e3


def wall(setting: Setting, work: Callable[[], object], rounds: int = 5) -> tuple[float, float] | None:
    """Wall-clock and processor seconds of this process for a run of `work`, each the median of several."""
    if setting.simulated:
        work()
        return None
    work()
    setting.wait()
    found = []
    for _ in range(rounds):
        wall_before, cpu_before = time.perf_counter(), time.process_time()
        work()
        setting.wait()
        found.append((time.perf_counter() - wall_before, time.process_time() - cpu_before))
    return statistics.median(each[0] for each in found), statistics.median(each[1] for each in found)
