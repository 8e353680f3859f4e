"""A second opinion on races: SentryWard proves that kernels' PTX has none, for all contents of memory.

    pip install '.[test,crosscheck]' && python -m devtools.cross_check

Optional, and not part of the tests. SentryWard knows the pointers in a kernel's arguments, but not those loaded from tables, so
it checks only kernels without tables: those of the block's backward. Its results are printed; exit 1 unless every kernel is as
expected.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from dcnn_fast.networks import Pool
from dcnn_fast.ops.block import BACKENDS
from dcnn_fast.ops.block.backend import Needs, Operands
from dcnn_fast.ops.block.params import BlockOptions, BlockParams
from dcnn_fast.ops.launch import Launch
from devtools import aot
from devtools.launches import collected

# The sum over a tile's positions ends with copies of one value in several warps, which all store it to the same place:
# unordered writes of equal values, which the simulator distinguishes from a race and SentryWard does not.
EXPECTED = {"block_bwd_bias_kernel": "potential_race"}
RACE_FREE = "race_free"
SECONDS = 180


def launches() -> dict[str, Launch]:
    """The kernels of one small backward, with and without a pool, by name."""
    found: dict[str, Launch] = {}
    plain = BlockParams(1, 16, 6, 6, 16, 3, BlockOptions(padding=1), torch.float16, torch.float16, weight_dtype=torch.float16)
    pooled = replace(plain, options=replace(plain.options, pool=Pool(3, 2)))
    for params in (plain, pooled):
        x = torch.empty(1, 16, 6, 6, dtype=torch.float16, memory_format=torch.channels_last)
        weight = torch.empty(16, 16, 3, 3, dtype=torch.float16, memory_format=torch.channels_last)
        operands = Operands(weight, torch.empty(16, dtype=torch.float16))
        triton = BACKENDS["triton"]
        with collected() as seen:
            made = triton.training(params, operands, x)
            triton.backward(params.gradient(), operands, x, made.saved(params), torch.empty_like(made.result), Needs())
        kind = "pooled" if params.options.pool else "plain"
        found |= {f"{what.kernel.__name__} {kind}": what for what in seen if not what.reads}
    return found


def opinion(what: Launch) -> str:
    """SentryWard's result for a launch compiled for sm_80."""
    code = aot.compiled(what, 80)
    pointers, numbers = [], []
    for index, name in enumerate(code.names):
        value = what.args[name]
        if isinstance(value, Tensor):
            pointers.append({"parameter": index, "type": "pointer", "space": "global", "object": name})
        else:
            numbers.append({"parameter": index, "type": "f32" if isinstance(value, float) else "u32", "value": value})
    parameters = len(re.findall(r"\.param\b", code.ptx.split("{", 1)[0]))
    for index in range(len(code.names), parameters):  # Triton's own scratch
        pointers.append({"parameter": index, "type": "pointer", "space": "global", "object": f"scratch{index}"})
    grid = [*what.grid, 1, 1][:3]
    launch = {"grid_dim": grid, "block_dim": [32 * code.warps, 1, 1], "dynamic_shared_bytes": code.shared}
    question = {"schema": "spverify.kernel-input/v1", "launch": launch, "declarations": pointers, "arguments": numbers}
    with tempfile.TemporaryDirectory() as folder:
        ptx, asked = Path(folder, "kernel.ptx"), Path(folder, "input.json")
        ptx.write_text(code.ptx)
        asked.write_text(json.dumps(question))
        command = ["sentryward", str(ptx), "--input", str(asked), "--timeout", str(SECONDS)]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return str(json.loads(answer.stdout)["result"])
    except (ValueError, KeyError):
        return f"no answer: {answer.stderr.strip()[:200]}"


def main() -> int:
    """The command."""
    surprises = 0
    for name, what in launches().items():
        said, expected = opinion(what), EXPECTED.get(what.kernel.__name__, RACE_FREE)
        surprises += said != expected
        print(f"{name}: {said}{'' if said == expected else f', expected {expected}'}", flush=True)
    return int(surprises > 0)


if __name__ == "__main__":
    sys.exit(main())
