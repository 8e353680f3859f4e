"""Triton's compiled kernels on every target: no spills to local memory, and 16-byte accesses where rows allow them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import torch
import triton

from dcnn_fast.ops.gpus import CAPABILITIES, FREE_SHARED
from dcnn_fast.ops.head import HeadParams
from dcnn_fast.ops.head import triton as head
from dcnn_fast.ops.head.backend import Operands, Results
from dcnn_fast.ops.update import UpdateParams
from dcnn_fast.ops.update import triton as update
from dcnn_fast.ops.update.backend import Step
from devtools.aot import compiled

CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
WIDE = re.compile(r"(?:ld|st)\.global[.\w:]*\.v4|cp\.async\.cg\.shared\.global|\.v2\.b64")


def _head(weight=torch.float32, feature=torch.float32, labels=2, inputs=1000):
    """The head's launches for one image of a network of two columns."""
    features = [torch.zeros(50, inputs, dtype=feature)] * 2
    weights, biases = [torch.zeros(256, inputs, dtype=weight)] * 2, [torch.zeros(256)] * 2
    params = HeadParams((50, 50), (inputs, inputs), (256, 256), 50, 1, labels, weight)
    results = Results(torch.zeros(50, labels), torch.zeros(1, labels), torch.zeros(1, labels))
    label = torch.zeros(labels, 512), torch.zeros(labels)
    return head.launches_of(params, Operands(features, weights, biases, *label, [50], [None, None]), results)


def _update(dtype=torch.float32, offset=0):
    step = torch.promote_types(dtype, torch.float32)
    weights = [torch.zeros(2048 + offset, dtype=dtype)[offset:], torch.zeros(5, dtype=dtype)]
    params = UpdateParams((2048, 5), dtype, step)
    options = [0.1, 0.1], [0.9, 0.9], [0.0, 0.0]
    return update.launch_of(params, Step(weights, weights, [w.to(step) for w in weights], *options))


LAUNCHES = {
    "layer-fp32": lambda: _head()[0],
    "layer-fp32-odd": lambda: _head(inputs=999)[0],
    "layer-fp16": lambda: _head(torch.float16, torch.float16)[0],
    "layer-fp16-odd": lambda: _head(torch.float16, inputs=999)[0],
    "layer-bf16": lambda: _head(torch.bfloat16)[0],
    "labels-2": lambda: _head()[1],
    "labels-32": lambda: _head(labels=32)[1],
    "labels-64": lambda: _head(labels=64)[1],
    "update-fp32": _update,
    "update-fp32-odd": lambda: _update(offset=1),
    "update-fp64": lambda: _update(torch.float64),
    "update-bf16": lambda: _update(torch.bfloat16),
}


def _stack(code, folder):
    """The bytes of local memory per thread."""
    file = folder / "kernel.cubin"
    file.write_bytes(code.cubin)
    usage = subprocess.run([CUOBJDUMP, "-res-usage", file], capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:\d+ STACK:(\d+)", usage)
    assert found is not None, usage
    return int(found[1])


@pytest.mark.parametrize("name", LAUNCHES)
def test_nothing_is_spilled_and_rows_are_read_16_bytes_at_a_time(name, tmp_path):
    what = LAUNCHES[name]()
    assert what is not None
    for capability in CAPABILITIES:
        code = compiled(what, capability)
        assert _stack(code, tmp_path) == 0, f"spills on sm_{capability}"
        assert code.shared <= FREE_SHARED
        if not name.startswith("labels"):
            assert bool(WIDE.search(code.ptx)) == (not name.endswith("-odd")), f"on sm_{capability}"
