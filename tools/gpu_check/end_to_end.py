"""Stage 5: scores, bit for bit equal alone, in batches, with few and many workers, with and without graphs; and the CPU's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial

import numpy as np
import torch

from dcnn_fast import Scorer
from dcnn_fast.nets import Model, build
from dcnn_fast.runtime import verdict
from dcnn_fast.scoring import Score
from dcnn_fast.scoring.shipped import shipped_model
from tools.gpu_check.pictures import picture, small_network
from tools.gpu_check.stage import Finding, Piece, Setting

DTYPES = ("float32", "float16", "bfloat16")
# The allowed difference of a score from the CPU's in float32, by the operands' rounding; probabilities are between 0 and 1.
ALLOWED = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 6e-2}
WORKERS = (1, 4, 16, 40)  # the last is more than torch's streams
SAMPLES = 50
# Models with their layers' dtypes, in the simulator and on a GPU.
_MODELS: dict[bool, dict[str, Sequence[str]]] = {
    True: {"small": DTYPES[:2]}, False: {"dcnn": DTYPES, "shipped": (DTYPES[0], DTYPES[2])},
}  # fmt: skip


def works(setting: Setting) -> list[Piece]:
    """Every model in every dtype; when all have been done on a GPU, the findings decide whether `auto` uses it. As soon as one
    is wrong it does not, whatever an earlier check has found.
    """
    found: list[Finding] = []
    done = [
        Piece(f"{name}, {dtype}", partial(_of, name=name, dtype=dtype, found=found))
        for name, dtypes in _MODELS[setting.simulated].items()
        for dtype in dtypes
    ]
    return done if setting.simulated else [*done, Piece("auto", partial(_verdict, found=found))]


def _verdict(setting: Setting, found: Sequence[Finding]) -> Iterator[Finding]:
    passed = bool(found) and all(each.passed for each in found)
    verdict.keep(setting.where, passed)
    yield Finding("auto", None, f"device auto {'takes' if passed else 'does not take'} this GPU from now on")


def _of(setting: Setting, name: str, dtype: str, found: list[Finding]) -> Iterator[Finding]:
    """A model in a dtype. found: gets the findings."""
    right = False
    try:
        for finding in _judged(setting, name, _model(name), dtype, _photographs(setting.simulated)):
            found.append(finding)
            yield finding
        right = all(each.passed for each in found)
    finally:
        if not (right or setting.simulated):
            verdict.keep(setting.where, False)


@lru_cache
def _by_the_cpu(name: str, simulated: bool) -> Sequence[float | None]:
    """The means of the photographs' scores."""
    with torch.no_grad():
        return [Scorer(_model(name), "cpu", _samples(simulated)).score(each).mean for each in _photographs(simulated)]


def _judged(
    setting: Setting, name: str, model: Model, dtype: str, photographs: Sequence[np.ndarray]
) -> Iterator[Finding]:  # fmt: skip
    with setting.kernels():
        scorer = Scorer(model, setting.scorers, _samples(setting.simulated), dtype=dtype)
        alone = [scorer.score(each) for each in photographs]
        without = Scorer(model, setting.scorers, _samples(setting.simulated), dtype=dtype, graphs=False)
        ways = {"without graphs": [without.score(each) for each in photographs]}
        for workers in WORKERS[: 2 if setting.simulated else None]:
            many = list(photographs) * (1 if setting.simulated else 1 + 3 * workers // len(photographs))
            batch = len(photographs) if setting.simulated else None
            ways[f"{workers} workers"] = list(scorer.score_many(many, batch=batch, workers=workers))
    wrong = [way for way, scores in ways.items() if not _same(scores, alone)]
    said = f"other bits than alone: {', '.join(wrong)}" if wrong else f"the same bits alone, {', '.join(ways)}"
    yield Finding(f"{name}, {dtype}: bits", not wrong, said)
    yield against_the_cpu(f"{name}, {dtype}: scores", alone, _by_the_cpu(name, setting.simulated), ALLOWED[dtype])


def _same(scores: Sequence[Score], alone: Sequence[Score]) -> bool:
    """Whether each score equals its photograph's alone; the photographs repeat in order."""
    return all(
        score.error is None and (score.mean, score.std, score.probs) == (own.mean, own.std, own.probs)
        for i, score in enumerate(scores)
        for own in [alone[i % len(alone)]]
    )


def against_the_cpu(name: str, scores: Sequence[Score], expected: Sequence[float | None], allowed: float) -> Finding:
    """Whether the scores are as close to the CPU's as the type's rounding allows."""
    pairs = [(score.mean, right) for score, right in zip(scores, expected, strict=True)]
    errors = [abs(mean - right) if mean is not None and right is not None else float("nan") for mean, right in pairs]
    passed = all(error <= allowed for error in errors)
    largest = max(errors, key=lambda error: (math.isnan(error), error))
    return Finding(name, passed, f"at most {largest:.1e} from the CPU's, {allowed:.0e} are allowed", {"error": largest})


def _samples(simulated: bool) -> int:
    return 2 if simulated else SAMPLES


@lru_cache
def _model(name: str) -> Model:
    if name == "shipped":
        return Scorer(shipped_model()).model
    return Model(build(small_network(), seed=3).eval() if name == "small" else build("dcnn", seed=1).eval(), {})


def _photographs(simulated: bool) -> list[np.ndarray]:
    """Photographs of several sizes, larger than a plane; none so high that Pillow, on the CPU, resizes in another order and
    differs by a level.
    """
    shapes = ((40, 50), (64, 60)) if simulated else ((480, 640), (600, 500), (333, 500), (800, 1200), (1365, 2048))
    return [picture(*shape, seed) for seed, shape in enumerate(shapes)]
