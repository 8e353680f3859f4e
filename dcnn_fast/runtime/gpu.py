"""The network on a GPU, from a photograph's pixels to probabilities: asynchronous until the probabilities are asked for.

Most photographs take the fixed evaluation (runtime/fixed.py), in which a batch is one replay. Photographs that exceed its
limits, and those whose windows share enough work, take a plan: the photograph is copied and its views made; then memory
for all maps is allocated and the tables of all blocks are copied, one copy per column (ops/block/gpu/column.py), and between
the first and the last block's launch nothing is allocated or copied. A column's launches are recorded by their shape and
replayed, as a CUDA graph, for the next image of that shape (ops/recording.py). The head of a batch of planned images waits,
on the device, for their blocks.

Both borrow contexts (runtime/contexts.py), each with its own stream, so that one batch's copies overlap another's kernels.
Weights are laid out once. This has run in the PTX simulator and not on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import finalize

import numpy as np
import torch
from torch import Tensor

from dcnn_fast import ops
from dcnn_fast.nets import Model, MultiColumn
from dcnn_fast.ops import views as ops_views
from dcnn_fast.ops.launch import capability, copied
from dcnn_fast.ops.recording import CudaGraph, Recorder
from dcnn_fast.ops.views import ViewParams
from dcnn_fast.plan import FIXED
from dcnn_fast.runtime.contexts import Contexts, DeviceStream, close
from dcnn_fast.runtime.device_columns import DeviceColumn, Launcher, device_column, layers_launch, placed
from dcnn_fast.runtime.executor import Intake, Job, Maps, PhotoJob, require_kind
from dcnn_fast.runtime.fixed import Arena, FixedColumn, FixedEvaluation, Head
from dcnn_fast.runtime.fixed_rule import Fixed
from dcnn_fast.runtime.ring import Ring, held_bytes
from dcnn_fast.runtime.watch import Watch, WeightsError

MOST_CONTEXTS = 3  # one whose photographs are copied, one whose launches run, one whose probabilities are read
MOST_PICTURES = 8  # per fixed evaluation
LOOKS = 8  # one batch in this many of a run compares weights' values too


@dataclass(frozen=True)
class DeviceMaps(Maps):
    """Maps on the device, complete once the event `ready` is reached (None where nothing runs asynchronously).

    jobs: their photographs may still be being copied. A picture for the fixed evaluation has no maps yet, only its jobs.
    """

    ready: Any = None
    jobs: tuple[PhotoJob, ...] = ()

    @property
    def waits(self) -> bool:
        """Whether nothing has been launched for the image yet."""
        return not self.columns

    @property
    def pixels(self) -> int:
        """As `Maps` says: the buffer that the photograph lies in."""
        return held_bytes(self.jobs[0].photo) if self.jobs else 0


class GpuNetwork:
    """A network's weights on a device, in `dtype`: float32 (products in ieee), float16 or bfloat16 (sums in float32).

    graphs: replay repeated launches instead of launching them one by one. record: their recorder; None: CUDA graphs where
    `graphs` is set. tf32: round the float32 operands of blocks' products to TF32. The weights are laid out once; when the
    network's weights change, `head` raises WeightsError: at once for writes that torch counts; for others (through `.data` or
    numpy) in the first batch after `begin`, in a batch of one image, and otherwise within `LOOKS` batches.

    Raises ValueError for a dtype that the network's layers do not support, WeightsError where they have no weights.
    """

    def __init__(
        self, net: MultiColumn, device: torch.device, dtype: torch.dtype, graphs: bool = True, record: Recorder | None = None,
        *, tf32: bool = False,
    ) -> None:  # fmt: skip
        self._device, self._graphs = device, graphs
        self._net, self._watch, self._digest = net, Watch(net), Model(net).digest
        with torch.no_grad():
            self._columns = [device_column(column, device, dtype, tf32) for column in net.columns]
            weight, bias = (placed(each, device, torch.float32) for each in net.label.parameters())
        self._head: Head = partial(_head, tuple(column.last for column in self._columns), weight, bias)
        on_gpu = device.type == "cuda"
        if on_gpu:
            # The weights must be there before another stream reads them; waiting for all streams would break others' captures.
            torch.cuda.current_stream(device).synchronize()
        self._record = record or Recorder(partial(CudaGraph, device) if graphs and on_gpu else None)
        launches = all(column.launches for column in self._columns) and layers_launch(net.spec, device, dtype)
        rule = Fixed(net.spec, dtype, capability(device), launches)
        self._intake = Intake("triton", makes_views=True, fixed=rule, holder=Ring(on_gpu), batch=MOST_PICTURES)
        self._batches = 0  # since the last `begin`
        self._fixed = [FixedColumn(of, column) for of, column in zip(net.spec.columns, self._columns, strict=True)]
        # No reference to the network in these: it would keep the network alive, and they would never be closed.
        make = partial(_Context, device, self._columns, self._fixed, self._head, graphs, self._record)
        self._contexts = Contexts(make, MOST_CONTEXTS)
        finalize(self, close, self._contexts).atexit = False

    @property
    def intake(self) -> Intake:
        """Takes photographs."""
        return self._intake

    def begin(self) -> None:
        """As `Executor` says."""
        self._batches = 0

    @torch.no_grad()
    def blocks(self, jobs: Sequence[Job]) -> DeviceMaps:
        """The blocks of one image: a PhotoJob for each column of the network. Raises TypeError for another job."""
        photos = tuple(require_kind("jobs", jobs, PhotoJob))
        window_of = tuple(job.plan.window_of for job in photos)
        if photos[0].plan.name == FIXED:
            return DeviceMaps((), window_of, jobs=photos)
        with self._contexts.borrowed() as context, context.stream.current():
            planes = self._planes(photos)
            steps = [
                column.step(job, plane, launcher)
                for column, job, plane, launcher in zip(self._columns, photos, planes, context.launchers, strict=True)
            ]
            maps = tuple(step() for step in steps)
            return DeviceMaps(maps, window_of, context.stream.reached(), photos)

    @torch.no_grad()
    def head(self, images: Sequence[Maps]) -> list[np.ndarray]:
        """Each image's [samples, labels] float64 probabilities, of all images together; waits for them.

        Raises WeightsError and TypeError.
        """
        if not images:
            return []
        found = require_kind("images", images, DeviceMaps)
        look, self._batches = len(found) == 1 or self._batches % LOOKS == 0, self._batches + 1
        if not self._same_weights(look):
            raise WeightsError("the model's weights have changed since they were laid out on the GPU: make a new Scorer")
        results: dict[int, np.ndarray] = {}
        for together in _batches(found, self._most_pictures):
            batch = [found[i] for i in together]
            results |= zip(together, (self._evaluated if batch[0].waits else self._headed)(batch), strict=True)
        return [results[i] for i in range(len(found))]

    def current(self, maps: Maps) -> bool:
        """Whether the network's weights are still those that were laid out. Raises TypeError for another executor's maps."""
        require_kind("maps", [maps], DeviceMaps)
        return self._same_weights()

    def _same_weights(self, values: bool = True) -> bool:
        if self._watch.changed(values=values):
            if Model(self._net).digest != self._digest:
                return False
            self._watch = Watch(self._net)  # the same values at other addresses
        return True

    def _most_pictures(self, samples: int) -> int:
        """The most pictures of a fixed evaluation: a power of two."""
        most = min(column.weights.most_windows // column.windows(samples) for column in self._fixed)
        return 1 << (max(1, min(most, MOST_PICTURES)).bit_length() - 1)

    def _evaluated(self, images: Sequence[DeviceMaps]) -> list[np.ndarray]:
        """The probabilities of waiting images with equal numbers of samples; in halves where device memory is too small."""
        try:
            with self._contexts.borrowed() as context, context.stream.current():
                evaluation = context.evaluation(1 << (len(images) - 1).bit_length(), images[0].samples)
                return evaluation.probabilities([image.jobs for image in images])
        except torch.OutOfMemoryError:
            if len(images) == 1:
                raise
        half = len(images) // 2
        return self._evaluated(images[:half]) + self._evaluated(images[half:])

    def _headed(self, images: Sequence[DeviceMaps]) -> list[np.ndarray]:
        """The probabilities of images whose blocks have been launched."""
        counts = [image.samples for image in images]
        with self._contexts.borrowed() as context, context.stream.current():
            for image in images:
                context.stream.wait_for(image.ready)
                context.stream.keeps(*image.columns)
            features, rows = [], []
            for i, column in enumerate(self._columns):
                maps = [image.columns[i] for image in images]
                first = np.cumsum([0] + [len(each) for each in maps])
                features.append(column.features(torch.cat(maps) if len(maps) > 1 else maps[0]))
                of = np.concatenate([image.window_of[i] + start for image, start in zip(images, first, strict=False)])
                rows.append(copied(torch.from_numpy(of), self._device))
            probs = self._head(features, counts, rows)
            result = probs.cpu().numpy().astype(np.float64)
        return np.split(result, np.cumsum(counts)[:-1])

    def _planes(self, jobs: Sequence[PhotoJob]) -> list[Tensor]:
        """Each job's plane, [1, 3, H, W] uint8 on the device: each photograph is copied once, and each view made once."""
        pixels: dict[int, Tensor] = {}
        planes: dict[tuple[int, ViewParams], Tensor] = {}
        for job in jobs:
            source = id(job.photo)
            if source not in pixels:
                pixels[source] = copied(torch.from_numpy(job.photo), self._device)
            if (source, job.view) not in planes:
                planes[source, job.view] = _plane(pixels[source], job.view)
        return [planes[id(job.photo), job.view] for job in jobs]


def _head(
    last: Sequence[tuple[Tensor, Tensor]], label_weight: Tensor, label_bias: Tensor, features: Sequence[Tensor],
    counts: Sequence[int], rows: Sequence[Tensor | None],
) -> Tensor:  # fmt: skip
    """The probabilities, by `ops.head`. last: each column's last layer's weight and bias."""
    weights, biases = zip(*last, strict=True)
    return ops.head(features, weights, biases, label_weight, label_bias, counts, window_of=rows)[0]


class _Context:
    """A context, used by one thread at a time: a stream, each column's launches on it, and fixed evaluations."""

    def __init__(
        self, device: torch.device, columns: Sequence[DeviceColumn], fixed: Sequence[FixedColumn], head: Head, graphs: bool,
        record: Recorder,
    ) -> None:  # fmt: skip
        self.stream = DeviceStream(device)
        self.launchers: tuple[Launcher | None, ...] = tuple(column.launcher(device, graphs, record) for column in columns)
        self._evaluations: dict[tuple[int, int], FixedEvaluation] = {}
        self._made = partial(
            FixedEvaluation, fixed, head, arena=Arena(device), stream=self.stream, device=device, record=record
        )  # fmt: skip

    def close(self) -> None:
        """Wait for all launches: only then may their memory, tables and graphs be freed."""
        with suppress(RuntimeError):  # a device error, already raised where it was launched
            self.stream.wait()

    def evaluation(self, pictures: int, samples: int) -> FixedEvaluation:
        """The evaluation for these numbers of pictures and samples; evaluations for another number of samples are dropped."""
        if (pictures, samples) not in self._evaluations:
            self._evaluations = {key: each for key, each in self._evaluations.items() if key[1] == samples}
            self._evaluations[pictures, samples] = self._made(pictures=pictures, samples=samples)
        return self._evaluations[pictures, samples]


def _batches(images: Sequence[DeviceMaps], most: Any) -> list[list[int]]:
    """Indices of images to compute together: all images whose blocks have been launched; waiting images by their number of
    samples, at most most(samples) together.
    """
    by_kind: dict[int, list[int]] = {}
    for i, image in enumerate(images):
        by_kind.setdefault(image.samples if image.waits else 0, []).append(i)
    found = []
    for samples, which in by_kind.items():
        step = most(samples) if samples else len(which)
        found += [which[first : first + step] for first in range(0, len(which), step)]
    return found


def _plane(pixels: Tensor, view: ViewParams) -> Tensor:
    """The plane [1, 3, H, W] uint8 of a photograph [h, w, 3]; a plane that is made has a fourth channel in memory."""
    if view.resized == tuple(pixels.shape[:2]) == view.shape:
        return pixels.permute(2, 0, 1)[None]
    (made,) = ops_views.planes([pixels], view.view, size=view.plane)
    return made[None, :3]
