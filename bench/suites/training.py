"""Training steps: time beside torch's, and peak memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from bench import cases
from bench.effort import Effort
from bench.row import OURS, Found, Refused, Row
from bench.timing import Rival, agreement, alternate, median_and_spread, seconds
from bench.training_step import ALL_TIES, COMPILED, EAGER, SETTINGS, Job, Step, first_step, peak_bytes

SCNN, DCNN = "SCNN, a training step", "DCNN, a training step"
NOTE = "ratio: torch eager's time over ours; peak memory: of a process that does nothing else"
# Where two outputs in a pool window, or an output and zero, differ only by rounding, the gradient may go either way: two of
# torch's own settings differ by a quarter of this in the filters' gradients, and by 1e-6 after the blocks.
TOLERANCE = 1e-2


def rows(threads: int, effort: Effort) -> Iterator[Found]:
    """SCNN, and DCNN with torch eager in its fastest setting for SCNN; torch.compile only for SCNN.

    Ours gives a pool's gradient to the first of equal maxima, like torch; a second row gives it to all of them.
    """
    scnn = Job(cases.SCNN, effort.batch, threads, setting="ties first", unit_share=effort.unit_share)
    setting = fastest(scnn) if effort.search else SETTINGS[0]
    compiled = {COMPILED: "channels-last, its norm"} if effort.compiled and not effort.quick else {}
    all_ties = {} if effort.quick else {ALL_TIES: "ties all"}
    yield from _case(SCNN, scnn, {EAGER: setting, **compiled, **all_ties}, effort.rounds)
    if effort.quick:
        return
    yield from _case(DCNN, replace(scnn, preset=cases.DCNN), {EAGER: setting, **all_ties}, effort.rounds)


def fastest(job: Job) -> str:
    """Torch eager's setting with the shortest step: each is warmed up and tried twice."""
    took = {}
    for setting in SETTINGS:
        step = Step(replace(job, by=EAGER, setting=setting))
        step()
        took[setting] = min(seconds(step) for _ in range(2))
        del step  # frees memory for the next one
    return min(took, key=lambda setting: took[setting])


def _case(case: str, job: Job, settings: Mapping[str, str], rounds: int) -> Iterator[Found]:
    """Measure ours and these rivals, each in its setting: the first step must agree with torch eager's before timing."""
    jobs = {OURS: job, **{by: replace(job, by=by, setting=setting) for by, setting in settings.items()}}
    steps = {by: Step(one) for by, one in jobs.items()}
    expected = first_step(steps[EAGER])
    scales = {name: max(float(np.abs(values).max()), 1e-30) for name, values in expected.items()}
    outputs = {by: Rival(by, partial(_scaled_step, step, scales), TOLERANCE) for by, step in steps.items() if by != EAGER}
    errors, refused = agreement(outputs, _scaled(expected, scales))
    errors[EAGER] = 0.0  # the reference of the others
    for by, why in refused.items():
        yield Refused("training", case, job.threads, by, why)
    times = alternate({by: Rival(by, partial(_loss_of, step), TOLERANCE) for by, step in steps.items() if by in errors}, rounds)
    del steps, outputs  # freed before the memory of others is measured
    middle = {by: median_and_spread(of) for by, of in times.items()}
    for by, (took, spread) in middle.items():
        ratio = middle[EAGER][0] / took if by in (OURS, ALL_TIES) and EAGER in middle else None
        yield Row(
            "training", case, job.threads, by, "fp32", took, spread, errors[by], ratio, setting=jobs[by].setting, note=NOTE,
            peak_bytes=peak_bytes(jobs[by]),
        )  # fmt: skip


def _loss_of(step: Step) -> np.ndarray:
    return np.array([step()], np.float32)


def _scaled_step(step: Step, scales: Mapping[str, float]) -> np.ndarray:
    return _scaled(first_step(step), scales)


def _scaled(found: Mapping[str, np.ndarray], scales: Mapping[str, float]) -> np.ndarray:
    """The loss and all movements in one row, each over its largest in torch eager, so that every difference counts."""
    return np.concatenate([values / scales[name] for name, values in found.items()])
