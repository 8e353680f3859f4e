"""The backbone stated plainly: its layers' references one after another, an image at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dcnn_fast.ops.backbone.backend import BackboneBackend, BackboneWeights, PreparedBackbone
from dcnn_fast.ops.backbone.params import BackboneParams
from dcnn_fast.ops.linear import LinearParams
from dcnn_fast.ops.linear import reference as linear
from dcnn_fast.ops.mbconv import reference as mbconv
from dcnn_fast.ops.mbconv import same_padding
from dcnn_fast.ops.plain_torch import plainly


@dataclass(frozen=True)
class ReferencePrepared(PreparedBackbone):
    """The problem, whose images and extents are ignored, and the weights unchanged."""

    params: BackboneParams
    weights: BackboneWeights

    @plainly
    def features(self, x: Tensor) -> Tensor:
        """[N, channels, height, width] -> [N, features]."""
        if not len(x):
            return torch.zeros(0, self.params.features, dtype=torch.float32, device=x.device)
        return torch.stack([self._features_of(image[None]) for image in x])

    def _features_of(self, image: Tensor) -> Tensor:
        params = replace(self.params, images=1, height=image.shape[2], width=image.shape[3])
        maps = self._stem(image)
        means = []
        for number, (problem, weights) in enumerate(zip(params.problems(), self.weights.blocks, strict=True)):
            maps = mbconv.forward(problem, maps, weights)
            if number in params.taps:
                means.append(_means(maps))
        pixels = maps.permute(0, 2, 3, 1).flatten(0, 2)
        last = self._product(pixels, *self.weights.head).clamp(0, mbconv.MOST)
        return torch.cat([*means, last.double().mean(0).float()])

    def _stem(self, image: Tensor) -> Tensor:
        stem, (_, channels, height, width) = self.params.stem, image.shape
        mean = torch.tensor(stem.mean, dtype=torch.float32, device=image.device).reshape(1, -1, 1, 1)
        above, below = same_padding(height, stem.size, stem.stride)
        left, right = same_padding(width, stem.size, stem.stride)
        rows, cols = above + height + below, left + width + right
        padded = torch.zeros(1, channels, rows, cols, dtype=torch.float32, device=image.device)
        padded[:, :, above : above + height, left : left + width] = (image.float() - mean) * stem.scale
        patches = padded.unfold(2, stem.size, stem.stride).unfold(3, stem.size, stem.stride)  # [1, C, H', W', size, size]
        rows, cols = patches.shape[2:4]
        made = self._product(
            patches.permute(0, 2, 3, 1, 4, 5).reshape(rows * cols, -1), self.weights.stem[0].flatten(1), self.weights.stem[1]
        )
        return made.clamp(0, mbconv.MOST).reshape(1, rows, cols, -1).permute(0, 3, 1, 2)

    def _product(self, rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if self.params.precision == "bf16":
            rows, weight = rows.bfloat16().float(), weight.bfloat16().float()
        return linear.forward(LinearParams(rows.shape[0], rows.shape[1], len(weight)), rows, weight, bias)


class ReferenceBackbone(BackboneBackend):
    """The backbone stated plainly."""

    def can_run(self, params: BackboneParams, device: torch.device) -> str | None:
        """The reference runs everything on the cpu."""
        return None if device.type == "cpu" else f"the backbone's reference runs on the cpu, not on {device.type}"

    def prepare(self, params: BackboneParams, weights: BackboneWeights) -> ReferencePrepared:
        """The weights, unchanged."""
        return ReferencePrepared(params, weights)


BACKEND = ReferenceBackbone()


def _means(maps: Tensor) -> Tensor:
    """Each map's mean, [1, C, H, W] -> [C]."""
    return maps.double().mean((0, 2, 3)).float()
