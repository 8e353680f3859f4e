"""The precision of products: named, never implied (design.md section 4). Sums are in float32, or float64 for such operands.

"bf16x3" splits each operand into two bfloat16, x = high + low, and sums the products low * high, high * low and high * high: an
error of at most 3 * 2**-18 of every product, where "bf16" has 2**-7 and float32 about 2**-24.
"""

from __future__ import annotations

from typing import Literal

Precision = Literal["ieee", "tf32", "bf16", "bf16x3", "fp16"]
PRECISIONS: tuple[Precision, ...] = ("ieee", "tf32", "bf16", "bf16x3", "fp16")
