"""Estimates how long a table of the paper will take on this machine, before anything is trained."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from dcnn_fast import networks
from dcnn_fast.data import Example, ReadError, read
from dcnn_fast.evaluation.predict import Predictions, predict
from dcnn_fast.evaluation.reproduce import TABLES, Experiments, ImpossibleError, Protocol
from dcnn_fast.evaluation.table_sets import AESTHETICS, TableSet
from dcnn_fast.evaluation.timing import duration
from dcnn_fast.nets import Model, build
from dcnn_fast.ops.plain_torch import default_modes, plain_torch
from dcnn_fast.training import ConvNetUpdate, groups_of
from dcnn_fast.training.folder import LAST
from dcnn_fast.training.photographs import Pictures

_BATCH, _READ, _TESTED = 32, 8, 3  # windows in a step, photographs read, photographs tested
_LOOKED_AT = 64  # photographs of which at least one must be readable


class UntoldError(Exception):
    """The time cannot be estimated; the message says why."""


@dataclass(frozen=True)
class Job:
    """One network's work: numbers of windows in training and of photographs in tests."""

    network: networks.Network
    windows: int = 0
    photographs: int = 0


@dataclass(frozen=True)
class Estimate:
    """seconds: the total. trainings: networks still to be trained. windows, photographs: numbers in training and in tests."""

    seconds: float
    trainings: int
    windows: int
    photographs: int

    @property
    def text(self) -> str:
        """The estimate in one line."""
        what = f"{self.trainings} trainings of {self.windows:,} windows together, tests of {self.photographs:,} photographs"
        return f"this will take about {duration(self.seconds)} on this machine: {what}"


@dataclass(frozen=True)
class _Planned:
    """Stands for a network that would be trained, with the members that the experiments use."""

    spec: networks.Network
    provenance: Mapping[str, Any]

    @property
    def net(self) -> _Planned:
        return self


class _Plan(Experiments):
    """The experiments of a table without the work. jobs: each network's work by the name of its run."""

    jobs: dict[str, Job]

    def _trained(
        self, network: networks.Network, learns: TableSet = AESTHETICS, start: Any = None, *, tune: str = "all"
    ) -> Any:
        network = replace(self._compact(network), labels=self._data(learns).labels)
        return self._run(f"{network.name} {'+'.join(c.view for c in network.columns)} {learns}", _Planned(network, {}), learns)

    def _run(self, name: str, net: Any, learns: TableSet, *, epochs: int | None = None, **options: Any) -> Any:
        if name not in self.jobs:
            done = (self.folder(name) / LAST).is_file()
            count = 0 if done else len(self._data(learns).train) * (epochs or self.protocol.epochs)
            self.jobs[name] = Job(net.spec, count)
        return _Planned(net.spec, {"run": name})

    def _tested(self, model: Any, on: TableSet) -> Predictions:
        key = str(model.provenance["run"]), on
        if key not in self._measured:
            self._measured[key] = self._predicted(model, self._data(on).test)
        return self._measured[key]

    def _predicted(self, model: Any, examples: Sequence[Example]) -> Predictions:
        job = self.jobs[model.provenance["run"]]
        self.jobs[model.provenance["run"]] = replace(job, photographs=job.photographs + len(examples))
        labels = model.spec.labels
        even = np.full((len(examples), len(labels)), 1 / len(labels))
        return Predictions(labels, tuple(examples), even, np.zeros(len(examples)))


def planned(table: str, path: Path, out: Path, protocol: Protocol) -> tuple[dict[str, Job], Sequence[Example]]:
    """The work of a table's networks by their runs' names, and photographs of the set. Nothing is written.

    Raises ValueError as `reproduce` does.
    """
    if table not in TABLES:
        raise ValueError(f"table must be one of {', '.join(TABLES)}; got {table!r}")
    plan = _Plan(path, out, protocol, lambda text: None, lambda text: None, False)
    plan.jobs = {}
    for _, _, run in getattr(plan, table)():
        try:
            run()
        except ImpossibleError:
            continue
    first = next(iter(plan.sets().values()), None)
    return plan.jobs, () if first is None else (first.train or first.test)


def estimate(table: str, path: Path, out: Path, protocol: Protocol) -> Estimate:
    """How long `reproduce` would take: each kind of network is timed briefly on photographs of the set.

    Finished trainings count nothing; where only a part of a network learns, the estimate is too high. Raises ValueError as
    `reproduce` does, UntoldError where no photograph can be read.
    """
    jobs, listed = planned(table, path, out, protocol)
    examples = _readable(listed)
    costs: dict[networks.Network, tuple[float, float]] = {}
    seconds = 0.0
    for job in jobs.values():
        network = replace(job.network, name="", labels=("low", "high"), attributes=())
        if network not in costs:
            costs[network] = _costs(network, examples, protocol)
        window, photograph = costs[network]
        seconds += job.windows * window + job.photographs * photograph
    each = jobs.values()
    return Estimate(
        seconds, sum(job.windows > 0 for job in each), sum(job.windows for job in each), sum(job.photographs for job in each)
    )


def _readable(examples: Sequence[Example]) -> list[Example]:
    """The first photographs that can be read."""
    found = []
    for example in examples[:_LOOKED_AT]:
        with suppress(ReadError):
            read(example.source)
            found.append(example)
        if len(found) == _READ:
            break
    if not found:
        raise UntoldError(f"none of the first {min(len(examples), _LOOKED_AT)} photographs can be read")
    return found


def _costs(network: networks.Network, examples: Sequence[Example], protocol: Protocol) -> tuple[float, float]:
    """Seconds for one window in training, including reading its photograph, and for one photograph in a test."""
    net = build(network, seed=protocol.seed)
    pictures = Pictures(examples, net.inputs)
    read = _seconds(lambda: sum(1 for _ in pictures.readable(range(len(pictures))))) / max(len(pictures), 1)
    batch = min(protocol.batch, _BATCH)
    step = _step(net.to(protocol.device), network, batch, torch.device(protocol.device))
    step()
    window = _seconds(step) / batch + read / (1 + protocol.workers)
    model = Model(net.to("cpu").eval())

    def test(count: int) -> float:
        return _seconds(lambda: predict(model, examples[:count], samples=protocol.samples, seed=protocol.seed))

    first, more = test(1), min(len(examples), _TESTED) - 1
    return window, max(0.0, test(1 + more) - first) / more if more else first


def _step(net: torch.nn.Module, network: networks.Network, batch: int, device: torch.device) -> Callable[[], object]:
    """A training step on random windows."""
    rng = torch.Generator().manual_seed(0)
    windows = [
        torch.randint(0, 256, (batch, column.channels, column.window, column.window), dtype=torch.uint8, generator=rng)
        .contiguous(memory_format=torch.channels_last)
        .to(device)
        for column in network.columns
    ]
    labels = torch.zeros(batch, dtype=torch.int64, device=device)
    update = ConvNetUpdate(groups_of(net))

    def step() -> object:
        with default_modes(gradients=True), plain_torch(device):
            net.train()
            update.zero_grad()
            F.cross_entropy(net(*windows), labels).backward()  # type: ignore[no-untyped-call]
            update.step()
            return next(net.parameters()).flatten()[0].item()  # waits for a GPU

    return step


def _seconds(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started
