"""The plain network as an ONNX file, with ONNX's native LRN and ceil-mode pool, and explicit padding for the window that hangs
over the edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from bench.peers.plain import PlainBlocks
from dcnn_fast.networks import CrossMapNorm


def onnx_model(net: PlainBlocks, shape: tuple[int, int, int]) -> bytes:
    """The network as ONNX, for any number of inputs of `shape` [C, H, W]."""
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415 - optional dependency

    nodes: list[Any] = []
    constants: list[Any] = []
    at = "x"

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
        at = add("Flatten", [at if net.reduce == "flatten" else add("GlobalAveragePool", [at])], axis=1)
    for layer in net.fc:
        assert isinstance(layer, nn.Linear)
        at = add("Relu", [add("Gemm", [at, constant(layer.weight), constant(layer.bias)], transB=1)])
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])
    result = helper.make_tensor_value_info(at, TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "blocks", [source], [result], constants)
    model: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    return model
