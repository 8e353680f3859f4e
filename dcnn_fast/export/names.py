"""The files of an export."""

from __future__ import annotations

from dcnn_fast.export.inputs import KINDS

EXPECTED, PICTURE, PT2 = "expected.json", "expected.png", "windows.pt2"


def onnx(kind: str) -> str:
    """The ONNX file of that kind."""
    return f"{kind}.onnx"


__all__ = ["EXPECTED", "KINDS", "PICTURE", "PT2", "onnx"]
