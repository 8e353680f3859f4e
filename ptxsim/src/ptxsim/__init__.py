"""Runs compiled PTX kernels on the CPU, checks every access and counts what they do. `README.md` says what it covers."""

from .counters import Report
from .errors import Finding, SimulationError, UnsupportedInstruction
from .launch import launch

__all__ = ["Finding", "Report", "SimulationError", "UnsupportedInstruction", "launch"]
