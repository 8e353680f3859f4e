"""docs/performance.md and the README's table: the figures of result files, marked where sources have changed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from bench import readme, release, result, sources
from bench.effort import FULL
from bench.readme import END, START, Mark, marks, marks_in, section, section_of, stale
from bench.result import Result
from bench.row import OURS, OURS_BF16, Row
from bench.sources import State
from bench.suites import jpeg, kernels, score, training
from dcnn_fast.ops.gpus import GPUS

FILE = "bench/results/x.json"


def test_page_and_readme_are_made_from_the_committed_results_and_mark_what_is_stale():
    """Fails when a change made figures stale, or a new measurement made them fresh: run `python -m bench.readme`."""
    text = section_of((sources.ROOT / readme.PAGE).read_text())
    found = readme.named(result.committed(), sources.ROOT)
    carried = marks_in(text)
    assert stale(carried) == stale(marks(found, carried, "now")), "run `python -m bench.readme`"
    assert section(found, carried) == text, "run `python -m bench.readme`"
    front = section_of((sources.ROOT / readme.README).read_text(), readme.FIGURES_START, readme.FIGURES_END)
    assert readme.figures(found, carried) == front, "run `python -m bench.readme`"


def _rows():
    rows = []
    for case, ours, ratio in ((score.GRID_1, 0.1, 3.0), (score.GRID_8, 0.05, 0.9), (score.GRID_8_EVERY, 0.05, 5.0)):
        rows += [
            Row("score", case, 2, OURS_BF16, "bf16", ours, ratio=ratio),
            Row("score", case, 2, "torch eager bf16", "bf16", 9.0, setting="NCHW"),
            Row("score", case, 2, "OpenVINO bf16", "bf16", ours * ratio, setting="2 streams"),
            Row("score", case, 2, "OpenVINO", "fp32", 0.001, setting="1 stream"),
        ]
    for part, seconds, ratio in ((jpeg.DECODING, 0.2, None), (jpeg.NETWORK, 0.16, 1.25), (jpeg.WHOLE, 0.3, None)):
        note = "3 originals of 12.2, 9.7, 9.1 megapixels, seconds an image"
        rows.append(Row("jpeg", part, 2, OURS_BF16, "bf16", seconds, ratio=ratio, note=note))
    for by, precision, factor in ((OURS, "fp32", 1), (OURS_BF16, "bf16", 0.5)):
        for threads in (1, 2):
            for part in ("from files", "network"):
                note = "8 photographs scaled to 2048; the paper: 80 min on K40"
                rows.append(Row("paper", f"dcnn, {part}", threads, by, precision, 600 * factor / threads, note=note))
    rows += [
        Row("training", training.SCNN, 2, OURS, "fp32", 1.5, setting="ties first", peak_bytes=60),
        Row("training", training.SCNN, 2, "torch eager", "fp32", 3.0, peak_bytes=100),
        Row("kernels", "block 1, 50 windows", 0, "A100 fp16 triton (modelled)", "fp16", 1.0),
        Row("host", "a case", 1, OURS, "fp32", 1e-4),
    ]
    return tuple(rows)


def _result(root=sources.ROOT, **changes):
    """Results of all suites, for the sources in `root`."""
    limits = {"multiply-adds avx2": 100.0, "torch GEMM 2048 float32": 90.0, "torch GEMM 2048 bfloat16": 200.0}
    machine = {"processor": "a processor", "cores": 2, "packages": {"torch": "2"}}
    fields = {
        "measured": State("2026-01-02", "abc1234"), "effort": FULL.as_dict(), "threads": (1, 2), "rows": _rows(),
        "digests": {suite: sources.digests(suite, root) for suite in sources.DECIDED_BY},
    }  # fmt: skip
    return Result(machine, limits, **{**fields, **changes})


def test_the_section_has_the_ratios_the_files_the_paper_and_the_losses():
    wrong = {"refused": ("block 1, OpenVINO: output differs",), "missed": ("block 1: too slow",), "failed": ("suite jpeg",)}
    text = section({FILE: _result(**wrong)}, [])
    for line in (
        "| 50 samples, SCNN, grid 1 | bf16 | 100 ms, OpenVINO 300 ms, **3.00** |",
        "| 50 samples, SCNN, grid 8 | bf16 | 50 ms, OpenVINO 45 ms, **0.90** |",
        "| 50 samples, SCNN, grid 8, peers given equal windows too | bf16 | 50 ms, OpenVINO 250 ms, **5.00** |",
        "| bf16 | 2 | 200 ms | 160 ms | 300 ms | 1.25 |",
        "| network | the paper | fp32, 1 thread | fp32, 2 threads | bf16, 1 thread | bf16, 2 threads |",
        "| dcnn | 80 min on K40 | 10.0 / 10.0 min | 5.0 / 5.0 min | 5.0 / 5.0 min | 2.5 / 2.5 min |",
        "| SCNN, a training step, 2 threads | 1.50 s, ties first | 3.00 s, **2.00** | 60% |",
        "- SCNN, grid 8, 2 threads, bf16: 0.90 x",
        "- block 1, OpenVINO: output differs",
        "- block 1: too slow",
        "- suite jpeg",
    ):
        assert line in text.splitlines(), line
    assert "Measured on a processor, 2 cores (2026-01-02, abc1234)" in text
    assert "3 originals of 12.2, 9.7, 9.1 megapixels" in text
    assert re.search(r"bench/results/x\.json", text)
    assert "Stale" not in text


def test_each_table_says_whether_its_figures_were_measured_counted_or_modelled():
    parts = section({FILE: _result()}, []).split("\n\n")
    kinds = [part.strip("*:") for part in parts if part.startswith("*") and part.endswith(":*")]
    tables = [part for part in parts if part.startswith("|")]
    assert len(kinds) >= 6 and len(tables) >= 6
    assert kinds[-2:] == [
        "Measured, with the launches for GPUs counted and not run",
        "Modelled, from what the PTX simulator counted; nothing ran on a GPU",
    ]
    assert set(kinds[:-2]) == {"Measured"}


def test_what_is_modelled_is_the_models_of_now_whatever_a_result_has():
    (line,) = (line for line in section({FILE: _result()}, []).splitlines() if line.startswith("| block 1, 50 windows"))
    cells = line.strip("| ").split(" | ")[1:]
    assert len(cells) == len(GPUS)
    for gpu, cell in zip(GPUS, cells, strict=True):
        times = {
            row.name: (row.seconds, (row.share or 0) * row.seconds)
            for row in kernels.rows()
            if isinstance(row, Row) and row.case == "block 1, 50 windows" and row.name.startswith(f"{gpu.name} fp16")
        }
        (triton, floor), (by_hand, _) = (times[f"{gpu.name} fp16 {by} (modelled)"] for by in ("triton", "cuda"))
        assert cell == f"{1e3 * triton:.2g}, {1e3 * by_hand:.2g} ({1e3 * floor:.2g})"
    notes = (sources.ROOT / "docs" / "gpu-notes.md").read_text()
    assert "(performance.md)" in notes and "| block 1 |" not in notes, "one table of them"


def test_a_mark_is_read_as_it_was_written():
    carried = [Mark(FILE, ("block", "score"), "2026-01-02, after abc1234", ("csrc", "dcnn_fast/ops"))]
    assert marks_in(section({FILE: _result()}, carried)) == carried


def test_a_mark_names_the_suites_and_what_changed_and_keeps_its_date():
    old = {suite: {**sources.digests(suite)} for suite in sources.DECIDED_BY}
    old["jpeg"]["dcnn_fast/data/reading.py"] = "0"
    (first,) = marks({FILE: _result(digests=old)}, [], "monday")
    assert first == Mark(FILE, ("jpeg",), "monday", ("dcnn_fast/data",))
    old["paper"]["csrc"] = "0"
    later = marks({FILE: _result(digests=old)}, [first], "tuesday")
    assert {(mark.suites, mark.since) for mark in later} == {(("jpeg",), "monday"), (("paper",), "tuesday")}
    assert marks({FILE: _result()}, later, "wednesday") == []


def test_where_only_some_tables_are_stale_each_of_them_says_so():
    text = section({FILE: _result()}, [Mark(FILE, ("jpeg",), "monday", ("csrc",))])
    assert text.startswith("**Stale since monday**: the figures of jpeg in `bench/results/x.json`")
    table = text.index("DCNN, 50 samples, grid 1, from JPEG files")
    assert text[:table].endswith("(**Stale**, as said above: jpeg.)\n\n*Measured:*\n\n") and text.count("(**Stale**") == 1
    every = section({FILE: _result()}, [Mark(FILE, _result().suites, "monday", ("csrc",))])
    assert every.count("Stale") == 1


def test_other_results_are_named_with_their_marks():
    mark = Mark("bench/results/old.json", ("block",), "monday", ("csrc",))
    text = section({FILE: _result(), "bench/results/old.json": _result()}, [mark])
    assert (
        "- [`bench/results/old.json`](../bench/results/old.json): score, jpeg, paper, training, kernels, host on a proc" in text
    )
    assert not text.startswith("**Stale") and str(mark) in text and marks_in(text) == [mark]


@pytest.fixture
def tree(tmp_path):
    """A copy of the project without git, with fresh results and pages that say so."""
    for name in ("bench", "csrc", "dcnn_fast", "examples", "include"):
        ignored = shutil.ignore_patterns("__pycache__", "*.safetensors", "results")
        shutil.copytree(sources.ROOT / name, tmp_path / name, ignore=ignored)
    for name in ("CMakeLists.txt", "Makefile", "constraints.txt", "pyproject.toml"):
        shutil.copy(sources.ROOT / name, tmp_path)
    folder = tmp_path / "bench" / "results"
    folder.mkdir()
    shutil.copy(sources.ROOT / "bench" / "results" / "kernel-counts.json", folder)
    (folder / "x.json").write_text(_result(tmp_path).as_json())
    (tmp_path / "docs").mkdir()
    (tmp_path / readme.PAGE).write_text(f"before\n{START}\n{END}\nafter\n")
    (tmp_path / readme.README).write_text(f"before\n{readme.FIGURES_START}\n{readme.FIGURES_END}\nafter\n")
    return tmp_path


def _command(tree, module):
    """`python -m bench.readme` or `bench.release` for the copy."""
    return CliRunner().invoke(module.app, ["--root", str(tree)])


def _edit(path):
    path.write_text(path.read_text() + "\n// changed\n")


def test_one_command_sets_and_takes_the_mark_and_the_release_is_refused_meanwhile(tree):
    file, front = tree / readme.PAGE, tree / readme.README
    assert "is not of these results" in _command(tree, release).stderr
    assert _command(tree, readme).exit_code == 0
    fresh = file.read_text()
    assert fresh.startswith("before\n") and fresh.endswith("after\n") and "Stale" not in fresh
    assert "| 50 samples, SCNN, grid 1, 2 threads |" not in front.read_text()  # the made-up results have scores in bf16 only
    assert "| SCNN, a training step, 128 windows, 2 threads | 1.50 s | torch eager, 3.00 s | **2.00** |" in front.read_text()
    assert _command(tree, release).exit_code == 0
    kernel = tree / "csrc" / "cpu" / "conv_impl.h"
    before = kernel.read_text()
    _edit(kernel)
    refused = _command(tree, release)
    assert refused.exit_code == 1
    assert "not to be released: bench/results/x.json: the figures of score are stale (changed: csrc)" in refused.stderr
    _command(tree, readme)
    marked = file.read_text()
    assert f"**Stale since {sources.state(tree).date}**: the figures of score, jpeg, paper, training, host in" in marked
    _edit(kernel)
    _command(tree, readme)
    assert "**Stale**: sources of score, training have changed" in front.read_text()
    assert file.read_text() == marked  # the next change needs no other mark
    assert _command(tree, release).exit_code == 1  # the mark does not make them fresh
    kernel.write_text(before)
    _command(tree, readme)
    assert file.read_text() == fresh
    assert _command(tree, release).exit_code == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"effort": {**FULL.as_dict(), "tiny": True}}, "no file in bench/results is of the whole benchmark"),
        ({"refused": ("OpenVINO: output differs",)}, "x.json: OpenVINO: output differs"),
        ({"failed": ("suite jpeg: no memory",)}, "x.json: suite jpeg: no memory"),
        ({"unjudged": ("block 1: no row",)}, "x.json: block 1: no row"),
    ],
)
def test_results_that_are_not_of_the_whole_benchmark_or_disagree_are_not_released(tree, changes, said):
    (tree / "bench" / "results" / "x.json").write_text(_result(tree, **changes).as_json())
    _command(tree, readme)
    refused = _command(tree, release)
    assert refused.exit_code == 1 and said in refused.stderr and "Traceback" not in refused.stderr


def test_make_release_check_refuses_and_accepts(tree):
    """With the Makefile's own recipe, in an environment that is already set up."""
    _command(tree, readme)
    command = ["make", "release-check", f"VENV={sys.prefix}", f"--assume-old={sys.prefix}/.installed"]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    accepted = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    _edit(tree / "csrc" / "cpu" / "conv_impl.h")
    refused = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    assert refused.returncode != 0 and "the figures of paper are stale (changed: csrc)" in refused.stderr


def test_a_file_that_holds_no_result_and_a_page_without_a_section_are_said_on_one_line(tree):
    (tree / "bench" / "results" / "y.json").write_text(json.dumps({"rows": 1}))
    for module in (readme, release):
        done = _command(tree, module)
        assert done.exit_code in (1, 2) and "y.json is no result of the benchmark" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    (tree / "bench" / "results" / "y.json").unlink()
    for page in (readme.README, readme.PAGE):
        (tree / page).write_text("nothing\n")
        done = _command(tree, readme)
        assert done.exit_code == 2 and "no section begins with" in done.stderr and "Traceback" not in done.stderr
