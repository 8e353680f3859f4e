"""Every launch of a Triton kernel that a preset can select: what is compiled for the report and judged by the cost model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dcnn_fast import spec
from dcnn_fast.ops.block import triton
from dcnn_fast.ops.block.params import BlockParams, problems_of
from dcnn_fast.ops.launch import Launch, launched_by
from dcnn_fast.ops.precision import Precision

TYPES: tuple[tuple[torch.dtype, Precision], ...] = (
    (torch.float16, "ieee"), (torch.bfloat16, "ieee"), (torch.float32, "tf32"), (torch.float32, "ieee"),
)  # fmt: skip


@dataclass(frozen=True)
class Named:
    """A launch and the problem it is of. tensor: whether its loops must use tensor cores. wide: and load 16 bytes a thread."""

    problem: str
    launch: Launch
    tensor: bool
    wide: bool


def preset_launches() -> Iterator[Named]:
    """One of each kernel and configuration over all presets, geometries and types."""
    seen: set[Any] = set()
    for problem in _problems():
        for dtype, precision in TYPES:
            params = _typed(problem, dtype, precision)
            first = problem.channels == 3
            for purpose, launches in (("score", _scoring(params)), ("train", _training(params))):
                for launch in launches:
                    identity = (launch.kernel, tuple(launch.constants.items()), launch.warps, launch.stages)
                    if identity in seen:
                        continue
                    seen.add(identity)
                    products = "OPERAND" in launch.constants
                    tensor = products and dtype.itemsize == 2
                    yield Named(f"{purpose} {params}", launch, tensor, tensor and not first)


def _problems() -> Iterator[BlockParams]:
    """Every different block of every preset, one image."""
    seen = set()
    for name in spec.preset_names():
        for geometry in spec.GEOMETRIES:
            for column in spec.preset(name, geometry).columns:
                for params in problems_of(column):
                    if params not in seen:
                        seen.add(params)
                        yield params


def _typed(params: BlockParams, dtype: torch.dtype, precision: Precision) -> BlockParams:
    options = replace(params.options, precision=precision)
    return replace(params, options=options, dtype=dtype, weight_dtype=dtype, out_dtype=dtype)


def _scoring(params: BlockParams) -> list[Launch]:
    """Block 1 reads bytes and takes off the mean; later blocks read what the one before wrote."""
    mean = (1.0,) * params.channels if params.channels == 3 else ()
    params = replace(params, dtype=torch.uint8 if mean else params.dtype)
    x, weight, bias = _operands(params)
    with collected() as found:
        triton.regions([x], triton.whole_images(params), weight, bias, params, mean, 1.0, [_last(params.out_shape, bias.dtype)])
    return found


def _training(params: BlockParams) -> list[Launch]:
    x, weight, bias = _operands(params)
    with collected() as found:
        triton.training(x, weight, bias, params)
    return found


@contextmanager
def collected() -> Iterator[list[Launch]]:
    """Launches are collected instead of run."""
    found: list[Launch] = []
    with launched_by(found.append):
        yield found


def _operands(params: BlockParams) -> tuple[Tensor, Tensor, Tensor]:
    x = _last((params.images, params.channels, params.height, params.width), params.dtype)
    weight = _last((params.filters, params.channels // params.options.groups, params.size, params.size), params.weight_dtype)
    return x, weight, torch.empty(params.filters, dtype=params.weight_dtype)


def _last(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, memory_format=torch.channels_last)
