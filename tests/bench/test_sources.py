"""Whether figures belong to the present sources: by content, without git, suite by suite."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from bench import result, sources, suites
from bench.result import Result
from bench.row import OURS, Row


@pytest.fixture
def tree(tmp_path):
    """A copy of the project's sources, without git."""
    for name in ("bench", "csrc", "dcnn_fast", "examples", "include"):
        shutil.copytree(sources.ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    shutil.copy(sources.ROOT / "CMakeLists.txt", tmp_path)
    return tmp_path


def _measured(root):
    return {suite: sources.digests(suite, root) for suite in suites.NAMES}


def _edit(path):
    path.write_text(path.read_text() + "\n// changed\n")


def test_every_suite_says_what_decides_it_and_all_of_that_is_there():
    assert set(sources.DECIDED_BY) == set(suites.NAMES)
    for suite in suites.NAMES:
        for entry in sources.entries(suite):
            assert sources.files_of(suite, entry)


def test_a_name_for_which_nothing_is_there_is_an_error(tree, monkeypatch):
    monkeypatch.setitem(sources.DECIDED_BY, "block", ("csrc/gone",))
    with pytest.raises(ValueError, match="csrc/gone"):
        sources.digests("block", tree)


MEASURED = {"block", "score", "backbone", "roofline", "paper", "jpeg", "scaling", "training", "host", "c_library", "serve"}


@pytest.mark.parametrize(
    ("file", "concerned"),
    [
        ("csrc/cpu/conv_impl.h", MEASURED),
        ("CMakeLists.txt", MEASURED | {"read"}),
        ("include/dcnn_fast.h", {"c_library"}),
        ("csrc/core/plan/rim.cpp", MEASURED),
        ("dcnn_fast/networks/presets.py", set(suites.NAMES) - {"backbone", "read"}),
        ("dcnn_fast/ops/mbconv/cpu.py", MEASURED),
        ("dcnn_fast/runtime/cpu.py", {"score", "c_library", "roofline", "paper", "jpeg", "scaling", "host", "serve"}),
        ("dcnn_fast/data/reading.py", {"paper", "jpeg", "scaling", "read", "serve"}),
        ("dcnn_fast/serve/gate.py", {"serve"}),
        ("dcnn_fast/training/update_rule.py", {"training", "host"}),
        ("bench/suites/score.py", {"score"}),
        ("bench/peers/plain.py", {"block", "score", "backbone", "paper", "jpeg", "gpu"}),
        ("bench/gpu_cost.py", {"kernels"}),
        ("csrc/cuda/intrinsics.cuh", set()),
        ("dcnn_fast/ops/block/triton/config.py", {"kernels", "host"}),
        ("dcnn_fast/cli/score.py", set()),
        ("bench/report.py", set()),
    ],
)
def test_a_change_concerns_the_suites_that_it_decides(tree, file, concerned):
    before = _measured(tree)
    assert sources.changed(before, tree) == {}
    _edit(tree / file)
    changed = sources.changed(before, tree)
    assert set(changed) == concerned
    assert all(any(file.startswith(entry) for entry in what) for what in changed.values())


def test_a_new_file_and_a_removed_one_are_changes(tree):
    before = _measured(tree)
    (tree / "csrc" / "cpu" / "new.h").write_text("")
    assert "csrc" in sources.changed(before, tree)["block"]
    (tree / "csrc" / "cpu" / "new.h").unlink()
    assert sources.changed(before, tree) == {}
    (tree / "dcnn_fast" / "plan" / "brute.py").unlink()
    assert set(sources.changed(before, tree)) == MEASURED - {"backbone"}


def test_line_ends_and_caches_are_no_changes(tree):
    before = _measured(tree)
    file = tree / "csrc" / "cpu" / "pack.h"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    (tree / "dcnn_fast" / "plan" / "__pycache__").mkdir()
    (tree / "dcnn_fast" / "plan" / "__pycache__" / "x.py").write_text("")
    (tree / "dcnn_fast" / "ops" / "x.so").write_text("")
    assert sources.changed(before, tree) == {}


def test_results_without_digests_are_not_taken_for_fresh():
    row = Row("block", "block 1", 1, OURS, "fp32", 1.0)
    assert Result({}, {}, rows=(row,)).changed() == {"block": (sources.UNKNOWN,)}
    assert sources.changed({"old": {"csrc": "0"}}) == {"old": (sources.NO_SUITE.format("old"),)}


def _git(root, *arguments):
    subprocess.run(
        ["git", "-C", root, "-c", "user.name=x", "-c", "user.email=x@x", *arguments], check=True, capture_output=True
    )


def test_the_state_has_a_date_and_where_git_tells_it_the_commit(tmp_path):
    assert sources.state(tmp_path).commit is None and sources.state(tmp_path).date
    file = tmp_path / "a.txt"
    file.write_text("a")
    _git(tmp_path, "init")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-m", "a")
    clean = sources.state(tmp_path)
    assert clean.commit and not clean.edited
    file.write_text("b")
    assert sources.state(tmp_path).edited
    inside = tmp_path / "unpacked"  # a tarball inside another project's clone
    inside.mkdir()
    assert sources.state(inside).commit is None


def test_a_result_is_read_as_it_was_written(tmp_path):
    row = Row("block", "block 1", 1, OURS, "fp32", 1.0, ratio=2.0)
    written = Result(
        {"processor": "x"}, {"multiply-adds avx2": 1.0}, sources.State("2026-01-02", "abc1234", True), {"rounds": 5}, (1, 2),
        {"block": {"csrc": "0"}}, ("a sentence",), (row,), ("refused",), ("failed",), ("missed",), ("unjudged",),
    )  # fmt: skip
    file = tmp_path / "x.json"
    file.write_text(written.as_json())
    assert result.read(file) == written
    for text in ("", "[]", "{}", '{"machine": {}, "limits": {}, "rows": [{"suite": 1}]}'):
        file.write_text(text)
        with pytest.raises(ValueError, match=r"x\.json is no result of the benchmark"):
            result.read(file)
