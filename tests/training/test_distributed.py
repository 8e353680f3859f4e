"""Two processes on gloo, as torchrun starts them, come to the weights of one."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from dcnn_fast.training import train
from dcnn_fast.training.checkpoint import load_checkpoint
from tests.training import sets
from tests.training.run_program import SETTINGS

ROOT = Path(__file__).parents[2]


def run_two(out, *options):
    """Run the program in two processes; returns their stderr."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m",
        "tests.training.run_program", str(out), *options,
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    return result.stderr


def test_two_processes_come_to_the_weights_of_one(tmp_path):
    """49 examples in mini-batches of 16: the last has one example, and the second process none. Dropout is off: its masks
    differ between processes."""
    torch.set_num_threads(1)
    run_two(tmp_path / "two", "--dropout", "0", "--train", "49")
    outcome = train(sets.net(dropout=0.0), sets.data_set(49), replace(SETTINGS, epochs=3), tmp_path / "one")
    one, two = (load_file(tmp_path / name / "last.safetensors") for name in ("one", "two"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=1e-6, msg=name)
    found = load_checkpoint(tmp_path / "two" / "checkpoint.safetensors").progress.history
    for row, other in zip(outcome.history, found, strict=True):
        assert row["images"] == other["images"] == 49 and row["test_count"] == other["test_count"] == 16
        for name in ("loss", "test_loss", "rate"):
            assert abs(row[name] - other[name]) < 1e-4


def test_the_first_of_two_processes_fills_a_cache_that_both_use(tmp_path):
    """The second process waits without decoding or warning; the first gives signs of life after each photograph."""
    sets.in_files(sets.data_set(49), tmp_path / "photographs")
    said = run_two(tmp_path / "two", "--train", "49", "--planes", str(tmp_path / "planes"), "--epochs", "1")
    assert "is being filled by another run" not in said and len(list((tmp_path / "planes").rglob("*.plane"))) == 2 * (49 + 16)
