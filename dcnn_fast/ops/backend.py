"""The contract of every operation's backends, and the choice between them.

Every backend is asked, in order of preference, and each refusal is a sentence.

`DCNN_FAST_BACKEND` forces one of `BACKENDS` for every operation that has it; there, a forced backend that cannot run is an
error, never a silent change. An operation without the forced backend chooses freely: on a GPU no backend has every operation
(Triton has no views, CUDA C++ no head), so otherwise no network could run with its blocks forced. `dcnn-fast explain` says so.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch

BACKENDS: tuple[str, ...] = ("cuda", "triton", "cpu", "reference")
BACKEND_VARIABLE = "DCNN_FAST_BACKEND"

Problem = TypeVar("Problem")
_Asked_contra = TypeVar("_Asked_contra", contravariant=True)


@dataclass(frozen=True)
class Outpaced:
    """Another backend is preferred where it can run. backend: its name. why: one sentence."""

    backend: str
    why: str


class Backend(Protocol[_Asked_contra]):
    """The questions that every backend answers about a problem; each operation's protocol adds its computing methods.

    A backend's class derives from its operation's protocol, so a class that lacks a member cannot be instantiated.
    """

    @abstractmethod
    def can_run(self, params: _Asked_contra, device: torch.device) -> str | None:
        """None when this backend can run the problem on the device, else one sentence that says why not."""

    def outpaced(self, params: _Asked_contra, device: torch.device) -> Outpaced | None:
        """The backend to prefer over this one for a problem that it can run; None where the order of `BACKENDS` holds."""
        return None

    def remark(self, params: _Asked_contra, device: torch.device) -> str | None:
        """A phrase about this backend's choice for a problem that it can run; None where it has no choice."""
        return None

    def kernel(self, params: _Asked_contra, device: torch.device) -> str | None:
        """A description of the kernel chosen for a problem that it can run; None where the backend has only one."""
        return None


@dataclass(frozen=True)
class Answer:
    """One backend's answer. refusal: None for yes. outpaced: why another backend that can run is preferred, or None. kernel:
    a description of its kernel that would run, or None. remark: a phrase about its choice, or None.
    """

    backend: str
    refusal: str | None
    outpaced: str | None = None
    kernel: str | None = None
    remark: str | None = None


class BackendError(RuntimeError):
    """No backend, or not the forced one, can run the problem."""


def forced_backend() -> str | None:
    """The backend named by DCNN_FAST_BACKEND, or None. Raises BackendError when it names none of `BACKENDS`."""
    name = os.environ.get(BACKEND_VARIABLE, "").strip()
    if not name:
        return None
    if name not in BACKENDS:
        raise BackendError(f"{BACKEND_VARIABLE} must be one of {', '.join(BACKENDS)}; got {name!r}")
    return name


def explain(backends: Mapping[str, Backend[Problem]], params: Problem, device: torch.device) -> list[Answer]:
    """Every backend's answer for one problem, in order of preference."""
    answers = []
    for name in BACKENDS:
        if name in backends:
            refusal = backends[name].can_run(params, device)
            if refusal is not None:
                answers.append(Answer(name, refusal))
                continue
            backend, better = backends[name], _better(backends, name, params, device)
            kernel, remark = backend.kernel(params, device), backend.remark(params, device)
            answers.append(Answer(name, None, None if better is None else better.why, kernel, remark))
    return answers


def choose(backends: Mapping[str, Backend[Problem]], params: Problem, device: torch.device) -> str:
    """The name of the backend to run: the forced one if the operation has it, otherwise the first in `BACKENDS` that can run
    the problem and is not outpaced.

    Raises BackendError with every refusal when no backend can run it, or with the forced backend's refusal.
    """
    forced = forced_backend()
    if forced is not None and forced in backends:
        refusal = backends[forced].can_run(params, device)
        if refusal is not None:
            raise BackendError(f"{BACKEND_VARIABLE}={forced} cannot run {params}: {refusal}")
        return forced
    for name in BACKENDS:  # asks no backend after the chosen one, as this runs in every call
        runs = name in backends and backends[name].can_run(params, device) is None
        if runs and _better(backends, name, params, device) is None:
            return name
    reasons = "; ".join(f"{answer.backend}: {answer.refusal}" for answer in explain(backends, params, device))
    raise BackendError(f"no backend can run {params} on {device}: {reasons}")


def _better(backends: Mapping[str, Backend[Problem]], name: str, params: Problem, device: torch.device) -> Outpaced | None:
    """The `Outpaced` answer of a backend that can run, if the preferred backend exists and can run too."""
    better = backends[name].outpaced(params, device)
    if better is None or better.backend not in backends or backends[better.backend].can_run(params, device) is not None:
        return None
    return better
