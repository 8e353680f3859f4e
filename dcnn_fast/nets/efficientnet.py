"""EfficientNet-Lite's weights for our layers: batch norms are folded into the preceding convolutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from dcnn_fast import networks
from dcnn_fast.nets.backbone import BackboneColumn, flattened, params_of
from dcnn_fast.nets.errors import ModelError
from dcnn_fast.nets.importing import read_state, weight_named
from dcnn_fast.networks.efficientnet import HEAD, LITES, STEM, InvertedResidual, Lite, lite_stages, lite_window
from dcnn_fast.ops.backbone import BackboneParams, BackboneWeights
from dcnn_fast.ops.mbconv import MbConvWeights
from dcnn_fast.ops.precision import Precision

EPSILON = 1e-3  # the batch norms' epsilon


def lite_params(lite: Lite, *, stages: Sequence[int] = (), precision: Precision = "ieee") -> BackboneParams:
    """The variant's problem for one image of its weights' training size.

    stages: numbers of the stages, ascending from 0, whose last blocks' means are features, too.
    """
    return params_of(lite, stages, precision, lite_window(lite))


def lite_column(
    weights: BackboneWeights, lite: Lite, view: networks.View = "warp", *, stages: Sequence[int] = (),
    fc: tuple[int, ...] = (64,), seed: int = 0,
) -> BackboneColumn:  # fmt: skip
    """A column of EfficientNet-Lite that sees the whole view at the weights' training size.

    Args:
        weights: The weights, from `import_lite`.
        lite: The variant, "lite0", "lite1" or "lite2".
        view: The view that the column sees.
        stages: The stages, ascending from 0, whose last blocks' means are features, too.
        fc: The sizes of the fully-connected layers.
        seed: The seed from which these are drawn.

    Returns:
        The column.
    """
    side = lite_window(lite)
    column = BackboneColumn(networks.BackboneColumn(lite, view, tuple(stages), fc, plane=side, window=side))
    column.backbone.copy_(flattened(weights))
    column.initialise(torch.Generator("cpu").manual_seed(seed))
    return column


def lite_of(state: Mapping[str, Tensor]) -> Lite:
    """The variant to which these weights belong. Raises ModelError where there is none."""
    for lite in LITES:
        blocks = [block for stage in lite_stages(lite) for block in stage]
        last = state.get(f"_blocks.{len(blocks) - 1}._project_conv.weight")
        more = f"_blocks.{len(blocks)}._project_conv.weight" in state
        if isinstance(last, Tensor) and not more and tuple(last.shape[:2]) == (blocks[-1].filters, blocks[-1].expanded):
            return lite
    raise ModelError(f"weights must be those of EfficientNet-{', '.join(LITES)}; these are of other blocks")


def import_lite(weights: str | Path | Mapping[str, Tensor], lite: Lite) -> BackboneWeights:
    """The weights of a variant of EfficientNet-Lite, batch norms folded in.

    Args:
        weights: A state dict with the names of the package efficientnet_lite_pytorch, or a file with one as torch saves it,
            from which only tensors are read: a file that contains anything else is refused.
        lite: The variant, "lite0", "lite1" or "lite2".

    Returns:
        The weights in float32.

    Raises:
        ModelError: The file cannot be read, or a tensor is missing, has another shape or holds non-finite values.
    """
    state = weights if isinstance(weights, Mapping) else read_state(Path(weights))
    shapes = [block for stage in lite_stages(lite) for block in stage]
    blocks = tuple(_block(state, f"_blocks.{number}", block) for number, block in enumerate(shapes))
    head, bias = _folded(state, "_conv_head", "_bn1", (HEAD, shapes[-1].filters, 1, 1))
    return BackboneWeights(_folded(state, "_conv_stem", "_bn0", (STEM, 3, 3, 3)), blocks, (head.flatten(1), bias))


def _block(state: Mapping[str, Tensor], name: str, block: InvertedResidual) -> MbConvWeights:
    expanded, size = block.expanded, block.size
    expand = None
    if block.expansion > 1:
        weight, bias = _folded(state, f"{name}._expand_conv", f"{name}._bn0", (expanded, block.channels, 1, 1))
        expand = weight.flatten(1), bias
    depthwise, bias = _folded(state, f"{name}._depthwise_conv", f"{name}._bn1", (expanded, 1, size, size))
    project, last = _folded(state, f"{name}._project_conv", f"{name}._bn2", (block.filters, expanded, 1, 1))
    return MbConvWeights(expand, (depthwise[:, 0], bias), (project.flatten(1), last))


def _folded(state: Mapping[str, Tensor], conv: str, norm: str, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """(weight, bias) of a convolution with the following batch norm, folded in float64."""
    weight = _tensor(state, f"{conv}.weight", shape)
    gain, shift, mean, variance = (
        _tensor(state, f"{norm}.{name}", shape[:1]) for name in ("weight", "bias", "running_mean", "running_var")
    )
    if (variance < 0).any():
        raise ModelError(f"{norm}.running_var must not be negative")
    factor = gain / (variance + EPSILON).sqrt()
    return (weight * factor.reshape(-1, 1, 1, 1)).float(), (shift - mean * factor).float()


def _tensor(state: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    return weight_named(state, name, shape, "EfficientNet-Lite").double()
