"""From an image to what the network is given: pixels, planes, windows and plans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dcnn_fast.data import reading
from dcnn_fast.ops import views as ops_views
from dcnn_fast.ops.precision import Precision
from dcnn_fast.ops.views import ViewParams
from dcnn_fast.plan import share
from dcnn_fast.runtime.cpu import Job
from dcnn_fast.spec import Column, Network


@dataclass(frozen=True)
class Prepared:
    """jobs: one for each column. notes: what a user should know about the reading and the views."""

    jobs: tuple[Job, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def plan(self) -> str:
        """The names of the plans."""
        return "+".join(sorted({job.plan.name for job in self.jobs}))

    @property
    def bytes(self) -> int:
        """What the pixels hold in memory."""
        return sum({id(job.plane): job.plane.nbytes for job in self.jobs}.values())


def prepare(
    source: Any, network: Network, options: reading.ReadOptions | None = None, *, views: int, grid: int, seed: int,
    backend: str = "cpu", precision: Precision = "ieee",
) -> Prepared:  # fmt: skip
    """Read `source`, draw every column's windows and plan them. Raises ReadError.

    backend, precision: of the blocks' products, which decide what windows share; on another backend than the cpu's, planes are
    left to the device. options: of reading.
    """
    chosen = options or reading.ReadOptions()
    photo = reading.read(source, max_pixels=chosen.max_pixels, background=chosen.background)
    return prepared(photo, photo.digest, network, views=views, grid=grid, seed=seed, backend=backend, precision=precision)


def prepared(
    photo: reading.Photo, digest: str, network: Network, *, views: int, grid: int, seed: int, backend: str = "cpu",
    precision: Precision = "ieee",
) -> Prepared:  # fmt: skip
    """`prepare` for a photograph that has been read and hashed."""
    jobs, notes = [], list(photo.notes)
    planes: dict[tuple[str, int], _Plane] = {}  # columns with the same view share a plane
    for column, key in zip(network.columns, network.column_keys(), strict=True):
        wanted = (column.view, column.plane)
        if wanted not in planes:
            planes[wanted] = _plane(photo.pixels, column, make=backend == "cpu")
            notes += planes[wanted].notes
        plane = planes[wanted]
        windows = ops_views.draw_windows(
            digest, seed, key, views, view=column.view, plane_shape=plane.shape, plane=column.plane,
            window=column.window, grid=grid,
        )  # fmt: skip
        jobs.append(Job(plane.pixels, windows, share(column, windows, plane.shape, backend, precision), plane.view))
    return Prepared(tuple(jobs), tuple(notes))


@dataclass(frozen=True)
class _Plane:
    """pixels, view: as a Job's. shape: the plane's rows and columns."""

    pixels: np.ndarray
    view: ViewParams | None
    shape: tuple[int, int]
    notes: tuple[str, ...]


def _plane(pixels: np.ndarray, column: Column, make: bool) -> _Plane:
    try:
        if make:
            made = ops_views.plane(pixels, column.view, column.plane)
            return _Plane(made.pixels, None, made.pixels.shape[:2], made.notes)
        params, notes = ops_views.planned(pixels, column.view, column.plane)
        return _Plane(pixels, params, params.shape, notes)
    except ValueError as error:
        raise reading.ReadError(str(error)) from None
