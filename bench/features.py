"""Our side of a case: the features of all samples from planes of bytes, planned and computed as in scoring."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from bench.cases import Cut, columns, layers
from dcnn_fast import ops
from dcnn_fast.nets import MultiColumn
from dcnn_fast.networks import Column
from dcnn_fast.ops.precision import Precision
from dcnn_fast.plan import ColumnPlan, brute_force, share
from dcnn_fast.runtime import PlaneJob, column_maps, head_rows

Planner = Callable[[Column, np.ndarray, tuple[int, int], Precision], ColumnPlan]


def sharing(column: Column, offsets: np.ndarray, plane: tuple[int, int], precision: Precision) -> ColumnPlan:
    """The plan used in scoring."""
    return share(column, offsets, plane, precision=precision)


def alone(column: Column, offsets: np.ndarray, plane: tuple[int, int], precision: Precision) -> ColumnPlan:
    """The plan that computes every distinct window separately."""
    return brute_force(column, offsets)


@torch.no_grad()
def features(net: MultiColumn, cuts: Sequence[Cut], planner: Planner = sharing, precision: Precision = "ieee") -> np.ndarray:
    """The last fully-connected layer's activations for every sample, the columns' concatenated."""
    parts = []
    for column, cut in zip(columns(net), cuts, strict=True):
        rows, cols = cut.plane.shape[:2]
        plan = planner(column.spec, cut.offsets, (rows, cols), precision)
        maps = column_maps(column, PlaneJob(cut.offsets, plan, cut.plane), precision)
        last = layers(column)[-1]
        of_distinct = ops.linear(head_rows(column, [maps]), last.weight, last.bias, relu=True)
        parts.append(of_distinct.numpy()[plan.window_of])
    return np.concatenate(parts, axis=1)
