"""Loading the C++ engine and choosing its instruction set."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dcnn_fast import engine

WITHOUT_ENGINE = """
import sys
sys.modules["dcnn_fast._engine"] = None
import torch
from dcnn_fast import engine, ops
assert engine.isas() == () and engine.features() == {}
print(engine.reason())
print(ops.block(torch.ones(1, 3, 5, 5), torch.ones(2, 3, 3, 3), pool=(3, 2)).sum().item())
"""


def test_without_the_engine_one_sentence_says_so_and_torch_does_the_work():
    result = subprocess.run([sys.executable, "-c", WITHOUT_ENGINE], capture_output=True, text=True, check=True)
    sentence, value = result.stdout.splitlines()
    assert "C++ engine" in sentence
    assert float(value) == 2 * 27
    said = f"{sentence}; torch operations are used, which are slower"
    assert result.stderr.splitlines().count(said) == 1


def test_description_is_one_line():
    assert "\n" not in engine.describe()


def test_an_instruction_set_that_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setenv("DCNN_FAST_CPU_ISA", "mmx")
    expected = "DCNN_FAST_CPU_ISA must be one of .*portable.*; got 'mmx'" if engine.isas() else "not built"
    with pytest.raises(engine.EngineError, match=expected):
        engine.isa()


@pytest.mark.needs_engine
@pytest.mark.parametrize("isa", [*engine.isas(), *engine.emulated_isas()])
def test_every_instruction_set_can_be_forced(isa, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_CPU_ISA", isa)
    assert engine.isa() == isa


@pytest.mark.needs_engine
def test_every_instruction_set_runs_or_says_why_not(monkeypatch):
    names = {*engine.isas(), *engine.refusals()}
    assert len(names) == len(engine.isas()) + len(engine.refusals())
    if any(engine.features().values()):
        assert names == {"amx", "avx512_bf16", "avx512", "avx2", "portable"}
    for name, why in engine.refusals().items():
        assert "\n" not in why
        monkeypatch.setenv("DCNN_FAST_CPU_ISA", name)
        with pytest.raises(engine.EngineError, match=f"got '{name}': {why}"):
            engine.isa()


@pytest.mark.needs_engine
def test_features_agree_with_the_kernels_account():
    if not os.path.exists("/proc/cpuinfo"):
        return
    with open("/proc/cpuinfo") as file:
        flags = next((line.split(":")[1].split() for line in file if line.startswith("flags")), None)
    if flags is None:  # another architecture lists none of these
        assert not any(engine.features().values())
        return
    for name, there in engine.features().items():
        assert there == (name in flags), name


WRONG_TABLE = (
    WITHOUT_ENGINE
    + """
from dcnn_fast.ops.region import whole
table = whole(1, 5, 5, size=3, stride=1, padding=0, rounding="up", pool=None)
table.regions[0, 2:4] = -1  # its window's corner: a slice from there would wrap around
try:
    ops.block_regions([torch.ones(1, 3, 5, 5)], table, torch.ones(2, 3, 3, 3))
except ValueError as error:
    print(error)
"""
)


def test_without_the_engine_wrong_tables_are_refused_all_the_same():
    result = subprocess.run([sys.executable, "-c", WRONG_TABLE], capture_output=True, text=True, check=True)
    assert "region 0: window must lie in its source" in result.stdout.splitlines()[-1]
