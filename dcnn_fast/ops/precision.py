"""The precision of products: named, never implied (design.md section 4). Sums are in float32, or float64 for such operands."""

from __future__ import annotations

from typing import Literal

Precision = Literal["ieee", "tf32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = ("ieee", "tf32", "bf16", "fp16")
