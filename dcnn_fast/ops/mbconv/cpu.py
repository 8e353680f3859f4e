"""The inverted residual block on the C++ engine (csrc/cpu/mbconv_impl.h): the same bits in any batch, on any threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dcnn_fast import engine
from dcnn_fast.ops.mbconv.backend import MbConvBackend, MbConvWeights, PreparedMbConv
from dcnn_fast.ops.mbconv.params import MbConvParams
from dcnn_fast.ops.memory import channels_last, contiguous, empty_channels_last


@dataclass(frozen=True)
class CpuPrepared(PreparedMbConv):
    """A packed copy of the weights, for the kernels of the instruction set in use when it was made."""

    filters: int
    stride: int
    weights: engine.native.PackedMbConv

    def run(self, x: Tensor) -> Tensor:
        """The rows of every image are spread over `engine.threads()` threads."""
        images, _, height, width = x.shape
        result = empty_channels_last((images, self.filters, -(-height // self.stride), -(-width // self.stride)))
        laid = engine.array_of(channels_last(x))
        engine.native.mbconv(self.weights, x=laid, out=engine.array_of(result), threads=engine.threads())
        return result


class CpuMbConv(MbConvBackend):
    """The block on the C++ engine."""

    def can_run(self, params: MbConvParams, device: torch.device) -> str | None:
        """None, or one sentence that says why not."""
        if why := engine.reason():
            return why
        if device.type != "cpu":
            return f"the C++ engine runs on the cpu, not on {device.type}"
        if params.dtype != torch.float32:
            return f"the C++ engine takes float32, not {str(params.dtype).removeprefix('torch.')}"
        if params.precision not in ("ieee", "bf16"):
            return f"the C++ engine computes this block in ieee fp32 or bf16, not in {params.precision}"
        return None

    def prepare(self, params: MbConvParams, weights: MbConvWeights) -> CpuPrepared:
        """The weights packed, for the instruction set in use."""
        return CpuPrepared(params.filters, params.stride, packed(engine.isa(), params, weights))


BACKEND = CpuMbConv()


def packed(isa: str, params: MbConvParams, weights: MbConvWeights) -> engine.native.PackedMbConv:
    """The weights packed for an instruction set's kernels. Raises ValueError naming a weight that does not fit."""
    return engine.native.PackedMbConv(
        isa, channels=params.channels, expanded=params.expanded, filters=params.filters, size=params.size, stride=params.stride,
        residual=params.residual, bf16=params.precision == "bf16",
        expand=None if weights.expand is None else layer(weights.expand), depthwise=layer(weights.depthwise),
        project=layer(weights.project),
    )  # fmt: skip


def layer(of: tuple[Tensor, Tensor]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A layer's weight and bias as the engine takes them."""
    weight, bias = of
    return engine.array_of(contiguous(weight)), engine.array_of(contiguous(bias))
