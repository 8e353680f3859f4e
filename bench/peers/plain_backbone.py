"""A backbone in torch's own operators and as ONNX, from its problem and its weights: the source of every peer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import starmap
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcnn_fast.ops.backbone import BackboneParams, BackboneWeights
from dcnn_fast.ops.mbconv import MbConvParams, MbConvWeights, same_padding

CEILING = 6.0  # ReLU6's upper bound


class PlainMbConv(nn.Module):
    """An inverted residual block."""

    def __init__(self, params: MbConvParams, weights: MbConvWeights) -> None:
        super().__init__()
        self.params = params
        layers = [_pixels(*weights.expand)] if weights.expand is not None else []
        weight, bias = weights.depthwise
        self.layers = nn.ModuleList([*layers, _Layer(weight[:, None], bias), _pixels(*weights.project)])

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, F, H', W']."""
        *expand, depthwise, project = self.layers
        maps = x
        for layer in expand:
            maps = F.relu6(F.conv2d(maps, layer.weight, layer.bias))
        above, below, left, right = self.params.padding
        maps = F.pad(maps, (left, right, above, below))
        maps = F.conv2d(maps, depthwise.weight, depthwise.bias, self.params.stride, groups=self.params.expanded)
        maps = F.conv2d(F.relu6(maps), project.weight, project.bias)
        return maps + x if self.params.residual else maps


class PlainBackbone(nn.Module):
    """A backbone without taps: pixels [N, C, H, W] as floats in, the means of the last layer's maps out."""

    def __init__(self, params: BackboneParams, weights: BackboneWeights) -> None:
        super().__init__()
        self.params = params
        self.stem, self.head = _Layer(*weights.stem), _pixels(*weights.head)
        self.blocks = nn.Sequential(*starmap(PlainMbConv, zip(params.problems(), weights.blocks, strict=True)))
        self.register_buffer("mean", torch.tensor(params.stem.mean).reshape(1, -1, 1, 1))

    @property
    def pads(self) -> tuple[int, int, int, int]:
        """Zeros above, below, left and right of the pixels."""
        stem = self.params.stem
        return (
            *same_padding(self.params.height, stem.size, stem.stride), *same_padding(self.params.width, stem.size, stem.stride),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """[N, outputs]."""
        above, below, left, right = self.pads
        x = F.pad((x - self.mean) * self.params.stem.scale, (left, right, above, below))
        x = F.relu6(F.conv2d(x, self.stem.weight, self.stem.bias, self.params.stem.stride))
        return F.relu6(F.conv2d(self.blocks(x), self.head.weight, self.head.bias)).mean((2, 3))


class _Layer(nn.Module):
    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())


def _pixels(weight: Tensor, bias: Tensor) -> _Layer:
    return _Layer(weight[:, :, None, None], bias)


def onnx_backbone(net: PlainBackbone) -> bytes:
    """The network as ONNX, for any number of images of the problem's extents."""
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415 - optional dependency

    nodes: list[Any] = []
    constants: list[Any] = []

    def add(kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind}{len(nodes)}"
        nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(tensor: Tensor) -> str:
        name = f"c{len(constants)}"
        constants.append(numpy_helper.from_array(tensor.detach().numpy(), name))
        return name

    zero, six = constant(torch.tensor(0.0)), constant(torch.tensor(CEILING))

    def conv(at: str, layer: nn.Module, stride: int = 1, pads: Sequence[int] = (0, 0, 0, 0), groups: int = 1) -> str:
        above, below, left, right = pads
        weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
        return add(
            "Conv", at, constant(weight), constant(bias), strides=[stride] * 2, pads=[above, left, below, right], group=groups
        )

    def clipped(at: str) -> str:
        return add("Clip", at, zero, six)

    params = net.params
    at = add("Mul", add("Sub", "x", constant(net.get_buffer("mean"))), constant(torch.tensor(params.stem.scale)))
    at = clipped(conv(at, net.stem, params.stem.stride, net.pads))
    for block in net.blocks:
        assert isinstance(block, PlainMbConv)
        before, problem = at, block.params
        *expand, depthwise, project = block.layers
        for layer in expand:
            at = clipped(conv(at, layer))
        at = conv(clipped(conv(at, depthwise, problem.stride, problem.padding, problem.expanded)), project)
        at = add("Add", at, before) if problem.residual else at
    at = add("Flatten", add("GlobalAveragePool", clipped(conv(at, net.head))), axis=1)
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", params.stem.channels, params.height, params.width])
    result = helper.make_tensor_value_info(at, TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "backbone", [source], [result], constants)
    model: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    return model
