"""Columns on a device: their weights, laid out once, and their layers' launches."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from dcnn_fast import networks, ops
from dcnn_fast.nets import AnyColumn, BackboneColumn, Block, Column, GraphColumn
from dcnn_fast.nets.backbone import backbone_weights, params_of
from dcnn_fast.ops import backbone
from dcnn_fast.ops.backend import BackendError, choose
from dcnn_fast.ops.block import PreparedBlock, prepare
from dcnn_fast.ops.block.backend import Launches, Work
from dcnn_fast.ops.block.gpu.column import ColumnOnGpu
from dcnn_fast.ops.block.params import problems_of
from dcnn_fast.ops.head import BACKENDS as HEADS
from dcnn_fast.ops.head.params import problem_of
from dcnn_fast.ops.launch import Launch
from dcnn_fast.ops.linear import BACKENDS as LINEARS
from dcnn_fast.ops.linear import LinearParams
from dcnn_fast.ops.precision import Precision
from dcnn_fast.ops.recording import Recorder, Recordings, Step, collected
from dcnn_fast.ops.region import of_windows
from dcnn_fast.ops.views.fixed import windows_launch
from dcnn_fast.plan import ColumnPlan
from dcnn_fast.runtime.column import averaged
from dcnn_fast.runtime.executor import PhotoJob

_PRODUCTS: dict[torch.dtype, Precision] = {torch.float32: "ieee", torch.bfloat16: "bf16"}  # for EfficientNet-Lite's layers


@dataclass(frozen=True)
class FixedWindows:
    """The `count` windows of a fixed evaluation: row i of `sources`, [count, fields] int64 on the device, describes window i
    (`SourceRow` of csrc/core/tables.h).

    like: [1, 3, height, width] uint8, pixels in the windows' memory layout. reads: the memory that the windows lie in.
    """

    count: int
    sources: Tensor
    like: Tensor
    reads: Sequence[Tensor]


class DeviceColumn(Protocol):
    """A column's weights on a device, in one dtype. last: weight and bias of its last layer, which the head computes."""

    last: tuple[Tensor, Tensor]

    @property
    @abstractmethod
    def most_windows(self) -> int:
        """The most windows of a fixed evaluation, limited by the maps' memory."""

    @property
    @abstractmethod
    def launches(self) -> bool:
        """Whether all its layers are launches of kernels, so that they can be recorded."""

    @abstractmethod
    def launcher(self, device: torch.device, again: bool, record: Recorder) -> Launcher | None:
        """A launcher of one image after another on one stream; None where the layers are run one by one."""

    @abstractmethod
    def step(self, job: PhotoJob, plane: Tensor, launcher: Launcher | None) -> Callable[[], Tensor]:
        """A function that computes the maps of every distinct window, [windows, features]."""

    @abstractmethod
    def fixed(self, windows: FixedWindows) -> tuple[list[Step], Tensor]:
        """The steps that compute the windows' maps, and the memory that they fill, [windows, features]."""

    @abstractmethod
    def features(self, maps: Tensor) -> Tensor:
        """The last layer's input from the maps: [windows, inputs]."""


def device_column(column: nn.Module, device: torch.device, dtype: torch.dtype, tf32: bool = False) -> DeviceColumn:
    """The column's weights on the device.

    Raises ValueError naming the argument for a column of single layers, and for a dtype that its layers do not support.
    """
    if isinstance(column, Column):
        return BlockWeights(column, device, dtype, tf32)
    if isinstance(column, GraphColumn):
        raise ValueError("device must be cpu for a network with a column of single layers, which are not scored on a GPU yet")
    assert isinstance(column, BackboneColumn)
    if dtype not in _PRODUCTS or tf32:
        name = "tf32" if tf32 else str(dtype).removeprefix("torch.")
        raise ValueError(f"dtype must be float32 or bfloat16 for a network with EfficientNet-Lite's layers, got {name}")
    return BackboneWeights(column, device, dtype)


def layers_launch(network: networks.Network, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether kernels compute every fully-connected layer and the head: torch's own computations cannot be recorded."""
    problems = [
        LinearParams(50, inputs, outputs, relu=True, dtype=dtype)
        for column in network.columns
        for inputs, outputs in zip((column.features, *column.fc), column.fc[:-1], strict=False)
    ]
    try:
        chosen = [choose(LINEARS, problem, device) for problem in problems]
        chosen.append(choose(HEADS, problem_of(network, dtype), device))
    except BackendError:
        return False
    return set(chosen) == {"triton"}


class Launcher:
    """A column's launches on one stream."""

    def __init__(self, blocks: Sequence[Launches], device: torch.device, again: bool, record: Recorder) -> None:
        self._column = ColumnOnGpu(blocks, device, again)
        self._recordings = Recordings(record)

    def step(self, plane: Tensor, plan: ColumnPlan) -> Callable[[], Tensor]:
        """Queue the copies of one image's tables; the result launches the image's blocks and returns [windows, features]."""
        found = self._column.launches(plane, plan.blocks)

        def run() -> Tensor:
            self._recordings.run(found.launches, found.shape)
            return found.result

        return run


class _Layers:
    """A column's fully-connected layers on the device; `_first` adapts the first weight to the features' order."""

    def __init__(self, column: AnyColumn, device: torch.device, dtype: torch.dtype) -> None:
        layers = [(layer.weight.detach(), layer.bias.detach()) for layer in column.fc]  # type: ignore[operator]
        layers[0] = (self._first(column, layers[0][0]), layers[0][1])
        self._fc = [(placed(weight, device, dtype), placed(bias, device, dtype)) for weight, bias in layers[:-1]]
        weight, bias = layers[-1]
        self.last = placed(weight, device, dtype), placed(bias, device, torch.float32)

    @staticmethod
    def _first(column: AnyColumn, weight: Tensor) -> Tensor:
        return weight

    def _through(self, x: Tensor) -> Tensor:
        for weight, bias in self._fc:
            x = ops.linear(x, weight, bias, relu=True)
        return x


class BlockWeights(_Layers, DeviceColumn):
    """A column of blocks; the fully-connected layers take features in the last block's order, (H, W, C)."""

    def __init__(self, column: Column, device: torch.device, dtype: torch.dtype, tf32: bool = False) -> None:
        super().__init__(column, device, dtype)
        self._device, self._dtype, self._spec = device, dtype, column.spec
        mean, scale = column.spec.mean, column.spec.scale
        self._blocks: list[PreparedBlock] = []
        for block, problem in zip(column.blocks, problems_of(column.spec), strict=True):
            assert isinstance(block, Block)
            source = dtype if self._blocks else torch.uint8
            options = replace(problem.options, precision="tf32") if tf32 else problem.options
            params = replace(problem, options=options, dtype=source, weight_dtype=dtype, out_dtype=dtype)
            weight, bias = placed(block.weight, device, dtype), placed(block.bias, device, dtype)
            self._blocks.append(prepare(params, weight, bias, mean=mean, scale=scale))
            mean, scale = (), 1.0

    @staticmethod
    def _first(column: AnyColumn, weight: Tensor) -> Tensor:
        assert isinstance(column.spec, networks.Column)
        return last_channels(weight, column.spec.blocks[-1].filters) if column.spec.reduce == "flatten" else weight

    @property
    def most_windows(self) -> int:
        """As `DeviceColumn` says: their maps take some two gigabytes with the paper's column in float32."""
        return 1024

    @property
    def launches(self) -> bool:
        """As `DeviceColumn` says: False for the reference, which a user may have forced."""
        return all(block.launches is not None for block in self._blocks)

    def launcher(self, device: torch.device, again: bool, record: Recorder) -> Launcher | None:
        """As `DeviceColumn` says."""
        blocks = [block.launches for block in self._blocks if block.launches is not None]
        return Launcher(blocks, device, again, record) if self.launches else None

    def step(self, job: PhotoJob, plane: Tensor, launcher: Launcher | None) -> Callable[[], Tensor]:
        """As `DeviceColumn` says; the maps are the last block's output, in (H, W, C) order."""
        return partial(self._one_by_one, job, plane) if launcher is None else launcher.step(plane, job.plan)

    def _one_by_one(self, job: PhotoJob, plane: Tensor) -> Tensor:
        sources = [plane]
        for block, regions in zip(self._blocks, job.plan.blocks, strict=True):
            out = [self._empty(block, *shape) for shape in regions.outputs]
            block.run(Work(sources, regions, out))
            sources = out
        return _rows(sources[0])

    def fixed(self, windows: FixedWindows) -> tuple[list[Step], Tensor]:
        """As `DeviceColumn` says; where maps are averaged, each map's values are contiguous."""
        blocks = [block.in_one_tile() for block in self._blocks]  # before collecting launches, as this may time tiles
        launches, maps = collected(partial(self._whole_windows, blocks, windows), self._device)
        table = {**launches[0].args, "sources": windows.sources}  # in place of the rows for `like`, one per window
        steps: list[Step] = [replace(launches[0], args=table, reads=windows.reads), *launches[1:]]
        if self._spec.reduce == "flatten":
            return steps, maps
        apart = self._apart(maps)
        beside = torch.empty(apart.shape, dtype=apart.dtype, device=apart.device)
        return [*steps, partial(beside.copy_, apart)], beside

    def _whole_windows(self, blocks: Sequence[PreparedBlock], windows: FixedWindows) -> Tensor:
        """The last block's output for windows each of which is a source."""
        count, side = windows.count, self._spec.window
        places = np.zeros((count, 4), np.int64)
        places[:, 0] = np.arange(count)  # (source, image, top, left); for later blocks (image, top, left)
        sources = [windows.like] * count
        for number, (block, extent) in enumerate(zip(self._spec.blocks, (side, *self._spec.extents()[1:]), strict=False)):
            regions = of_windows(
                torch.from_numpy(places if number == 0 else places[:, :3]), extent, extent, size=block.size,
                stride=block.stride, padding=block.padding, rounding=self._spec.rounding, pool=block.pool,
            )  # fmt: skip
            out = self._empty(blocks[number], *regions.outputs[0])
            blocks[number].run(Work(sources, regions, [out]))
            sources = [out]
        return _rows(sources[0])

    def _empty(self, block: PreparedBlock, images: int, rows: int, cols: int) -> Tensor:
        shape = images, rows, cols, block.params.filters
        return torch.empty(shape, dtype=self._dtype, device=self._device).permute(0, 3, 1, 2)

    def features(self, maps: Tensor) -> Tensor:
        """As `DeviceColumn` says; maps are in (H, W, C) order, or as `fixed` leaves those to average."""
        if self._spec.reduce == "mean":
            maps = averaged(self._apart(maps) if maps.ndim == 2 else maps)
        return self._through(maps)

    def _apart(self, maps: Tensor) -> Tensor:
        """[windows, H * W * filters] as [windows, filters, H * W]."""
        return maps.reshape(len(maps), -1, self._blocks[-1].params.filters).transpose(1, 2)


class BackboneWeights(_Layers, DeviceColumn):
    """A column of EfficientNet-Lite's layers. Maps are float32; their means enter the later layers in the column's dtype."""

    def __init__(self, column: BackboneColumn, device: torch.device, dtype: torch.dtype) -> None:
        column.require_weights()
        super().__init__(column, device, dtype)
        self._device, self._dtype, self._side = device, dtype, column.spec.window
        values = column.backbone.detach().to(device, torch.float32, copy=True)
        params = params_of(column.spec.lite, column.spec.stages, _PRODUCTS[dtype])
        self._layers = backbone.prepare(params, backbone_weights(values, column.spec.lite), device)

    @property
    def most_windows(self) -> int:
        """As `DeviceColumn` says: Lite2's maps take some gigabytes."""
        return 128

    @property
    def launches(self) -> bool:
        """As `DeviceColumn` says."""
        return isinstance(self._layers, backbone.triton.TritonPrepared)

    def launcher(self, device: torch.device, again: bool, record: Recorder) -> Launcher | None:
        """None: these layers have no regions."""
        return None

    def step(self, job: PhotoJob, plane: Tensor, launcher: Launcher | None) -> Callable[[], Tensor]:
        """As `DeviceColumn` says."""
        return partial(self._distinct, job, plane)

    def _distinct(self, job: PhotoJob, plane: Tensor) -> Tensor:
        _, first = np.unique(job.plan.window_of, return_index=True)
        corners, side = job.windows[first].tolist(), self._side
        cut = torch.cat([plane[:, :, top : top + side, left : left + side] for top, left in corners])
        return self._layers.features(cut).to(self._dtype)

    def fixed(self, windows: FixedWindows) -> tuple[list[Step], Tensor]:
        """As `DeviceColumn` says."""
        images = torch.empty(windows.count, self._side, self._side, 3, dtype=torch.uint8, device=self._device)
        cut: Launch = windows_launch(windows.sources, images, windows.reads)
        launches, maps = collected(lambda: self._layers.features(images.permute(0, 3, 1, 2)), self._device)
        if self._dtype == torch.float32:
            return [cut, *launches], maps
        rounded = torch.empty(maps.shape, dtype=self._dtype, device=self._device)
        return [cut, *launches, partial(rounded.copy_, maps)], rounded

    def features(self, maps: Tensor) -> Tensor:
        """As `DeviceColumn` says."""
        return self._through(maps)


def placed(tensor: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """A dense copy of a weight on the device; filters in channels_last memory."""
    there = tensor.detach().to(device, dtype, copy=True)  # a copy even in the simulator: recorded launches hold its address
    return there.contiguous(memory_format=torch.channels_last) if there.ndim == 4 else there.contiguous()


def last_channels(weight: Tensor, channels: int) -> Tensor:
    """A layer's weight [outputs, C * H * W], reordered for features in (H, W, C) order."""
    outputs = weight.shape[0]
    return weight.reshape(outputs, channels, -1).transpose(1, 2).reshape(outputs, -1)


def _rows(maps: Tensor) -> Tensor:
    """[windows, C, H, W] in channels_last memory as [windows, H * W * C]."""
    return maps.permute(0, 2, 3, 1).flatten(1)
