"""Caches of the facts that calls of `ops.block` repeat: checked options, operands that fit them, and problems.

The kernel of a small block takes a few microseconds, and checking the same arguments again would take many times that. Each
cache is bounded, and its key holds everything that its values depend on; inside torch.compile, which cannot trace through a
cache, and for symbolic sizes everything is computed anew.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from dcnn_fast.ops.block.params import BlockOptions, BlockParams, Flat

_CALLS, _OPERANDS, _PROBLEMS = 256, 256, 1024  # entries of each cache; operands: per call


@dataclass(frozen=True, eq=False)
class Call:
    """The options of a call, as a record and flat, and the operands known to fit them (`signature`)."""

    options: BlockOptions
    flat: Flat
    right: set[Hashable] = field(default_factory=set, repr=False)

    def note(self, operands: Hashable) -> None:
        """Remember that these operands are right."""
        if len(self.right) >= _OPERANDS:
            self.right.clear()
        self.right.add(operands)


def call_of(*options: Any) -> Call:
    """The call with these options, in the order of `BlockOptions`. Raises ValueError as that does."""
    if torch.compiler.is_compiling():
        return _call(*options)
    try:
        return _kept_call(*options)
    except TypeError:  # not hashable, so not a valid option
        return _call(*options)


def signature(x: Tensor, weight: Tensor, bias: Tensor | None, mean: Sequence[float], scale: float) -> Hashable | None:
    """A key of everything that decides whether operands fit a call's options; None where it cannot be cached."""
    if torch.compiler.is_compiling():
        return None
    of_bias = None if bias is None else (bias.shape, bias.dtype, bias.device)
    found = (x.shape, x.dtype, x.device, weight.shape, weight.dtype, weight.device, of_bias, len(mean), scale != 1)
    try:
        hash(found)
    except TypeError:  # symbolic sizes
        return None
    return found


@dataclass(frozen=True)
class Problem:
    """The problems of the result and of the gradients of whole images in the weights' dtype, and the operands known to fit
    them (`signature`).
    """

    result: BlockParams
    gradient: BlockParams
    right: set[Hashable] = field(default_factory=set, repr=False, compare=False)

    def note(self, operands: Hashable) -> None:
        """Remember that these operands are right."""
        if len(self.right) >= _OPERANDS:
            self.right.clear()
        self.right.add(operands)


def problem_of(x: Tensor, weight: Tensor, flat: Sequence[Any]) -> Problem:
    """The problem that operands, with the options `flat`, pose. Raises ValueError where they have not four axes each."""
    stride, padding, groups, rounding, pool, norm, values, order, ties, precision = flat
    return _problem(
        tuple(x.shape), tuple(weight.shape), weight.dtype, stride, padding, groups, rounding, tuple(pool), norm, tuple(values),
        order, ties, precision,
    )  # fmt: skip


def _call(*options: Any) -> Call:
    made = BlockOptions(*options)
    return Call(made, made.flat())


_kept_call = lru_cache(_CALLS, typed=True)(_call)  # typed: 1 is not True


@lru_cache(_PROBLEMS)
def _problem(x: tuple[int, ...], weight: tuple[int, ...], dtype: torch.dtype, *flat: Any) -> Problem:
    if len(x) != 4:
        raise ValueError(f"x must have shape [N, C, H, W], got {list(x)}")
    if len(weight) != 4 or weight[2] != weight[3]:
        raise ValueError(f"weight must have shape [F, C / groups, S, S], got {list(weight)}")
    options = BlockOptions.from_flat(*flat)
    images, channels, height, width = x
    result = BlockParams(images, channels, height, width, weight[0], weight[2], options, dtype, dtype, weight_dtype=dtype)
    return Problem(result, replace(result, backward=True))
