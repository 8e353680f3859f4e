"""The precision of products, always named explicitly (docs/design.md#data-flow).

Sums are in float32, or in float64 for operands of float64.

"bf16x3" splits each operand into two bfloat16, x = high + low, and sums the products low * high, high * low and high * high: an
error of at most 2**-15 of every product (2**-17 for each operand, 2**-16 for low * low), where "bf16" has 2**-7 and float32
about 2**-24. An operand that rounds to infinity gives NaN. The engine has it on CPUs with AMX (csrc/cpu/amx_conv_impl.h).
"""

from __future__ import annotations

from typing import Literal

Precision = Literal["ieee", "tf32", "bf16", "bf16x3", "fp16"]
PRECISIONS: tuple[Precision, ...] = ("ieee", "tf32", "bf16", "bf16x3", "fp16")
