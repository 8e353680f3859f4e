"""A column as a torch module: blocks through `ops.block`, then fully-connected layers with ReLU and dropout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcnn_fast import engine, networks, ops
from dcnn_fast.nets.kept import Keeper
from dcnn_fast.nets.kept_digest import digest_of
from dcnn_fast.nets.seen import Seen
from dcnn_fast.ops.block.params import Ties
from dcnn_fast.ops.precision import Precision

HALVES: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
PIXEL_SPREAD = 64.0  # typical size of a pixel minus its mean, in levels


def zero_linear(inputs: int, outputs: int) -> nn.Linear:
    """A fully-connected layer of zeros; torch's constructor would draw numbers from the program's generator in vain."""
    layer = nn.Linear(inputs, outputs, device="meta")
    # Without `to_empty`, for which torch imports sympy.
    layer.weight, layer.bias = nn.Parameter(torch.zeros(outputs, inputs)), nn.Parameter(torch.zeros(outputs))
    return layer


class Block(nn.Module):
    """One fused block with its weight [F, C / groups, S, S] and bias [F].

    `precision` is that of the convolution's products, `ties` says which inputs get a pool's gradient (`ops.block`).

    Args:
        block: The block as data.
        channels: The number of its input's maps.
        rounding: The rounding of extents, as in `networks.window_count`.
    """

    precision: Precision = "ieee"
    ties: Ties = "all"

    def __init__(self, block: networks.Block, channels: int, rounding: networks.Rounding) -> None:
        super().__init__()
        self.spec = block
        self.rounding = rounding
        shape = (block.filters, channels // block.groups, block.size, block.size)
        self.weight = nn.Parameter(torch.zeros(shape).contiguous(memory_format=torch.channels_last))
        self.bias = nn.Parameter(torch.zeros(block.filters))

    def forward(self, x: Tensor, mean: Sequence[float] = (), scale: float = 1.0) -> Tensor:
        """Compute the block.

        Args:
            x: [N, C, H, W], floating point or bytes.
            mean: The mean of each channel; bytes enter as (x - mean) * scale.
            scale: The factor of bytes minus their mean.

        Returns:
            [N, F, H', W'].
        """
        block = self.spec
        return ops.block(
            x, self.weight, self.bias, stride=block.stride, padding=block.padding, groups=block.groups,
            rounding=self.rounding, pool=block.pool, norm=block.norm, order=block.order, mean=mean, scale=scale,
            ties=self.ties, precision=self.precision,
        )  # fmt: skip


class AnyColumn(nn.Module):
    """One column, whatever its layers: windows of pixels in, the last fc layer's activations out.

    `precision` is that of the products in all layers; the parameters do not change. In "bf16" and "fp16" the fc layers'
    operands and results are rounded to that format; in "tf32" they follow torch's own settings. `ties` says which inputs get
    the gradients of max-pools (`ops.block`).

    Args:
        column: The column as data.
    """

    precision: Precision = "ieee"
    ties: Ties = "all"
    fc: nn.ModuleList

    def __init__(self, column: networks.AnyColumn) -> None:
        super().__init__()
        self.spec = column

    def compute_in(self, precision: Precision) -> None:
        """Set the precision of the column's products.

        Args:
            precision: The precision, as `ops.block` takes it.
        """
        self.precision = precision

    def give_ties(self, ties: Ties) -> None:
        """Set which inputs get the gradients of the column's max-pools.

        Args:
            ties: "all" of several equal maxima, or the "first".
        """
        self.ties = ties

    @property
    def keeps_mean(self) -> bool:
        """Whether training keeps subtracting the present mean from the pixels instead of its own pictures' mean."""
        return self.spec.frozen

    def set_mean(self, mean: Sequence[float]) -> None:
        """Set the mean subtracted from the pixels; the spec records it.

        Args:
            mean: One value per channel.
        """
        raise NotImplementedError

    def settle(self) -> None:
        """Set the values that no state dict holds from the spec, on the cpu."""
        self.requires_grad_(not self.spec.frozen)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the trained weights; biases are zero.

        Args:
            generator: The source of random numbers, on the cpu.
        """
        raise NotImplementedError

    def train(self, mode: bool = True) -> AnyColumn:
        """Set training mode, except for a frozen column, which keeps its dropout off.

        Args:
            mode: Whether to train; False for evaluation mode.

        Returns:
            The column itself.
        """
        return super().train(mode and not self.spec.frozen)

    def _above(self, x: Tensor) -> Tensor:
        """The fully-connected layers: [N, features] -> [N, fc[-1]]."""
        assert not isinstance(self.spec, networks.GraphColumn), "it has no layers but its own"
        for layer in self.fc:
            x = F.dropout(self._linear(layer, x).relu(), self.spec.dropout, self.training)
        return x

    def _linear(self, layer: nn.Module, x: Tensor) -> Tensor:
        half = HALVES.get(self.precision)
        if half is None:
            y: Tensor = layer(x)
            return y
        assert isinstance(layer, nn.Linear)
        return F.linear(x.to(half), layer.weight.to(half), layer.bias.to(half)).to(x.dtype)


def fc_layers(column: networks.AnyColumn) -> nn.ModuleList:
    """The column's fully-connected layers, filled with zeros."""
    sizes = (column.features, *column.fc)
    return nn.ModuleList(zero_linear(i, o) for i, o in zip(sizes, column.fc, strict=False))


def drawn(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Normal numbers from a cpu generator, independent of the program's default dtype and device."""
    return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")


def draw(layer: nn.Module, generator: torch.Generator, gain: float = 1.0, depth: int | None = None) -> None:
    """Normal weights that keep activations near 1 times `gain` (He et al.), and zero biases.

    depth: the number of products summed in a result; by default a weight row's length.
    """
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor)
    with torch.no_grad():
        weight.copy_(drawn(weight.shape, generator).mul_(gain).mul_((2 / (depth or weight[0].numel())) ** 0.5))
        if isinstance(bias, Tensor):
            bias.zero_()


def require_windows(column: networks.AnyColumn, windows: Tensor) -> None:
    """Raise ValueError unless the windows fit the column: [N, channels, window, window]."""
    expected = (column.channels, column.window, column.window)
    if windows.ndim != 4 or tuple(windows.shape[1:]) != expected:
        raise ValueError(f"windows must have shape [N, {', '.join(map(str, expected))}], got {list(windows.shape)}")


@dataclass(frozen=True, eq=False)
class StillBlocks:
    """The first `blocks` blocks of a column, which are not trained while their features are kept.

    settings, weights: those with which the features were computed.
    """

    column: Column
    blocks: int
    settings: tuple[object, ...]
    weights: tuple[Seen, ...]

    @torch.no_grad()
    def features(self, windows: Tensor) -> Tensor:
        """Their results for windows: [N, C, window, window] uint8 -> [N, F, H, W], or [N, features] if they are all blocks."""
        maps = self.column._before(windows, self.blocks)
        return self.column._reduced(maps) if self.is_all else maps

    @property
    def is_all(self) -> bool:
        """Whether all blocks are included."""
        return self.blocks == len(self.column.blocks)

    def are_still(self, settings: tuple[object, ...], weights: Sequence[Tensor]) -> bool:
        """Whether they would still compute the same."""
        if self.settings != settings or len(self.weights) != len(weights):
            return False
        return all(seen.is_still(weight) for seen, weight in zip(self.weights, weights, strict=True))


class Column(AnyColumn, Keeper):
    """A column of blocks.

    Args:
        column: The column as data; all weights are zero at first.
    """

    mean: Tensor

    def __init__(self, column: networks.Column) -> None:
        super().__init__(column)
        self.spec: networks.Column = column
        channels = (column.channels, *(block.filters for block in column.blocks))
        self.blocks = nn.ModuleList(
            Block(block, inputs, column.rounding) for block, inputs in zip(column.blocks, channels, strict=False)
        )
        self.fc = fc_layers(column)
        self.register_buffer(
            "mean",
            torch.tensor(column.mean, dtype=torch.float32, device=torch.get_default_device()).reshape(1, -1, 1, 1),
            persistent=False,
        )
        self.requires_grad_(not column.frozen)
        self._seen: StillBlocks | None = None

    def forward(self, windows: Tensor) -> Tensor:
        """Compute the column.

        The mean and scale of the spec are applied here; flattened maps are in (C, H, W) order (docs/cuda-convnet.md#matrices).

        Args:
            windows: [N, C, window, window] pixels 0-255, uint8 or floating point.

        Returns:
            [N, fc[-1]].

        Raises:
            ValueError: The windows do not fit the column.
        """
        require_windows(self.spec, windows)
        if self.kept is not None and windows.dtype == torch.uint8 and windows.device.type == "cpu":
            still = self._still()
            found = self.kept.of(still, windows)
            return self._above(found) if still.is_all else self._behind(found, still.blocks)
        return self._behind(self._before(windows, 1), 1)

    @property
    def keeps(self) -> bool:
        """Whether the first blocks are not trained, and the windows are whole views, which recur."""
        return self.sees_all and self._still_count() > 0

    @property
    def sees_all(self) -> bool:
        """Whether its windows are whole views."""
        return self.spec.view != "local" and self.spec.window == self.spec.plane

    def features_digest(self) -> str:
        """A digest of the first, untrained blocks, the mean subtracted from the pixels, and the processing of their maps."""
        return digest_of((self._settings(self._still_count()), self.features_form()), self._weights(self._still_count()))

    def features_form(self) -> tuple[tuple[int, ...], torch.dtype]:
        """Maps, or where no block is trained, the input of the first fully-connected layer."""
        count, dtype = self._still_count(), self._weights(1)[0].dtype
        if count == len(self.blocks):
            return (self.spec.features,), dtype
        extent = self.spec.extents()[count]
        return (self.spec.blocks[count - 1].filters, extent, extent), dtype

    def _still_count(self) -> int:
        """The number of first blocks that are not trained."""
        learning = (any(each.requires_grad for each in block.parameters()) for block in self.blocks)
        return next((number for number, learns in enumerate(learning) if learns), len(self.blocks))

    def _still(self) -> StillBlocks:
        """The first, untrained blocks: the same object until they or their settings change."""
        count = self._still_count()
        settings, weights = self._settings(count), self._weights(count)
        if self._seen is None or not self._seen.are_still(settings, weights):
            self._seen = StillBlocks(self, count, settings, tuple(map(Seen.of, weights)))
        return self._seen

    def _settings(self, count: int) -> tuple[object, ...]:
        """The settings that, besides the weights, determine the results of the first `count` blocks."""
        spec, isa = self.spec, "" if engine.reason() else engine.isa()
        whole = count == len(self.blocks)
        return (
            spec.blocks[:count], spec.rounding, spec.mean, spec.scale, self.precision, isa, whole and spec.reduce, spec.window,
        )  # fmt: skip

    def _weights(self, count: int) -> list[Tensor]:
        return [each for block in list(self.blocks)[:count] for each in block.parameters()]

    def _before(self, windows: Tensor, blocks: int) -> Tensor:
        """The maps after the first `blocks` blocks, at least one: [N, F, H, W]."""
        first, *others = self.blocks
        if windows.dtype == torch.uint8:
            x: Tensor = first(windows, self.spec.mean, self.spec.scale)
        else:
            x = first((windows.to(self.mean.dtype) - self.mean) * self.spec.scale)
        for block in others[: blocks - 1]:
            x = block(x)
        return x

    def _behind(self, x: Tensor, blocks: int) -> Tensor:
        """The result of the layers after the first `blocks` blocks: maps [N, F, H, W] -> [N, fc[-1]]."""
        _, *others = self.blocks
        for block in others[blocks - 1 :]:
            x = block(x)
        return self._above(self._reduced(x))

    def _reduced(self, x: Tensor) -> Tensor:
        """[N, F, H, W] -> [N, features]."""
        return x.flatten(1) if self.spec.reduce == "flatten" else x.mean(dim=(2, 3))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "kept": None, "_seen": None}

    def compute_in(self, precision: Precision) -> None:
        """Set the precision of the column's products.

        Args:
            precision: The precision, as `ops.block` takes it.
        """
        super().compute_in(precision)
        for block in self.blocks:
            assert isinstance(block, Block)
            block.precision = precision

    def give_ties(self, ties: Ties) -> None:
        """Set which inputs get the gradients of the column's max-pools.

        Args:
            ties: "all" of several equal maxima, or the "first".
        """
        super().give_ties(ties)
        for block in self.blocks:
            assert isinstance(block, Block)
            block.ties = ties

    def set_mean(self, mean: Sequence[float]) -> None:
        """Set the mean subtracted from the pixels; the spec records it.

        Args:
            mean: One value per channel.
        """
        self.spec = replace(self.spec, mean=tuple(mean))
        self.mean = torch.tensor(self.spec.mean, dtype=self.mean.dtype, device=self.mean.device).reshape(1, -1, 1, 1)

    def settle(self) -> None:
        """As in every column, and the mean, too."""
        super().settle()
        self.mean = torch.tensor(self.spec.mean, dtype=torch.float32, device="cpu").reshape(1, -1, 1, 1)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw every layer's weights for pixels with a deviation of 64 levels.

        Args:
            generator: The source of random numbers, on the cpu.
        """
        gain = 1 / (PIXEL_SPREAD * abs(self.spec.scale) or 1.0)
        for layer in (*self.blocks, *self.fc):
            draw(layer, generator, gain)
            gain = 1.0
