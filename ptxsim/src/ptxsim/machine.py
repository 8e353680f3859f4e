"""The former name of `ptxsim.interpreter`; it goes with the next release."""

from __future__ import annotations

import warnings

from .interpreter import FULL, STEPS, Interpreter

__all__ = ["FULL", "STEPS", "Machine"]

warnings.warn(
    "ptxsim.machine is called ptxsim.interpreter, its Machine Interpreter: the former names go with the next release",
    DeprecationWarning,
    stacklevel=2,
)
Machine = Interpreter
