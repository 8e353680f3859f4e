"""The network on a GPU, from a photograph's pixels to probabilities: launches only, until the probabilities are asked for.

Every thread has a stream of its own, so that one image's copies pass beside another's kernels; the head of a batch waits, on
the device, for the blocks of its images. Weights are laid out once: features enter the fully-connected layers as the last block
leaves them, in (H, W, C) order.

Of one image, the photograph is copied and its views made; then memory for all maps is taken and the tables of all blocks are
copied, a column's at once (ops/block/gpu/column.py), and from the first block's launch to the last one's nothing is allocated
or copied. A column's launches are recorded by their shape and replayed, as a CUDA graph, for the next image that has it
(ops/recording.py). This path has run in the PTX simulator and not on a GPU.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dcnn_fast import ops
from dcnn_fast.nets import Block, Column, GraphColumn, Model, MultiColumn
from dcnn_fast.ops import views as ops_views
from dcnn_fast.ops.block import PreparedBlock, prepare
from dcnn_fast.ops.block.backend import Launches, Work
from dcnn_fast.ops.block.gpu.column import ColumnOnGpu
from dcnn_fast.ops.block.params import problems_of
from dcnn_fast.ops.launch import copied
from dcnn_fast.ops.recording import CudaGraph, Recordings
from dcnn_fast.ops.views import ViewParams
from dcnn_fast.plan import ColumnPlan
from dcnn_fast.runtime.column import averaged
from dcnn_fast.runtime.executor import Intake, Job, Maps, PhotoJob, require_kind
from dcnn_fast.runtime.watch import Watch, WeightsError


@dataclass(frozen=True)
class DeviceMaps(Maps):
    """Maps on the device in (H, W, C) order, there once `ready` has been reached (None where nothing runs beside the host)."""

    ready: Any = None


class GpuNetwork:
    """A network's weights on a device, in `dtype`: float32 (products in ieee), float16 or bfloat16 (sums in float32).

    graphs: replay launches that come again instead of launching them one by one. The weights are laid out once; when the
    network's are no longer those, `head` raises WeightsError.
    """

    intake = Intake("triton", makes_views=True)

    def __init__(self, net: MultiColumn, device: torch.device, dtype: torch.dtype, graphs: bool = True) -> None:
        self._device, self._graphs, self._threads = device, graphs, threading.local()
        self._net, self._watch, self._digest = net, Watch(net), Model(net).digest
        with torch.no_grad():
            self._columns = [_ColumnWeights(_of_blocks(column), device, dtype) for column in net.columns]
            self._label_weight, self._label_bias = (_placed(each, device, torch.float32) for each in net.label.parameters())
        if device.type == "cuda":
            torch.cuda.synchronize(device)  # the weights are there before another stream reads them

    @torch.no_grad()
    def blocks(self, jobs: Sequence[Job]) -> DeviceMaps:
        """The blocks of one image: a PhotoJob for each column of the network. Raises TypeError for another job."""
        photos, own = require_kind("jobs", jobs, PhotoJob), self._own()
        with self._stream():
            planes = self._planes(photos)
            steps = [
                column.step(job, plane, launcher)
                for column, job, plane, launcher in zip(self._columns, photos, planes, own.columns, strict=True)
            ]
            maps = tuple(step() for step in steps)
            return DeviceMaps(maps, tuple(job.plan.window_of for job in jobs), self._reached())

    @torch.no_grad()
    def head(self, images: Sequence[Maps]) -> list[np.ndarray]:
        """Each image's [views, labels] float64 probabilities, of all images together; waits for them.

        Raises WeightsError and TypeError.
        """
        if not images:
            return []
        found = require_kind("images", images, DeviceMaps)
        if not self._same_weights():
            raise WeightsError("the model's weights have changed since they were laid out on the GPU: make a new Scorer")
        counts = [image.views for image in found]
        with self._stream():
            self._wait_for(found)
            features, rows = [], []
            for i, column in enumerate(self._columns):
                maps = [image.columns[i] for image in found]
                first = np.cumsum([0] + [len(each) for each in maps])
                features.append(column.features(torch.cat(maps) if len(maps) > 1 else maps[0]))
                of = np.concatenate([image.window_of[i] + start for image, start in zip(found, first, strict=False)])
                rows.append(copied(torch.from_numpy(of), self._device))
            weights, biases = zip(*(column.last for column in self._columns), strict=True)
            probs, _, _ = ops.head(features, weights, biases, self._label_weight, self._label_bias, counts, window_of=rows)
            result = probs.cpu().numpy().astype(np.float64)
        return np.split(result, np.cumsum(counts)[:-1])

    def current(self, maps: Maps) -> bool:
        """Whether the network's weights are still those that were laid out. Raises TypeError for another executor's maps."""
        require_kind("maps", [maps], DeviceMaps)
        return self._same_weights()

    def _same_weights(self) -> bool:
        if self._watch.changed():
            if Model(self._net).digest != self._digest:
                return False
            self._watch = Watch(self._net)  # they have moved, and are the same
        return True

    def _planes(self, jobs: Sequence[PhotoJob]) -> list[Tensor]:
        """Each job's plane, [1, 3, H, W] uint8 on the device: its photograph is copied there, and each view made, once."""
        pixels: dict[int, Tensor] = {}
        planes: dict[tuple[int, ViewParams], Tensor] = {}
        for job in jobs:
            source = id(job.photo)
            if source not in pixels:
                pixels[source] = copied(torch.from_numpy(job.photo), self._device)
            if (source, job.view) not in planes:
                planes[source, job.view] = _plane(pixels[source], job.view)
        return [planes[id(job.photo), job.view] for job in jobs]

    def _own(self) -> _Thread:
        """What belongs to the calling thread."""
        if not hasattr(self._threads, "own"):
            stream = torch.cuda.Stream(self._device) if self._device.type == "cuda" else None  # type: ignore[no-untyped-call]
            columns = tuple(column.launcher(self._device, self._graphs) for column in self._columns)
            self._threads.own = _Thread(stream, columns)
        own: _Thread = self._threads.own
        return own

    def _stream(self) -> AbstractContextManager[Any]:
        """Within it, launches and copies go to the calling thread's stream."""
        return torch.cuda.stream(self._own().stream) if self._device.type == "cuda" else nullcontext()

    def _reached(self) -> Any:
        return torch.cuda.current_stream(self._device).record_event() if self._device.type == "cuda" else None

    def _wait_for(self, images: Sequence[DeviceMaps]) -> None:
        if self._device.type != "cuda":
            return
        stream = torch.cuda.current_stream(self._device)
        for image in images:
            stream.wait_event(image.ready)
            for maps in image.columns:
                maps.record_stream(stream)  # their memory is not given away before this stream has read it


@dataclass(frozen=True)
class _Thread:
    """stream: None where launches do not run beside the host. columns: how each column's launches come about, None for one with
    a block that launches nothing.
    """

    stream: Any
    columns: tuple[_Launcher | None, ...]


class _Launcher:
    """A column's launches on one stream."""

    def __init__(self, blocks: Sequence[Launches], device: torch.device, graphs: bool) -> None:
        self._column = ColumnOnGpu(blocks, device, graphs)
        self._recordings = Recordings(partial(CudaGraph, device) if graphs and device.type == "cuda" else None)

    def step(self, plane: Tensor, plan: ColumnPlan) -> Callable[[], Tensor]:
        """What launches the blocks of one image, whose tables are on their way, and returns [windows, features]."""
        found = self._column.launches(plane, plan.blocks)

        def run() -> Tensor:
            self._recordings.run(found.launches, found.shape)
            return found.result

        return run


class _ColumnWeights:
    """A column's weights on the device."""

    def __init__(self, column: Column, device: torch.device, dtype: torch.dtype) -> None:
        self._device, self._dtype, self._reduce = device, dtype, column.spec.reduce
        mean, scale = column.spec.mean, column.spec.scale
        self._blocks: list[PreparedBlock] = []
        for block, problem in zip(column.blocks, problems_of(column.spec), strict=True):
            assert isinstance(block, Block)
            source = dtype if self._blocks else torch.uint8
            params = replace(problem, dtype=source, weight_dtype=dtype, out_dtype=dtype)
            weight, bias = _placed(block.weight, device, dtype), _placed(block.bias, device, dtype)
            self._blocks.append(prepare(params, weight, bias, mean=mean, scale=scale))
            mean, scale = (), 1.0
        layers = [(layer.weight.detach(), layer.bias.detach()) for layer in column.fc]  # type: ignore[operator]
        if column.spec.reduce == "flatten":
            layers[0] = (_last_channels(layers[0][0], column.spec.blocks[-1].filters), layers[0][1])
        self._fc = [(_placed(weight, device, dtype), _placed(bias, device, dtype)) for weight, bias in layers[:-1]]
        weight, bias = layers[-1]
        self.last = _placed(weight, device, dtype), _placed(bias, device, torch.float32)

    def launcher(self, device: torch.device, graphs: bool) -> _Launcher | None:
        """What launches the column's blocks on a stream of its own; None where one of them has no launches."""
        blocks = [block.launches for block in self._blocks if block.launches is not None]
        return _Launcher(blocks, device, graphs) if len(blocks) == len(self._blocks) else None

    def step(self, job: PhotoJob, plane: Tensor, launcher: _Launcher | None) -> Callable[[], Tensor]:
        """What computes the last block's output of every distinct window, [windows, features] in (H, W, C) order."""
        return partial(self._one_by_one, job, plane) if launcher is None else launcher.step(plane, job.plan)

    def _one_by_one(self, job: PhotoJob, plane: Tensor) -> Tensor:
        sources = [plane]
        for block, regions in zip(self._blocks, job.plan.blocks, strict=True):
            filters = block.params.filters
            out = [
                torch.empty(images, rows, cols, filters, dtype=self._dtype, device=self._device).permute(0, 3, 1, 2)
                for images, rows, cols in regions.outputs
            ]
            block.run(Work(sources, regions, out))
            sources = out
        return sources[0].permute(0, 2, 3, 1).flatten(1)

    def features(self, maps: Tensor) -> Tensor:
        """What the last layer is given: [windows, inputs]."""
        if self._reduce == "mean":
            maps = averaged(maps.reshape(len(maps), -1, self._blocks[-1].params.filters).transpose(1, 2))
        for weight, bias in self._fc:
            maps = ops.linear(maps, weight, bias, relu=True)
        return maps


def _of_blocks(column: nn.Module) -> Column:
    """Raises ValueError for a column whose windows are not cut on a GPU."""
    if isinstance(column, Column):
        return column
    what = "a column of single layers" if isinstance(column, GraphColumn) else "EfficientNet-Lite's layers"
    raise ValueError(f"device must be cpu for a network with {what}, which are not scored on a GPU yet")


def _plane(pixels: Tensor, view: ViewParams) -> Tensor:
    """[1, 3, H, W] uint8 of a photograph [h, w, 3]; what a view makes has a fourth channel beside them in memory."""
    if view.resized == tuple(pixels.shape[:2]) == view.shape:
        return pixels.permute(2, 0, 1)[None]
    (made,) = ops_views.planes([pixels], view.view, size=view.plane)
    return made[None, :3]


def _placed(tensor: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    placed = tensor.detach().to(device, dtype)
    return placed.contiguous(memory_format=torch.channels_last) if placed.ndim == 4 else placed.contiguous()


def _last_channels(weight: Tensor, channels: int) -> Tensor:
    """A layer's weight [outputs, C * H * W] for features in (H, W, C) order."""
    outputs = weight.shape[0]
    return weight.reshape(outputs, channels, -1).transpose(1, 2).reshape(outputs, -1)
