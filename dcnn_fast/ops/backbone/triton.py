"""The backbone on Triton: a launch for the stem, for each block and for the means of each feature; nothing wide in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dcnn_fast.ops import launch
from dcnn_fast.ops.backbone.backend import BackboneBackend, BackboneWeights, PreparedBackbone
from dcnn_fast.ops.backbone.params import BackboneParams
from dcnn_fast.ops.gpus import MOST_REGISTERS
from dcnn_fast.ops.mbconv import MbConvParams, same_padding
from dcnn_fast.ops.mbconv import triton as mbconv

_PIXELS, _OUTPUTS, _STEP = 64, 64, 16  # per program, and products of each per step
_COUNTED = 2**31  # the kernels index in 32 bits


class TritonBackbone(BackboneBackend):
    """The backbone on Triton."""

    def can_run(self, params: BackboneParams, device: torch.device) -> str | None:
        """None, or the sentence that says why not."""
        if why := launch.refused(device):
            return why
        if params.dtype not in (torch.uint8, torch.float32):
            return f"the Triton kernels take uint8 or float32, not {str(params.dtype).removeprefix('torch.')}"
        for number, problem in enumerate(params.problems()):
            if why := mbconv.BACKEND.can_run(problem, device):
                return f"block {number}: {why}"
        return _refused_sizes(params)

    def prepare(self, params: BackboneParams, weights: BackboneWeights) -> TritonPrepared:
        """A packed copy of the weights."""
        operand = torch.bfloat16 if params.precision == "bf16" else torch.float32
        device = weights.head[0].device
        problems = replace(params, images=1, height=1, width=1).problems()
        return TritonPrepared(
            params,
            torch.tensor(params.stem.mean, dtype=torch.float32, device=device),
            _packed(weights.stem[0].permute(0, 2, 3, 1).flatten(1), weights.stem[1], operand),
            tuple(mbconv.prepared(problem, of) for problem, of in zip(problems, weights.blocks, strict=True)),
            _packed(*weights.head, operand),
        )


BACKEND = TritonBackbone()


@dataclass(frozen=True)
class TritonPrepared(PreparedBackbone):
    """The problem, whose images and extents are ignored, and each layer's weight and bias in the kernels' layout."""

    params: BackboneParams
    mean: Tensor
    stem: tuple[Tensor, Tensor]
    blocks: tuple[mbconv.TritonPrepared, ...]
    head: tuple[Tensor, Tensor]

    def features(self, x: Tensor) -> Tensor:
        """[N, channels, height, width] -> [N, features]."""
        out = torch.empty(len(x), self.params.features, dtype=torch.float32, device=x.device)
        for what in self.launches(x, out):
            launch.launch(what)
        return out

    def launches(self, x: Tensor, out: Tensor) -> Iterator[launch.Launch]:
        """The launches in order, each reading earlier results; they write to `out` (contiguous)."""
        params = replace(self.params, images=len(x), height=x.shape[2], width=x.shape[3])
        if why := _refused_sizes(params):
            raise ValueError(why)
        problems = list(params.problems())
        maps = _maps(x, problems[0].channels, problems[0].height, problems[0].width)
        yield self._stem_launch(params, x, maps)
        begin = 0
        for number, (problem, block) in enumerate(zip(problems, self.blocks, strict=True)):
            made = _maps(x, problem.filters, problem.out_height, problem.out_width)
            yield mbconv.launch_of(problem, block.weights, maps, made)
            maps = made
            if number in params.taps:
                yield _means_launch(maps, None, out, begin, problem.filters)
                begin += problem.filters
        yield _means_launch(maps, self.head, out, begin, params.outputs)

    def _stem_launch(self, params: BackboneParams, x: Tensor, out: Tensor) -> launch.Launch:
        from dcnn_fast.ops.backbone.triton_kernels import backbone_stem_kernel  # noqa: PLC0415 - Triton on first use

        stem, (weight, bias) = params.stem, self.stem
        images, filters, rows, cols = out.shape
        tiles = -(-rows * cols // _PIXELS)
        return launch.Launch(
            backbone_stem_kernel,
            (images * tiles, -(-filters // _OUTPUTS)),
            {
                "x": x.contiguous(memory_format=torch.channels_last), "mean": self.mean, "weight": weight, "bias": bias,
                "out": out, "height": params.height, "width": params.width, "out_height": rows, "out_width": cols,
                "above": same_padding(params.height, stem.size, stem.stride)[0],
                "left": same_padding(params.width, stem.size, stem.stride)[0], "tiles": tiles, "scale": stem.scale,
            },
            {
                "CHANNELS": stem.channels, "FILTERS": filters, "SIZE": stem.size, "STRIDE": stem.stride, "BM": _PIXELS,
                "BK": _STEP, "BF": _OUTPUTS,
            },
            registers=MOST_REGISTERS if params.precision == "bf16" else None,  # as in a block
        )  # fmt: skip


def _means_launch(maps: Tensor, layer: tuple[Tensor, Tensor] | None, out: Tensor, begin: int, outputs: int) -> launch.Launch:
    """layer: applied before the means, None for the maps' own means. begin: the first of `outputs` features."""
    from dcnn_fast.ops.backbone.triton_kernels import backbone_means_kernel  # noqa: PLC0415 - Triton on first use

    images, channels, rows, cols = maps.shape
    weight, bias = (maps, maps) if layer is None else layer
    return launch.Launch(
        backbone_means_kernel,
        (images, -(-outputs // _OUTPUTS)),
        {
            "maps": maps, "weight": weight, "bias": bias, "out": out, "pixels": rows * cols, "features": out.shape[1],
            "begin": begin,
        },
        {
            "CHANNELS": channels, "OUTPUTS": outputs, "LAYER": layer is not None, "BM": _PIXELS, "BK": _STEP, "BN": _OUTPUTS,
        },
    )  # fmt: skip


def _refused_sizes(params: BackboneParams) -> str | None:
    """The sentence that says why images are too large for the kernels' numbers, or None."""
    values = max(params.height * params.width * params.stem.channels, *(_largest(problem) for problem in params.problems()))
    if max(values, params.images * params.height * params.width) >= _COUNTED:
        return f"the Triton kernels count an image's values and all images' pixels below 2**31, not {params}"
    return None


def _largest(problem: MbConvParams) -> int:
    return max(
        problem.height * problem.width * problem.channels, problem.out_height * problem.out_width * problem.filters
    )  # fmt: skip


def _packed(weight: Tensor, bias: Tensor, operand: torch.dtype) -> tuple[Tensor, Tensor]:
    """[outputs, inputs] and [outputs] in the kernels' layout."""
    outputs, inputs = (-(-count // of) * of for count, of in zip(weight.shape, (_OUTPUTS, _STEP), strict=True))
    return mbconv.laid(weight.T, inputs, outputs).to(operand), mbconv.laid(bias[None], 1, outputs)


def _maps(like: Tensor, channels: int, height: int, width: int) -> Tensor:
    shape = (len(like), channels, height, width)
    return torch.empty(shape, dtype=torch.float32, device=like.device, memory_format=torch.channels_last)
