"""Our side of a case: the features of all views from planes of bytes, planned and computed as scoring does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from bench.cases import Cut, columns
from dcnn_fast.nets import MultiColumn
from dcnn_fast.ops.precision import Precision
from dcnn_fast.plan import ColumnPlan, brute_force, share
from dcnn_fast.runtime.cpu import Job, column_features, column_maps
from dcnn_fast.spec import Column

Planner = Callable[[Column, np.ndarray, tuple[int, int], Precision], ColumnPlan]


def sharing(column: Column, offsets: np.ndarray, plane: tuple[int, int], precision: Precision) -> ColumnPlan:
    """The plan that scoring makes."""
    return share(column, offsets, plane, precision=precision)


def alone(column: Column, offsets: np.ndarray, plane: tuple[int, int], precision: Precision) -> ColumnPlan:
    """Every distinct window by itself."""
    return brute_force(column, offsets)


@torch.no_grad()
def features(net: MultiColumn, cuts: Sequence[Cut], planner: Planner = sharing, precision: Precision = "ieee") -> np.ndarray:
    """The last fully-connected layer's activations of every view, all columns side by side."""
    parts = []
    for column, cut in zip(columns(net), cuts, strict=True):
        rows, cols = cut.plane.shape[:2]
        plan = planner(column.spec, cut.offsets, (rows, cols), precision)
        maps = column_maps(column, Job(cut.plane, cut.offsets, plan), precision)
        parts.append(column_features(column, [maps], [plan.window_of]))
    result: np.ndarray = torch.cat(parts, dim=1).numpy()
    return result
