"""Which backend runs an operation: every backend is asked, in order of preference, and each refusal is a sentence.

`DCNN_FAST_BACKEND` forces one of `BACKENDS` wherever an operation has it; there, a forced backend that cannot run is an error,
never a silent change. On a GPU no backend has every operation (views are not in Triton, the head not in CUDA C++), so one that
an operation lacks forces nothing there: else no network could run with its blocks forced. `dcnn-fast explain` says so.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch

BACKENDS: tuple[str, ...] = ("cuda", "triton", "cpu", "reference")
BACKEND_VARIABLE = "DCNN_FAST_BACKEND"


class Backend(Protocol):
    """What the module of a backend offers to the choice; what it computes is its operation's affair."""

    def can_run(self, params: Any, device: torch.device) -> str | None:
        """None when this backend can run the problem on the device, else one sentence that says why not.

        A backend may also have `outpaced(params, device)`: None, or the name of another backend that is to be preferred where
        it can run, and one sentence that says why.
        """


@dataclass(frozen=True)
class Answer:
    """One backend's answer: `refusal` is None for yes. outpaced: why another one that can run is preferred, or None."""

    backend: str
    refusal: str | None
    outpaced: str | None = None


class BackendError(RuntimeError):
    """No backend, or not the forced one, can run a problem."""


def forced_backend() -> str | None:
    """The backend named by DCNN_FAST_BACKEND, or None. Raises BackendError when it names none of `BACKENDS`."""
    name = os.environ.get(BACKEND_VARIABLE, "").strip()
    if not name:
        return None
    if name not in BACKENDS:
        raise BackendError(f"{BACKEND_VARIABLE} must be one of {', '.join(BACKENDS)}; got {name!r}")
    return name


def explain(backends: Mapping[str, Backend], params: Any, device: torch.device) -> list[Answer]:
    """Every backend's answer for one problem, in order of preference."""
    refusals = {name: backends[name].can_run(params, device) for name in BACKENDS if name in backends}
    answers = []
    for name, refusal in refusals.items():
        better, why = _outpaced(backends[name], params, device) if refusal is None else ("", "")
        answers.append(Answer(name, refusal, why if better in refusals and refusals[better] is None else None))
    return answers


def _outpaced(backend: Backend, params: Any, device: torch.device) -> tuple[str, str]:
    ask = getattr(backend, "outpaced", None)
    return ("", "") if ask is None else ask(params, device) or ("", "")


def choose(backends: Mapping[str, Backend], params: Any, device: torch.device) -> str:
    """The name of the backend to run: the forced one if the operation has it, or the first in `BACKENDS` that can and that no
    other outpaces.

    Raises BackendError with every refusal when none can, or with the forced one's when that cannot.
    """
    forced = forced_backend()
    if forced is not None and forced in backends:
        refusal = backends[forced].can_run(params, device)
        if refusal is not None:
            raise BackendError(f"{BACKEND_VARIABLE}={forced} cannot run {params}: {refusal}")
        return forced
    answers = explain(backends, params, device)
    for answer in answers:
        if answer.refusal is None and answer.outpaced is None:
            return answer.backend
    reasons = "; ".join(f"{answer.backend}: {answer.refusal}" for answer in answers)
    raise BackendError(f"no backend can run {params} on {device}: {reasons}")
