"""The command `ptxsim run`: its own process, on real files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

TUTORIAL = Path(__file__).resolve().parents[2] / "ptxsim" / "tutorial"
ADD = [TUTORIAL / "add.ptx", "--entry", "add", "--grid", 4, "--block", 128]
ARGUMENTS = ["--arg", "x.npy", "--arg", "y.npy", "--arg", "new:float32:1000", "--arg", 1000]


@pytest.fixture
def arrays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.arange(1000, dtype=np.float32))
    np.save("y.npy", np.ones(1000, np.float32))
    return tmp_path


def ptxsim(*words, status=0):
    done = subprocess.run(
        [sys.executable, "-m", "ptxsim", "run", *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == status and "Traceback" not in done.stderr, done.stderr
    return done


def test_a_kernel_runs_on_files_and_leaves_them_as_they_are(arrays):
    before = Path("x.npy").read_bytes()
    done = ptxsim(*ADD, *ARGUMENTS, "--write", "out")
    assert "no rule is broken" in done.stdout and "global load sectors: 500" in done.stdout
    assert sorted(path.name for path in Path("out").iterdir()) == ["arg0.npy", "arg1.npy", "arg2.npy"]
    assert (np.load("out/arg2.npy") == np.arange(1, 1001)).all()
    assert Path("x.npy").read_bytes() == before
    assert "File exists" in ptxsim(*ADD, *ARGUMENTS, "--write", "out", status=2).stderr


def test_the_report_as_json(arrays):
    report = json.loads(ptxsim(*ADD, *ARGUMENTS, "--json").stdout)
    assert (report["blocks"], report["threads"], report["global_load_bytes"]) == (4, 128, 8000)
    assert report["findings"] == [] and report["lines"]


def test_a_broken_rule_is_named_with_its_source_and_is_the_status(arrays):
    words = [TUTORIAL / "add_without_mask.ptx", "--entry", "add_without_mask", "--grid", 4, "--block", 128, *ARGUMENTS]
    done = ptxsim(*words, status=1)
    assert "global access out of bounds in add_without_mask, thread block (3, 0, 0), thread (116, 0, 0)" in done.stdout
    source = (TUTORIAL / "kernels.py").read_text().splitlines()
    line = int(done.stdout.split("source kernels.py:")[1].split()[0])
    assert "the bug" in source[line - 1]
    report = json.loads(ptxsim(*words, "--json", status=1).stdout)
    assert [finding["kind"] for finding in report["findings"]] == ["global access out of bounds"]


def test_an_array_that_is_new_may_not_be_read_before_it_is_written(arrays):
    words = ["--arg", "new:float32:1000", "--arg", "y.npy", "--arg", "x.npy", "--arg", 1000]
    assert "uninitialised global read" in ptxsim(*ADD, *words, status=1).stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.ptx", "--entry", "f", "--grid", 1, "--block", 1], "No such file"),
        ([ADD[0], "--entry", "sub", *ADD[3:]], "no kernel 'sub' in this PTX"),
        ([*ADD, "--arg", "z.npy"], "No such file"),
        ([*ADD, "--arg", "x"], "--arg must be x.npy, new:TYPE:SHAPE, a number or null, got 'x'"),
        ([*ADD, "--arg", "new:float32"], "--arg must be new:TYPE:SHAPE"),
        ([*ADD, "--arg", "new:object:3"], "numbers"),
        ([*ADD, "--arg", "new:float32:0"], "1 to 2^34 bytes"),
        ([*ADD, "--arg", "new:float32:99999999x99999999"], "1 to 2^34 bytes"),
        ([*ADD, "--arg", 1], "takes 6 arguments, not 1"),
        ([*ADD[:4], "a", "--block", 1], "must be one to three whole numbers"),
        ([*ADD[:4], "1,1,1,1", "--block", 1, *ARGUMENTS], "one to three positive sizes"),
        ([*ADD[:4], 1, "--block", 2048, *ARGUMENTS], "at most 1024 threads"),
    ],
)
def test_a_wrong_call_is_named(arrays, words, message):
    said = ptxsim(*words, status=2).stderr
    assert message in said and said.count('"') == 0


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)), b".version 8.7\n.entry f( .param"])
def test_what_is_no_ptx_is_named_with_the_file(arrays, content):
    Path("no.ptx").write_bytes(content)
    assert "ptxsim: no.ptx: " in ptxsim("no.ptx", "--entry", "f", "--grid", 1, "--block", 1, status=2).stderr


def test_pickles_are_not_loaded(arrays):
    np.save("p.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert "allow_pickle=False" in ptxsim(*ADD, "--arg", "p.npy", status=2).stderr
