"""What every way to execute a network is given and offers: jobs in, maps between, probabilities out."""

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
    """The windows of one image for one column: their corners on the plane, [samples, 2] (top, left), and the plan of them."""

    windows: np.ndarray
    plan: ColumnPlan


@dataclass(frozen=True)
class PlaneJob(PlannedWindows):
    """One image for one column, its view made. plane: the pixels that the windows lie on, [H, W, 3] uint8."""

    plane: np.ndarray


@dataclass(frozen=True)
class PhotoJob(PlannedWindows):
    """One image for one column, its view still to be made: `view` of the photograph `photo`, [H, W, 3] uint8."""

    photo: np.ndarray
    view: ViewParams


Job = PlaneJob | PhotoJob


class FixedRule(Protocol):
    """Which photographs are evaluated by launches that never change, and so need no plan (`plan.fixed`)."""

    def refused(self, shape: tuple[int, int], samples: int, grid: int) -> str | None:
        """None for a photograph of that (height, width) which is, else one sentence that says why not."""


class Holder(Protocol):
    """Where photographs are to lie."""

    def held(self, pixels: np.ndarray) -> np.ndarray:
        """The same pixels there."""


@dataclass(frozen=True)
class Intake:
    """The jobs that an executor takes.

    backend, precision: whose costs and tiles its plans are made for (`plan.share`). makes_views: it takes photographs
    (`PhotoJob`) and makes their views by itself; otherwise it takes finished planes (`PlaneJob`). fixed: which photographs it
    takes without a plan of shared work; None for none. holder: where it wants photographs to lie; None where they are. batch:
    how many images' maps it is best given at a time.
    """

    backend: str = "cpu"
    precision: Precision = "ieee"
    makes_views: bool = False
    fixed: FixedRule | None = None
    holder: Holder | None = None
    batch: int = 4


@dataclass(frozen=True)
class Maps:
    """The blocks' results for one image, for each column: [distinct windows, features], and which of them each sample has.

    The order of a window's features is the executor's own affair; its head alone reads them.
    """

    columns: tuple[Tensor, ...]
    window_of: tuple[np.ndarray, ...]

    @property
    def samples(self) -> int:
        """How many samples the image has."""
        return len(self.window_of[0])

    @property
    def pixels(self) -> int:
        """Bytes of main memory that the image's own pixels take until the head is done."""
        return 0

    @property
    def bytes(self) -> int:
        """The memory that they hold, such pixels among it."""
        return sum(column.nbytes for column in self.columns) + self.pixels


@runtime_checkable
class Executor(Protocol):
    """A network on one device, in one precision. Any number of threads may call it at a time.

    An image's numbers depend on its own job and the weights alone: not on the other images of a batch, nor on threads.
    """

    @property
    def intake(self) -> Intake:
        """The jobs that it takes."""

    def begin(self) -> None:
        """A run of images begins: weights may have been written to since the last one, in ways that torch does not count."""

    def blocks(self, jobs: Sequence[Job]) -> Maps:
        """The maps of one image: a job for each column of the network.

        Raises WeightsError for weights that it cannot use, TypeError for jobs that it does not take.
        """

    def head(self, images: Sequence[Maps]) -> list[np.ndarray]:
        """Each image's [samples, labels] float64 probabilities, of all images together.

        Raises WeightsError for maps that are not `current`, TypeError for another executor's.
        """

    def current(self, maps: Maps) -> bool:
        """Whether the network's weights are still those that made the maps, so that `head` takes them."""


def require_kind(name: str, values: Sequence[object], kind: type[_T]) -> list[_T]:
    """The values, all of one kind. Raises TypeError naming the argument for the first that is of another."""
    found = []
    for value in values:
        if not isinstance(value, kind):
            raise TypeError(f"{name} must each be a {kind.__name__} here, got {type(value).__name__}")
        found.append(value)
    return found
