"""Exports a model as files for other programs: plain ONNX, torch's aten, a package for darktable (docs/onnx.md).

Needs the extra `export`.
"""

from __future__ import annotations

from dcnn_fast.export.about import Difference, known_difference
from dcnn_fast.export.check import CheckError, Outcome, check
from dcnn_fast.export.difference import measured_difference
from dcnn_fast.export.files import Export

__all__ = ["CheckError", "Difference", "Export", "Outcome", "check", "known_difference", "measured_difference"]
