"""The shapes, norms, orders and precisions of blocks that the C++ engine is tested on."""

from __future__ import annotations

from dataclasses import replace

import torch

from dcnn_fast import ops
from dcnn_fast.ops import Pool
from tests.ops.block.problems import AVERAGE, CROSS, SAME, changed, preset_problems, problem

NORMS = [
    None,
    CROSS,
    SAME,
    ops.CrossMapNorm(4, 0.3, 0.5, 2.0),
    ops.CrossMapNorm(9, 0.3),
    ops.SameMapNorm(4, 0.3),
    ops.SameMapNorm(2, 0.3),
    ops.SameMapNorm(1, 0.3),
    ops.SameMapNorm(1000, 0.3),
]
SHAPES = [
    problem(2, 3, height, width, 7, size, torch.float32, stride=stride, padding=padding, rounding=rounding, pool=pool)
    for height, width, size, stride, padding, pool in (
        (1, 1, 1, 1, 0, None), (7, 63, 5, 2, 2, Pool(3, 2)), (23, 9, 3, 1, 1, Pool(2, 2)), (19, 31, 11, 4, 0, Pool(3, 1)),
    )
    for rounding in ("up", "down")
]  # fmt: skip
VARIETY = [
    replace(shape, options=replace(shape.options, norm=norm, order=order))
    for shape in SHAPES
    for norm in NORMS
    for order in ("conv-pool-norm", "conv-norm-pool")
]
VARIETY += [
    problem(1, 6, 17, 12, filters, 3, torch.float32, padding=1, groups=groups, pool=Pool(3, 2), norm=norm)
    for filters, groups in ((6, 2), (48, 3), (64, 2), (9, 3))
    for norm in (CROSS, SAME)
]

# averages, and the ReLU last
LATE = [
    replace(
        shape,
        options=replace(
            shape.options, norm=norm, order=order, pool=shape.options.pool and replace(shape.options.pool, kind=kind)
        ),
    )
    for shape, norm in zip(SHAPES * 2, [None, CROSS, SAME, *NORMS[3:8]] * 2, strict=True)
    for order in ("conv-pool-norm-relu", "conv-norm-pool-relu", "conv-norm-pool")
    for kind in ("max", "avg")
    if order.endswith("relu") or kind == "avg"
]
LATE += [
    problem(
        1, 6, 17, 12, filters, 3, torch.float32, padding=1, groups=groups, pool=AVERAGE, norm=CROSS, order="conv-norm-pool-relu"
    )
    for filters, groups in ((6, 2), (48, 3), (9, 3))
]
LATE += [problem(1, 3, 40, 41, 5, 3, torch.float32, pool=Pool(11, 4, "avg"), norm=SAME, order="conv-norm-pool-relu")]
BF16 = [changed(params, precision="bf16") for params in (*VARIETY[::3], *VARIETY[-8:], *LATE[::5], *preset_problems()[::4])]
BF16X3 = [changed(params, precision="bf16x3") for params in (*VARIETY[1::5], *VARIETY[-8:], *preset_problems()[1::4])]
