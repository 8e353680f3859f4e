"""Where the backward's kernels find the gradient of the convolution's output: built from hits tap by tap, or in memory.

Both give the same bits. `DCNN_FAST_CONV_GRADIENT` names one; `auto`, as without it, is the cost model's choice where it
has counted the problem (conv_gradient.json, by `python -m devtools.count_backward`: nothing was timed), but "hits" where the
gradient would take more than `MOST_BYTES`. In tf32 there is no gradient in memory: there Triton lays operands out by how wide
their loads are, hits are 16 bits wide, and `mma.sync` would add the same products in another order.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import torch

from dcnn_fast.ops.block.gpu.problem import operand_bytes, problem_key
from dcnn_fast.ops.block.params import BlockParams
from dcnn_fast.ops.gpus import named

Asked = Literal["auto", "hits", "memory"]
Way = Literal["hits", "memory"]
ASKED: tuple[Asked, ...] = ("auto", "hits", "memory")
WAYS: tuple[Way, ...] = ("hits", "memory")

VARIABLE = "DCNN_FAST_CONV_GRADIENT"
MOST_BYTES = 256 << 20  # of the gradient in memory where nobody asked for it
TABLE = Path(__file__).with_suffix(".json")
_OTHER_ORDER = "in tf32 sums from memory would have another order, and so other bits"


@dataclass(frozen=True)
class Choice:
    """way: where the gradient is. bytes: of memory that this takes beside the operands. why: half a sentence."""

    way: Way
    bytes: int
    why: str

    def __str__(self) -> str:
        where = f"in memory, {self.bytes} bytes" if self.way == "memory" else "from hits"
        return f"the gradient of the convolution {where}: {self.why}"


def asked() -> Asked:
    """The environment's word. Raises ValueError when it is none of `ASKED`."""
    name = os.environ.get(VARIABLE, "").strip() or "auto"
    for known in ASKED:
        if name == known:
            return known
    raise ValueError(f"{VARIABLE} must be one of {', '.join(ASKED)}; got {name!r}")


def choice(params: BlockParams, capability: int) -> Choice | None:
    """Where the gradient of a problem's convolution will be; None where its forward keeps no hits, so that there is no choice.

    Raises ValueError when the environment asks for what there is not.
    """
    if not params.kept.hits:
        return None
    word, count = asked(), gradient_bytes(params)
    if why := refused(params):
        if word == "memory":
            raise ValueError(f"{VARIABLE}=memory cannot run {params}: {why}")
        return _choice("hits", count, why)
    if word != "auto":
        return _choice(word, count, f"{VARIABLE} asks for it")
    if count > MOST_BYTES:
        return _choice("hits", count, f"in memory it would take {count} bytes, more than {MOST_BYTES}")
    times = predicted(params, capability)
    if times is None:
        unknown: Way = "memory" if params.size > 1 else "hits"
        return _choice(unknown, count, f"nothing is predicted, and the filter has {params.size**2} taps")
    way: Way = "memory" if times[1] < times[0] else "hits"
    where = f"for 128 windows on compute capability {named(capability)}"
    return _choice(way, count, f"{times[0]:.0f} us from hits and {times[1]:.0f} from memory are predicted {where}")


def refused(params: BlockParams) -> str | None:
    """None, or the sentence that says why the gradient cannot be in memory instead of being built from hits."""
    if not params.kept.hits:
        return "the forward keeps no hits"
    return _OTHER_ORDER if params.options.precision == "tf32" and params.weight_dtype == torch.float32 else None


def gradient_bytes(params: BlockParams) -> int:
    """Bytes of the convolution's gradient in memory, in the format of the products' operands."""
    images, filters, rows, cols = params.conv_shape
    return images * filters * rows * cols * operand_bytes(params)


def predicted(params: BlockParams, capability: int) -> tuple[float, float] | None:
    """Microseconds of the input's and the weights' gradients of 128 windows from hits and from memory, what is written there
    included; None for a problem that no preset poses.
    """
    found = _table().get(str(capability), {}).get(problem_key(params))
    return None if found is None else (found[0], found[1])


def _choice(way: Way, count: int, why: str) -> Choice:
    return Choice(way, count if way == "memory" else 0, why)


@cache
def _table() -> dict[str, dict[str, list[float]]]:
    return json.loads(TABLE.read_text())  # type: ignore[no-any-return]
