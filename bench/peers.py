"""Today's libraries, given a column's weights: torch eager and compiled, ONNX Runtime, OpenVINO.

Each peer is built from the same spec and weights with the operators its library has for the purpose: a native LRN, a
ceil-mode pool, explicit padding for the window that hangs over the edge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcnn_fast.spec import Block, CrossMapNorm, Rounding

Peer = Callable[[Tensor], np.ndarray]
BF16_ERROR, FP32_ERROR = 3e-2, 2e-5


def _pads(block: Block, extent: int, rounding: Rounding) -> tuple[int, int]:
    """Zeros before and after an axis so that the convolution, rounding down, has the outputs that the spec says."""
    outputs = block.conv_extent(extent, rounding)
    return block.padding, (outputs - 1) * block.stride + block.size - extent - block.padding


class PlainBlocks(nn.Module):
    """Blocks, then fully-connected layers with ReLU, in torch's own operators."""

    def __init__(
        self, blocks: Sequence[Block], weights: Sequence[tuple[Tensor, Tensor]], fc: Sequence[nn.Linear],
        extents: Sequence[int], rounding: Rounding,
    ) -> None:  # fmt: skip
        super().__init__()
        self.blocks, self.rounding = blocks, rounding
        self.pads = [_pads(block, extent, rounding) for block, extent in zip(blocks, extents, strict=False)]
        self.weights = nn.ParameterList([nn.Parameter(w.detach().clone()) for w, _ in weights])
        self.biases = nn.ParameterList([nn.Parameter(b.detach().clone()) for _, b in weights])
        self.fc = nn.ModuleList([_copy(layer) for layer in fc])

    def forward(self, x: Tensor) -> Tensor:
        """Features, [N, ...]."""
        for block, (before, after), weight, bias in zip(self.blocks, self.pads, self.weights, self.biases, strict=True):
            if before == after:
                x = F.conv2d(x, weight, bias, block.stride, before, groups=block.groups)
            else:
                x = F.conv2d(F.pad(x, (before, after, before, after)), weight, bias, block.stride, groups=block.groups)
            x = F.relu(x)
            stages = [self._pool, self._norm] if block.order == "conv-pool-norm" else [self._norm, self._pool]
            for stage in stages:
                x = stage(x, block)
        if len(self.fc):
            x = x.flatten(1)
        for layer in self.fc:
            x = F.relu(layer(x))
        return x

    def _pool(self, x: Tensor, block: Block) -> Tensor:
        if block.pool is None:
            return x
        return F.max_pool2d(x, block.pool.size, block.pool.stride, ceil_mode=self.rounding == "up")

    def _norm(self, x: Tensor, block: Block) -> Tensor:
        if block.norm is None:
            return x
        norm = block.norm
        assert isinstance(norm, CrossMapNorm), "the peers have no norm within a map"
        return F.local_response_norm(x, norm.size, norm.scale, norm.power, norm.k)


def _copy(layer: nn.Linear) -> nn.Linear:
    copied = nn.Linear(layer.in_features, layer.out_features)
    copied.load_state_dict(layer.state_dict())
    return copied


def torch_eager(net: PlainBlocks, memory: torch.memory_format, *, bf16: bool = False) -> Peer:
    """torch as written; bf16 by autocast, since its norm has no bfloat16 on the CPU."""
    net = net.eval().to(memory_format=memory)  # type: ignore[call-overload]
    return _torch_peer(net, memory, bf16)


def torch_compiled(net: PlainBlocks, *, bf16: bool = False) -> Peer:
    """torch.compile with the default backend."""
    torch._dynamo.config.recompile_limit = 256  # every case compiles anew; none must fall back to eager
    memory = torch.channels_last
    return _torch_peer(torch.compile(net.eval().to(memory_format=memory)), memory, bf16)  # type: ignore[call-overload]


def _torch_peer(net: Any, memory: torch.memory_format, bf16: bool) -> Peer:
    def run(x: Tensor) -> np.ndarray:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            result: np.ndarray = net(x.contiguous(memory_format=memory)).float().numpy()
            return result

    return run


def onnx_model(net: PlainBlocks, shape: tuple[int, ...]) -> bytes:
    """The network as ONNX, for inputs of one shape."""
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415 - optional dependency

    nodes, constants, at = [], [], "x"

    def add(kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        name = f"{kind}{len(nodes)}"
        nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(tensor: Tensor) -> str:
        name = f"c{len(constants)}"
        constants.append(numpy_helper.from_array(tensor.detach().numpy(), name))
        return name

    for block, (before, after), weight, bias in zip(net.blocks, net.pads, net.weights, net.biases, strict=True):
        at = add(
            "Conv", [at, constant(weight), constant(bias)], strides=[block.stride] * 2,
            pads=[before, before, after, after], group=block.groups,
        )  # fmt: skip
        at = add("Relu", [at])
        for stage in ("pool", "norm") if block.order == "conv-pool-norm" else ("norm", "pool"):
            if stage == "pool" and block.pool is not None:
                at = add(
                    "MaxPool", [at], kernel_shape=[block.pool.size] * 2, strides=[block.pool.stride] * 2,
                    ceil_mode=int(net.rounding == "up"),
                )  # fmt: skip
            if stage == "norm" and isinstance(block.norm, CrossMapNorm):
                norm = block.norm
                at = add("LRN", [at], size=norm.size, alpha=norm.scale, beta=norm.power, bias=norm.k)
    if len(net.fc):
        at = add("Flatten", [at], axis=1)
    for layer in net.fc:
        assert isinstance(layer, nn.Linear)
        at = add("Relu", [add("Gemm", [at, constant(layer.weight), constant(layer.bias)], transB=1)])
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))
    result = helper.make_tensor_value_info(at, TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "blocks", [source], [result], constants)
    model: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    return model


def onnx_runtime(model: bytes, threads: int) -> Peer:
    """ONNX Runtime on the CPU with all graph optimisations."""
    import onnxruntime  # noqa: PLC0415 - optional dependency

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(x: Tensor) -> np.ndarray:
        result: np.ndarray = session.run(None, {"x": x.numpy()})[0]
        return result

    return run


def openvino(model: bytes, threads: int, *, bf16: bool = False) -> Peer:
    """OpenVINO on the CPU, one stream, in f32 or with the bf16 hint."""
    import openvino as ov  # noqa: PLC0415 - optional dependency

    core = ov.Core()
    config = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
    }
    request = core.compile_model(core.read_model(model), "CPU", config).create_infer_request()

    def run(x: Tensor) -> np.ndarray:
        request.infer([ov.Tensor(x.numpy(), shared_memory=True)])
        result: np.ndarray = request.get_output_tensor(0).data.copy()
        return result

    return run


def build(net: PlainBlocks, shape: tuple[int, ...], threads: int, *, compiled: bool, bf16: bool) -> dict[str, Peer]:
    """Every peer that is installed, for inputs [N, C, H, W] float32 of `shape`; torch's threads are the caller's to set."""
    peers: dict[str, Peer] = {
        "torch eager": torch_eager(net, torch.contiguous_format),
        "torch eager channels_last": torch_eager(net, torch.channels_last),
    }
    if bf16:
        peers["torch eager bf16"] = torch_eager(net, torch.channels_last, bf16=True)
    if compiled:
        peers["torch.compile"] = torch_compiled(net)
        if bf16:
            peers["torch.compile bf16"] = torch_compiled(net, bf16=True)
    if find_spec("onnx"):
        model = onnx_model(net, shape)
        if find_spec("onnxruntime"):
            peers["ONNX Runtime"] = onnx_runtime(model, threads)
        if find_spec("openvino"):
            peers["OpenVINO"] = openvino(model, threads)
            if bf16:
                peers["OpenVINO bf16"] = openvino(model, threads, bf16=True)
    return peers


def tolerance(name: str) -> float:
    """How far a peer's output may lie from the fp32 one, relative to the largest value."""
    return BF16_ERROR if name.endswith("bf16") else FP32_ERROR


def layout(name: str) -> torch.memory_format:
    """The layout in which a peer of `build` takes its input without a conversion."""
    return torch.channels_last if name.startswith("torch") and name != "torch eager" else torch.contiguous_format
