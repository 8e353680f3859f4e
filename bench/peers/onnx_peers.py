"""ONNX Runtime and OpenVINO as peers, both with the same ONNX model, with NCHW inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.peers.settings import CHUNK, Run, Setting, in_chunks


def onnx_runtime(model: bytes, threads: int) -> list[Setting]:
    """ONNX Runtime on the CPU with all graph optimisations; its threads spin or sleep while waiting."""

    def prepare(spinning: bool, chunks: bool) -> Run:
        import onnxruntime  # noqa: PLC0415 - optional dependency

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

        def run(x: Tensor) -> np.ndarray:
            result: np.ndarray = session.run(None, {"x": x.numpy()})[0]
            return result

        return in_chunks(run) if chunks else run

    settings = []
    for spinning in (True, False) if threads > 1 else (True,):  # a single thread never waits
        how = f"spinning {'on' if spinning else 'off'}, " if threads > 1 else ""
        settings.append(_setting(f"{how}all at once", partial(prepare, spinning, False)))
        settings.append(_setting(f"{how}{CHUNK} at a time", partial(prepare, spinning, True)))
    return settings


def openvino(model: bytes, threads: int, *, bf16: bool = False) -> list[Setting]:
    """OpenVINO on the CPU, in f32 or with the bf16 hint: one stream on all threads, two, or one for each thread."""
    settings = []
    for streams in sorted({1, min(2, threads), threads}):
        hint, whole = ("latency", "all at once") if streams == 1 else ("throughput", "an equal part each")
        for how, most in ((whole, None), (f"{CHUNK} at a time", CHUNK)):
            name = f"{hint}, {streams} stream{'s' * (streams > 1)}, {how}"
            settings.append(_setting(name, partial(_openvino, model, threads, streams, most, bf16)))
    return settings


def openvino_has_bf16() -> bool:
    """Whether OpenVINO computes in bf16 on this processor; where it does not, it ignores the hint silently."""
    import openvino as ov  # noqa: PLC0415 - optional dependency

    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _setting(name: str, prepare: Callable[[], Run]) -> Setting:
    return Setting(name, torch.contiguous_format, prepare)


def _openvino(model: bytes, threads: int, streams: int, most: int | None, bf16: bool) -> Run:
    import openvino as ov  # noqa: PLC0415 - optional dependency

    core = ov.Core()
    config = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": streams,
        "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
    }
    queue = ov.AsyncInferQueue(core.compile_model(core.read_model(model), "CPU", config), streams)
    results: dict[int, np.ndarray] = {}

    def keep(request: Any, number: int) -> None:
        results[number] = request.get_output_tensor(0).data.copy()

    queue.set_callback(keep)

    def run(x: Tensor) -> np.ndarray:
        results.clear()
        parts = torch.split(x, most or -(-len(x) // streams))
        for number, part in enumerate(parts):
            queue.start_async([ov.Tensor(part.numpy(), shared_memory=True)], number)
        queue.wait_all()
        return np.concatenate([results[number] for number in range(len(parts))])

    return run
