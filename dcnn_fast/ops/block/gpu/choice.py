"""Whether the CUDA C++ block or Triton's is predicted to be faster: data, by compute capability and problem.

`python -m devtools.choose_tiles` writes choice.json from the PTX simulator's counts of both, by the model of
bench/gpu_cost.py. Nothing was timed.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from dcnn_fast.ops.block.gpu.problem import problem_key
from dcnn_fast.ops.block.params import BlockParams

TABLE = Path(__file__).with_suffix(".json")


def predicted(params: BlockParams, capability: int) -> tuple[float, float] | None:
    """Microseconds of fifty windows by the CUDA C++ block and by Triton's; None for a problem that no preset poses."""
    found = _table().get(str(capability), {}).get(problem_key(params))
    return None if found is None else (found[0], found[1])


@cache
def _table() -> dict[str, dict[str, list[float]]]:
    return json.loads(TABLE.read_text())  # type: ignore[no-any-return]
