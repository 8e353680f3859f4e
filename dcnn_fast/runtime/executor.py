"""The contract of every executor of a network: jobs in, maps between, probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from torch import Tensor

from dcnn_fast.ops.precision import Precision
from dcnn_fast.ops.views import ViewParams
from dcnn_fast.plan import ColumnPlan

_T = TypeVar("_T")


@dataclass(frozen=True)
class PlannedWindows:
    """The windows of one image for one column: their corners on the plane, [samples, 2] (top, left), and their plan."""

    windows: np.ndarray
    plan: ColumnPlan


@dataclass(frozen=True)
class PlaneJob(PlannedWindows):
    """One image for one column, with its view made. plane: the pixels that the windows lie on, [H, W, 3] uint8."""

    plane: np.ndarray


@dataclass(frozen=True)
class PhotoJob(PlannedWindows):
    """One image for one column, whose view the executor makes: `view` of the photograph `photo`, [H, W, 3] uint8."""

    photo: np.ndarray
    view: ViewParams


Job = PlaneJob | PhotoJob


class FixedRule(Protocol):
    """Decides which photographs get a fixed evaluation, whose launches never change, and so need no plan (`plan.fixed`)."""

    def refused(self, shape: tuple[int, int], samples: int, grid: int) -> str | None:
        """None where photographs of that (height, width) get a fixed evaluation, else one sentence that says why not."""


class Holder(Protocol):
    """Memory in which an executor wants photographs to lie."""

    def held(self, pixels: np.ndarray) -> np.ndarray:
        """The pixels, in this memory."""


@dataclass(frozen=True)
class Intake:
    """The jobs that an executor takes.

    backend, precision: those whose costs and tiles its plans are made for (`plan.share`). makes_views: it takes photographs
    (`PhotoJob`) and makes their views itself; otherwise it takes finished planes (`PlaneJob`). fixed: which photographs it
    takes without a plan of shared work; None for none. holder: the memory it wants photographs in; None: any. batch: the best
    number of images per call of `head`.
    """

    backend: str = "cpu"
    precision: Precision = "ieee"
    makes_views: bool = False
    fixed: FixedRule | None = None
    holder: Holder | None = None
    batch: int = 4


@dataclass(frozen=True)
class Maps:
    """The blocks' results for one image: for each column [distinct windows, features], and each sample's row in them.

    Each executor chooses the order of a window's features; only its own head reads them.
    """

    columns: tuple[Tensor, ...]
    window_of: tuple[np.ndarray, ...]

    @property
    def samples(self) -> int:
        """The image's number of samples."""
        return len(self.window_of[0])

    @property
    def pixels(self) -> int:
        """Bytes of main memory that the image's pixels take until the head is done."""
        return 0

    @property
    def bytes(self) -> int:
        """The bytes that the maps hold, including `pixels`."""
        return sum(column.nbytes for column in self.columns) + self.pixels


@runtime_checkable
class Executor(Protocol):
    """A network on one device, in one precision. Any number of threads may call it concurrently.

    An image's results depend on its own jobs and the weights alone, not on the other images of a batch or on threads.
    """

    @property
    def intake(self) -> Intake:
        """The jobs that it takes."""

    def begin(self) -> None:
        """Begin a run of images: since the last run, weights may have been written to in ways that torch does not count."""

    def blocks(self, jobs: Sequence[Job]) -> Maps:
        """The maps of one image: a job for each column of the network.

        Raises WeightsError for unusable weights, TypeError for jobs of the wrong kind.
        """

    def head(self, images: Sequence[Maps]) -> list[np.ndarray]:
        """Each image's [samples, labels] float64 probabilities, of all images together.

        Raises WeightsError for maps that are not `current`, TypeError for another executor's.
        """

    def current(self, maps: Maps) -> bool:
        """Whether the network's weights are still those that made the maps, so that `head` takes them."""


def require_kind(name: str, values: Sequence[object], kind: type[_T]) -> list[_T]:
    """The values, all of type `kind`. Raises TypeError naming the argument for the first of another type."""
    found = []
    for value in values:
        if not isinstance(value, kind):
            raise TypeError(f"{name} must each be a {kind.__name__} here, got {type(value).__name__}")
        found.append(value)
    return found
