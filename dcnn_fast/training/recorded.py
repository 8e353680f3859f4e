"""Training steps recorded when their shapes recur: forward, loss, backward and update as one CUDA graph.

The values that differ between steps lie at addresses that the recording names: the windows, and one table with the targets,
the examples' numbers, the counts of targets, and each parameter's rate, momentum and decay. A step copies these and replays
the graph; the host waits for the GPU only when it is two steps ahead. Dropout draws from torch's generator, which is seeded
before each step, as when kernels are launched one by one.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast
from weakref import proxy

import torch
from torch import Tensor, nn

from dcnn_fast import ops
from dcnn_fast.nets import BackboneColumn, Column, MultiColumn
from dcnn_fast.ops.launch import copy, keeping
from dcnn_fast.ops.number_tables import NumberTables
from dcnn_fast.ops.recording import Recorded, Recorder
from dcnn_fast.ops.torch_tools import written_to
from dcnn_fast.ops.update.fixed import FIELDS, FixedUpdate
from dcnn_fast.ops.update.params import laid_like
from dcnn_fast.training.update_rule import ConvNetUpdate

MOST = 4  # recorded shapes: whole mini-batches, an epoch's last, and some without unreadable photographs


class Work(Protocol):
    """The parts of a step that are recorded."""

    def backward(self, windows: tuple[Tensor, ...], targets: Tensor, labelled: Tensor, numbers: Tensor) -> Tensor:
        """The loss of windows; its gradients are added to the parameters."""

    def shorten(self) -> None:
        """Clip the gradient."""


def not_recorded(net: nn.Module, update: torch.optim.Optimizer) -> str | None:
    """None where the network's steps by this rule can be recorded, else the reason in one sentence."""
    if type(net) is not MultiColumn or any(type(column) not in (Column, BackboneColumn) for column in net.columns):
        return "only networks of columns of blocks or of a backbone are known to do the same in every step"
    if len({each.dtype for each in net.parameters() if each.requires_grad}) > 1:
        return "its parameters are of several dtypes"
    if any(map(_has_hooks, net.modules())):
        return "a module has hooks, which a recording would not call"
    if not isinstance(update, ConvNetUpdate):
        return "only cuda-convnet's update reads its rates on the device"
    return None


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks)


@dataclass(frozen=True)
class _Part:
    """Weights with one rate: a parameter, or copies of the columns of a matrix that belong to one input.

    parameter, which: the parameter, and the number of its input. columns: those of the matrix and of its increment, to which
    the copies are written back.
    """

    parameter: nn.Parameter
    weight: Tensor
    gradient: Tensor
    increment: Tensor
    which: int | None = None
    columns: tuple[Tensor, Tensor] | None = None

    def rule(self, group: Mapping[str, Any]) -> Mapping[str, Any]:
        """The part's entries in the parameter's group."""
        return group if self.which is None else cast("Mapping[str, Any]", group["inputs"][self.which])

    def put_back(self) -> None:
        """Copy the columns back into the matrix and its increment."""
        if self.columns is not None:
            self.columns[0].copy_(self.weight)
            self.columns[1].copy_(self.increment)


def _parts_of(parameter: nn.Parameter, gradient: Tensor, increment: Tensor, group: Mapping[str, Any]) -> list[_Part]:
    """A parameter's parts, each updated with rates of its own."""
    weight, inputs = parameter.detach(), group.get("inputs")
    if not inputs:
        return [_Part(parameter, weight, laid_like(gradient, weight), increment)]
    sizes = [int(each["size"]) for each in inputs]
    split = zip(*(torch.split(each, sizes, dim=1) for each in (weight, gradient, increment)), strict=True)
    return [
        _Part(parameter, mine.contiguous(), slope.contiguous(), moved.contiguous(), which, (mine, moved))
        for which, (mine, slope, moved) in enumerate(split)
    ]


class RecordedSteps:
    """A network's steps by the shapes of their windows. The first step of a shape is launched kernel by kernel, which loads the
    kernels; it is recorded from the second on.
    """

    def __init__(
        self, work: Work, update: ConvNetUpdate, scaler: torch.amp.GradScaler, learning: Sequence[nn.Parameter],
        device: torch.device, record: Recorder,
    ) -> None:  # fmt: skip
        self._parts = work, update, scaler, learning, device
        self._record = record
        self._known: dict[Hashable, RecordedStep | None] = {}  # None: seen once
        self._fails = False

    def of(self, windows: tuple[Tensor, ...]) -> RecordedStep | None:
        """The recorded step for windows of these shapes; None where its kernels must be launched one by one."""
        shape = tuple(map(_layout, windows))
        if shape not in self._known and len(self._known) < MOST:
            self._known[shape] = None
        elif shape in self._known and self._known[shape] is None and not self._fails:
            made = RecordedStep(*self._parts, windows)
            self._known[shape] = made if made.record(self._record) else None
            self._fails = self._known[shape] is None
        return self._known.get(shape)


class RecordedStep:
    """A recorded step for one set of window shapes, with all memory that it uses."""

    def __init__(
        self, work: Work, update: ConvNetUpdate, scaler: torch.amp.GradScaler, learning: Sequence[nn.Parameter],
        device: torch.device, windows: tuple[Tensor, ...],
    ) -> None:  # fmt: skip
        self._work, self._update, self._scaler, self._learning = work, update, scaler, learning
        count = len(windows[0])
        self._tables = NumberTables([(count, 2), (count, 1), (2, 1), (self._most_parts(), FIELDS)], device)
        self._windows = tuple(map(_room_like, windows))
        self._loss = torch.zeros((), dtype=torch.float32, device=device)
        self._moving: FixedUpdate | None = None
        self._parameters: list[nn.Parameter] = []
        self._parts: list[_Part] = []
        self._kept: list[Any] = []
        self._recorded: Recorded | None = None

    def record(self, record: Recorder) -> bool:
        """Record the step without running it; True on success."""
        before = [parameter.grad for parameter in self._learning]
        for parameter in self._learning:
            self._update.increment(parameter)  # made here: made in the recording, it would be zeroed at each step
        if self._scaler.is_enabled():
            self._load_update()
        with keeping(self._kept):
            self._recorded = record([partial(RecordedStep._all, proxy(self))])  # a proxy: no reference cycle
        for parameter, gradient in zip(self._learning, before, strict=True):
            parameter.grad = gradient
        return self._recorded is not None

    def _load_update(self) -> None:
        """Load the update's kernel by updating zeros: overflowed gradients may have skipped it; a capture cannot load it."""
        weights = [each.detach() for each in self._learning]
        increments = [self._update.increment(each) for each in self._learning]
        zeros, slopes, steps = (list(map(torch.zeros_like, each)) for each in (weights, weights, increments))
        ones = [1.0] * len(zeros)
        ops.update(zeros, slopes, steps, rates=ones, momenta=ones, decays=ones)

    def run(self, windows: tuple[Tensor, ...], targets: Tensor, labelled: Sequence[float], numbers: Sequence[int]) -> Tensor:
        """The loss of a step over these windows, as a copy; the generators must be seeded.

        targets: [n, 2] int64 in the host's memory. labelled: the number of targets in each of the two columns. numbers: the
        examples' numbers.
        """
        assert self._recorded is not None and self._moving is not None
        for room, each in zip(self._windows, windows, strict=True):
            copy(_whole(room), _whole(each))
        self._tables.settle()
        mine, places, sums, _ = self._tables.tables
        mine[:], places[:, 0], sums[:, 0] = targets.numpy(), numbers, labelled
        self._moving.enter(*self._rates())
        self._tables.send()
        self._recorded.replay()
        written_to([*self._parameters, *(self._update.state[each]["increment"] for each in self._parameters)])
        return self._loss.clone()

    def _rates(self) -> tuple[list[float], list[float], list[float]]:
        """The present rate, momentum and decay of each part."""
        groups = self._groups()
        mine = [part.rule(groups[id(part.parameter)]) for part in self._parts]
        return [g["lr"] for g in mine], [g["momentum"] for g in mine], [g["decay"] for g in mine]

    def _groups(self) -> dict[int, Mapping[str, Any]]:
        """The update's group of each parameter, by its id."""
        return {id(each): group for group in self._update.param_groups for each in group["params"]}

    def _most_parts(self) -> int:
        groups = self._groups()
        return sum(len(groups[id(each)].get("inputs") or [None]) for each in self._learning)

    def _all(self) -> None:
        """The operations to record."""
        for parameter in self._learning:
            parameter.grad = None
        targets, numbers, labelled, _ = self._tables.there
        with torch.autograd.set_multithreading_enabled(False):  # autograd's thread for a GPU would not see `keeping`
            loss = self._work.backward(self._windows, targets, labelled[:, 0], numbers[:, 0])
        self._loss.copy_(loss.detach())
        with torch.no_grad():
            self._moves()

    def _moves(self) -> None:
        """Unscale and clip the gradients, then update the parameters that have one."""
        self._parameters = [each for each in self._learning if each.grad is not None]
        gradients = [each.grad for each in self._parameters if each.grad is not None]
        overflow = self._unscaled(gradients) if self._scaler.is_enabled() else None
        self._work.shorten()
        groups = self._groups()
        self._parts = [
            part
            for each, gradient in zip(self._parameters, gradients, strict=True)
            for part in _parts_of(each, gradient, self._update.increment(each), groups[id(each)])
        ]
        weights, slopes, increments = zip(*((each.weight, each.gradient, each.increment) for each in self._parts), strict=True)
        self._moving = FixedUpdate(weights, slopes, increments, self._tables.tables[3], self._tables.there[3])
        self._moving.launch(unless=overflow)
        for part in self._parts:
            part.put_back()
        if overflow is not None:
            scaler = self._scaler
            assert scaler._scale is not None and scaler._growth_tracker is not None
            torch._amp_update_scale_(
                scaler._scale, scaler._growth_tracker, overflow, scaler.get_growth_factor(), scaler.get_backoff_factor(),
                scaler.get_growth_interval(),
            )  # fmt: skip

    def _unscaled(self, gradients: list[Tensor]) -> Tensor:
        """Divide the gradients by the loss scale, as torch's scaler does; returns 1 where one has overflowed, else 0."""
        scale = self._scaler._scale
        assert scale is not None
        overflow = torch.zeros((), dtype=torch.float32, device=scale.device)
        torch._amp_foreach_non_finite_check_and_unscale_(gradients, overflow, scale.double().reciprocal().float())
        return overflow


def _layout(windows: Tensor) -> Hashable:
    """The windows' shape, strides, offset and dtype, and the size of their storage."""
    memory = windows.untyped_storage().nbytes()
    return windows.shape, windows.stride(), windows.storage_offset(), windows.dtype, memory


def _room_like(windows: Tensor) -> Tensor:
    """Zeros with the windows' layout, including the bytes between their values."""
    memory = torch.zeros(windows.untyped_storage().nbytes(), dtype=torch.uint8, device=windows.device)
    return memory.view(windows.dtype).as_strided(windows.shape, windows.stride(), windows.storage_offset())


def _whole(windows: Tensor) -> Tensor:
    """All bytes of the windows' storage."""
    memory = windows.untyped_storage()
    return torch.empty(0, dtype=torch.uint8, device=windows.device).set_(memory, 0, (memory.nbytes(),), (1,))
