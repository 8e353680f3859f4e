"""`python -m bench --tiny` in its own process: every suite with the real networks and every installed peer.

torch.compile is left out: it compiles for half a minute a block (test_peers.py compiles a small network).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench import cases, floors, result, sources, suites
from bench.effort import TINY
from bench.peers import onnx_peers
from bench.row import OURS, OURS_BF16
from bench.suites import jpeg
from bench.training_step import ALL_TIES
from dcnn_fast import engine, nets

THREADS = 2
ISA = "" if engine.reason() else engine.isa()
# Runs the command and writes the list of project files that it had loaded at the end.
COMMAND = """
import json, runpy, sys
loaded, *sys.argv[1:] = sys.argv[1:]
try:
    runpy.run_module("bench", run_name="__main__", alter_sys=True)
finally:
    files = [module.__file__ for module in list(sys.modules.values()) if getattr(module, "__file__", None)]
    with open(loaded, "w") as file:
        json.dump(files, file)
"""
LAYERS = ("block 1", "block 2", "block 3", "block 4", "fc1000", "fc256")
CASES = {
    "block": {"block 1", "block 2"},
    "score": {"SCNN, grid 1", "SCNN, grid 8", "SCNN, grid 8, peers given equal windows too", "DCNN 800x600, grid 1"},
    "c_library": {"a photograph of many, shipped model 500 x 375", "a process up to its first score, shipped model 500 x 375"},
    "roofline": {f"SCNN, grid 1: {layer}" for layer in LAYERS},
    "paper": {
        f"{name}, {part}"
        for name in ("scnn-arch1", "dcnn", "rdcnn-style", "alexnet", "alexnet-dcnn")
        for part in ("from files", "network")
    },
    "jpeg": {f"DCNN, 12 MP JPEG, {part}" for part in ("end to end", "decoding", "network")},
    "read": {
        f"{size} MP JPEG, {kind}" for size in (5, 12, 24, 50)
        for kind in ("sRGB", "sRGB, turned by its EXIF", "Display P3", "Adobe RGB")
    },
    "scaling": {
        "1 view of 256x256", "2 views of 256x256", "2 views of 400x300", "one image, 2 views",
        "1 image at once, DCNN, 2 views", "2 images at once, DCNN, 2 views",
    },
    "training": {"SCNN, a training step", "DCNN, a training step"},
    "serve": {"score_many in process", "served, as many as it can", "served, four times as many offered"},
    "kernels": {f"block {number}, 50 windows" for number in (1, 2, 3)},
}  # fmt: skip


def _run(
    folder: Path, *arguments: str, **environment: str
) -> tuple[subprocess.CompletedProcess[str], result.Result, list[str]]:
    out, loaded = folder / "out.json", folder / "loaded.json"
    command = [sys.executable, "-c", COMMAND, str(loaded), *arguments, "--tiny", "--check", "--out", str(out)]
    there = {name: value for name, value in os.environ.items() if name != "DCNN_FAST_DATA"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=sources.ROOT,
        env={**there, "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip
    assert out.exists(), done.stdout + done.stderr
    return done, result.read(out), json.loads(loaded.read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Every suite on two threads."""
    return _run(tmp_path_factory.mktemp("whole"), "--threads", str(THREADS), "--no-compiled")


def test_every_suite_runs_to_its_end_and_nobody_disagrees(whole):
    done, found, _ = whole
    assert not (found.refused or found.failed or found.missed or found.unjudged), done.stdout
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(found.digests) == set(suites.NAMES)
    assert found.effort["tiny"] and not found.whole


def _peers():
    """The installed ones among the peers of the extra `bench`."""
    names = {"torch eager", "torch eager bf16"}
    if find_spec("onnx") and find_spec("onnxruntime"):
        names.add("ONNX Runtime")
    if find_spec("onnx") and find_spec("openvino"):
        names |= {"OpenVINO", *(["OpenVINO bf16"] if onnx_peers.openvino_has_bf16() else [])}
    return names


def test_every_case_has_its_rows_and_every_peer_agrees(whole):
    _, found, _ = whole
    assert {suite: {row.case for row in found.rows if row.suite == suite} for suite in CASES} == CASES
    for suite in ("block", "score"):
        for case in CASES[suite]:
            rows = [row for row in found.rows if (row.suite, row.case) == (suite, case)]
            assert {row.name for row in rows} == {OURS, OURS_BF16, *_peers()}
            assert all((row.ratio is not None) == (row.name in (OURS, OURS_BF16)) for row in rows)
            # Only the reference itself has an error of zero; the others compute in another order.
            assert all((row.error > 0) == (row.name != "torch eager") for row in rows)
    for suite in ("roofline", "paper", "jpeg"):
        assert {row.name for row in found.rows if row.suite == suite} == {OURS, OURS_BF16}
    assert {row.name for row in found.rows if row.suite == "training"} == {OURS, ALL_TIES, "torch eager"}
    assert {row.threads for row in found.rows if row.suite in suites.PER_THREADS} == {THREADS}


def test_whole_scores_are_held_against_torch_over_the_same_windows(whole):
    _, found, _ = whole
    for row in found.rows:
        if row.suite == "paper" or (row.suite == "jpeg" and not row.case.endswith("decoding")):
            assert row.error > 0, row.case
    assert all("; the paper: " in row.note and row.ratio for row in found.rows if row.suite == "paper")
    for by in (OURS, OURS_BF16):
        parts = {row.case: row for row in found.rows if row.suite == "jpeg" and row.name == by}
        decoding, network = parts[jpeg.DECODING], parts[jpeg.NETWORK]
        assert network.ratio == decoding.seconds / network.seconds
        assert decoding.ratio is None and parts[jpeg.WHOLE].ratio is None


def test_a_training_process_holds_parameters_gradients_and_increments(whole):
    _, found, _ = whole
    for case, preset in (("SCNN, a training step", cases.SCNN), ("DCNN, a training step", cases.DCNN)):
        shape = cases.described(preset, unit_share=TINY.unit_share)
        weights = 4 * sum(parameter.numel() for parameter in nets.MultiColumn(shape).parameters())
        steps = {row.name: row for row in found.rows if row.case == case}
        assert (steps[OURS].setting, steps[ALL_TIES].setting) == ("ties first", "ties all")
        assert all(3 * weights < row.peak_bytes < 3 * weights + 2**30 for row in steps.values())
        assert steps[OURS].ratio == pytest.approx(steps["torch eager"].seconds / steps[OURS].seconds)


def test_every_floor_is_judged_by_a_real_row(whole):
    _, found, _ = whole
    chosen = [floor for floor in floors.FLOORS if floor.threads in (None, THREADS) and ISA in (floor.isas or (ISA,))]
    judged = floors.judge(found.rows, suites.NAMES, [THREADS], TINY, ISA, chosen)
    assert judged == floors.Judgement()
    for floor in chosen:
        rows = [row for row in found.rows if (row.suite, row.case) != (floor.suite, floor.case)]
        assert floors.judge(rows, suites.NAMES, [THREADS], TINY, ISA, [floor]).unjudged, floor


@pytest.mark.needs_engine
def test_floors_of_one_thread_are_judged_by_a_real_row(whole):
    _, found, _ = whole
    for floor in floors.FLOORS:
        if floor.threads == 1 and ISA in (floor.isas or (ISA,)):
            of = floor.suite, floor.case, floor.precision
            row = next(r for r in found.rows if (r.suite, r.case, r.precision) == of and r.name in floors.MINE)
            assert floor.measure(row, {}) is not None
    assert engine.isas()


def test_what_is_loaded_is_named_as_deciding_figures_or_not(whole):
    """A new package must not be forgotten: staleness of results is decided only by the files of bench/sources.py."""
    *_, loaded = whole
    decide = {name for suite in suites.NAMES for entry in sources.entries(suite) for name in sources.files_of(suite, entry)}
    ours = {Path(file).resolve() for file in loaded}
    names = {file.relative_to(sources.ROOT).as_posix() for file in ours if file.is_relative_to(sources.ROOT)}
    names = {name for name in names if name.split("/")[0] in ("bench", "dcnn_fast")}
    assert len(names) > 50
    unknown = {name for name in names - decide if not any(fnmatch(name, of) for of in (*sources.NO_FIGURES, *sources.ON_GPUS))}
    assert not unknown, "say in bench/sources.py whether these decide figures"


def test_without_the_other_libraries_torch_is_the_only_peer(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nfor name in ('onnx', 'onnxruntime', 'openvino'):\n    sys.modules[name] = None\n"
    )
    done, found, _ = _run(tmp_path, "block", "--threads", "1", "--no-compiled", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert {row.name for row in found.rows} == {OURS, OURS_BF16, "torch eager", "torch eager bf16"}
