"""The backbone on the C++ engine (csrc/cpu/backbone.cpp): one call for all layers, the same bits on any threads."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dcnn_fast import engine
from dcnn_fast.ops.backbone.backend import BackboneBackend, BackboneWeights, PreparedBackbone
from dcnn_fast.ops.backbone.params import BackboneParams
from dcnn_fast.ops.mbconv import cpu as mbconv


@dataclass(frozen=True)
class CpuPrepared(PreparedBackbone):
    """A copy of the weights, in the layout of the instruction set in use when they were packed."""

    net: engine.native.Backbone

    def features(self, x: Tensor) -> Tensor:
        """Images, or the rows of one, are spread over `engine.threads()` threads."""
        plain = x.resolve_neg() if x.is_neg() else x
        return torch.from_numpy(self.net.features(engine.array_of(plain), threads=engine.threads()))


class CpuBackbone(BackboneBackend):
    """The backbone on the C++ engine."""

    def can_run(self, params: BackboneParams, device: torch.device) -> str | None:
        """None, or the sentence that says why not."""
        if why := engine.reason():
            return why
        if device.type != "cpu":
            return f"the C++ engine runs on the cpu, not on {device.type}"
        if params.dtype not in (torch.uint8, torch.float32):
            return f"the C++ engine takes uint8 or float32, not {str(params.dtype).removeprefix('torch.')}"
        if params.precision not in ("ieee", "bf16"):
            return f"the C++ engine computes a backbone in ieee fp32 or bf16, not in {params.precision}"
        return None

    def prepare(self, params: BackboneParams, weights: BackboneWeights) -> CpuPrepared:
        """The weights packed, for the instruction set in use."""
        return CpuPrepared(packed(engine.isa(), params, weights))


BACKEND = CpuBackbone()


def packed(isa: str, params: BackboneParams, weights: BackboneWeights) -> engine.native.Backbone:
    """The weights in the layout of an instruction set's kernels. Raises ValueError naming the argument that does not fit."""
    problems = replace(params, images=1, height=1, width=1).problems()
    return engine.native.Backbone(
        isa, stem=mbconv.layer(weights.stem), stride=params.stem.stride, mean=params.stem.mean, scale=params.stem.scale,
        blocks=[mbconv.packed(isa, problem, of) for problem, of in zip(problems, weights.blocks, strict=True)],
        head=mbconv.layer(weights.head), taps=params.taps, bf16=params.precision == "bf16",
    )  # fmt: skip
