"""Runs compiled PTX kernels on the CPU, checks every access and counts the work. `README.md` describes the coverage."""

from .counters import Report
from .errors import Finding, SimulationError, UnsupportedInstruction
from .launch import launch

__all__ = ["Finding", "Report", "SimulationError", "UnsupportedInstruction", "launch"]
