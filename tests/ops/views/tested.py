"""The views' description for the tester: whole views of photographs of one size, by every instruction set."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from dcnn_fast.networks import View
from dcnn_fast.ops.views import ViewParams, cpu, reference
from dcnn_fast.ops.views.backend import Cutting
from dcnn_fast.ops.views.cuts import Cut
from tests.ops import tester
from tests.ops.views import pillow
from tests.ops.views.photos import photo


@dataclass(frozen=True)
class Photographs:
    """Photographs of one size, and the view to make of each."""

    height: int
    width: int
    view: View
    images: int = 2
    plane: int = 64

    @property
    def params(self) -> ViewParams:
        """The parameters of each view."""
        return ViewParams(self.height, self.width, self.view, self.plane)

    def __str__(self) -> str:
        return f"{self.images}x{self.height}x{self.width}-{self.view}{self.plane}"


def _operands(problem):
    seeded = [photo(problem.height, problem.width, seed) for seed in range(problem.images)]
    return (torch.from_numpy(np.stack(seeded)),)


def _compute(way, problem, operands, results, threads):
    (photographs,), (made,) = operands, results
    cuts = [Cut(i, problem.params, 0, 0, *problem.params.shape) for i in range(problem.images)]
    torch.set_num_threads(threads)
    cpu.BACKEND.run(Cutting(list(photographs), cuts, [each[0] for each in made]))


def _with_a_fourth_byte(planes):
    stacked = torch.from_numpy(np.stack(planes))[:, None]
    return [torch.cat([stacked, torch.zeros_like(stacked[..., :1])], -1)]


def _by_pillow(problem, operands):
    wholes = [pillow.resized(each, *problem.params.resized) for each in operands[0].numpy()]
    return _with_a_fourth_byte([pillow.cut(whole, problem.params.origin, problem.params.shape) for whole in wholes])


def _by_the_formula(problem, operands):
    return _with_a_fourth_byte([reference.plane(each, problem.params) for each in operands[0].numpy()])


VIEWS_OF_PHOTOGRAPHS = tester.Operation(
    operands=_operands,
    results=lambda problem: ([(problem.images, 1, *problem.params.shape, 4)], torch.uint8),
    compute=_compute,
    statement=_by_pillow,
    allowed=lambda problem, operands, expected: [0.0],
)
BY_THE_FORMULA = replace(
    VIEWS_OF_PHOTOGRAPHS, statement=_by_the_formula, allowed=lambda problem, operands, expected: [1.0]
)  # one level: the formula rounds only once
