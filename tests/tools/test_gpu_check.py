"""The command for the first session on a GPU, run in the simulator; and how it reads the output of a GPU's own tools."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from bench.gpu_cost import BY_HAND, STAGED, WARPGROUP, counted_tiles
from dcnn_fast import engine
from dcnn_fast.ops.block.cuda.warpgroup import by_warps
from dcnn_fast.ops.gpus import CAPABILITIES, HOPPER
from devtools.launches import scoring_problems
from tests import warm
from tools import older_toolchain
from tools.gpu_check import end_to_end, plain_tree, predictions, profile, real_tensors, report, sanitizer, sequence
from tools.gpu_check.report import Ran
from tools.gpu_check.shares import SOME_NOT_DONE
from tools.gpu_check.stage import ROOT, Finding, OutOfTimeError, Piece, Setting, Stage, whole
from tools.gpu_check.times import tiles_of

PROGRAM = "import runpy, sys; sys.argv[0] = 'gpu_check'; runpy.run_module('tools.gpu_check', run_name='__main__')"
STAGES = ["versions", "families", "sanitizer", "tests", "scores", "times", "profile", "predictions"]


def command(*arguments, cwd=ROOT):
    """The command, run from the project's folder as its users start it."""
    return warm.run(PROGRAM, arguments, cwd, "", {**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """The report of a run in the simulator, and the finished command."""
    out = tmp_path_factory.mktemp("check")
    done = command("--device", "sim", "--out", out)
    return json.loads((out / "report.json").read_text()), done, out


def test_every_stage_runs_and_passes_in_the_simulator(simulated):
    found, done, _ = simulated
    assert done.returncode == 0, done.stdout + done.stderr
    assert [(stage["name"], stage["status"]) for stage in found["stages"]] == [(name, "passed") for name in STAGES]
    assert found["simulated"] is True and found["total"] == len(STAGES)
    assert all(stage["findings"] for stage in found["stages"])
    by_name = {stage["name"]: {each["name"]: each for each in stage["findings"]} for stage in found["stages"]}
    assert len([each for each in by_name["families"].values() if each["values"]["launches"]]) >= 15
    assert by_name["tests"]["tests"]["said"].startswith("5 passed")
    assert {each["passed"] for each in by_name["scores"].values()} == {True}
    assert any(name.startswith("step") for name in by_name["times"])


def test_nothing_of_a_simulated_run_passes_for_measured(simulated):
    found, _, out = simulated
    times = [
        value
        for stage in found["stages"]
        for each in stage["findings"]
        for name, value in each["values"].items()
        if "seconds" in name
    ]
    assert times and set(times) == {None}
    assert "nothing here was measured on a GPU" in (out / "report.html").read_text()
    refused = command("--device", "sim", "--out", out, "--only", "predictions", "--write")
    assert refused.returncode == 1 and "the simulator measures no time" in refused.stdout


def test_one_stage_again_leaves_the_others_findings(simulated):
    found, _, out = simulated
    again = command("--device", "sim", "--out", out, "--only", "versions")
    assert again.returncode == 0, again.stderr
    after = json.loads((out / "report.json").read_text())
    assert [stage["name"] for stage in after["stages"]] == STAGES
    assert after["stages"][1] == found["stages"][1] and after["stages"][0]["seconds"] != found["stages"][0]["seconds"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("--device", "tpu"), "--device must be cuda, cuda:N, sim"), (("--only", "nothing"), "invalid choice: 'nothing'")],
)
def test_a_wrong_option_is_refused_by_name(arguments, said, tmp_path):
    done = command(*arguments, "--out", tmp_path / "out")
    assert done.returncode == 2 and said in done.stderr and not (tmp_path / "out").exists()


def test_without_a_gpu_it_says_so_and_the_report_has_it(tmp_path):
    done = command("--only", "versions", "--out", tmp_path)
    assert done.returncode == 1 and "torch finds no CUDA device" in done.stdout
    (stage,) = json.loads((tmp_path / "report.json").read_text())["stages"]
    assert stage["status"] == "failed"


def _raises(setting):
    yield Finding("before", True)
    raise RuntimeError("an illegal memory access was encountered")


def _is_killed(setting):
    yield Finding("before", True)
    os.kill(os.getpid(), signal.SIGKILL)


def _hangs(setting):
    yield Finding("before", True)
    subprocess.run([sys.executable, "-c", "import time; time.sleep(600)"], check=False)


def _is_wrong(setting):
    yield Finding("numbers", False, "0.5 of the largest value")


def _is_right(setting):
    assert [each.name for each in setting.before["raises"]] == ["before", "raises"]
    print("a word in the log")
    yield Finding("numbers", True, values={"error": float("nan")})


def test_a_stage_that_fails_ends_or_hangs_takes_no_other_with_it(tmp_path, monkeypatch, capsys):
    runs = {"raises": _raises, "killed": _is_killed, "hangs": _hangs, "wrong": _is_wrong, "right": _is_right}
    stages = {name: Stage(name, 1.5 if name == "hangs" else 30, f"It {name}.", whole("all", run)) for name, run in runs.items()}
    monkeypatch.setattr(sequence, "STAGES", stages)
    began = time.monotonic()
    assert sequence.run("cuda", tmp_path, list(stages), minutes=1) == 1
    assert time.monotonic() - began < 60
    found = {stage.name: stage for stage in report.read(tmp_path / "report.json")}
    statuses = {name: stage.status for name, stage in found.items()}
    assert statuses == {
        "raises": "failed", "killed": "ended by SIGKILL", "hangs": "timed out", "wrong": "failed", "right": "passed",
    }  # fmt: skip
    assert all(found[name].findings[0] == Finding("before", True) for name in ("raises", "killed", "hangs"))
    assert {name: list(stage.not_done) for name, stage in found.items() if stage.not_done} == {
        name: ["all"] for name in ("raises", "killed", "hangs")
    }  # fmt: skip
    assert sum(stage.seconds for stage in found.values()) <= 60 and all(stage.limit < 60 for stage in found.values())
    assert "illegal memory access" in found["raises"].findings[1].said
    assert "a word in the log" in found["right"].log and found["right"].findings[0].values == {"error": "nan"}
    assert "numbers: 0.5 of the largest value" in capsys.readouterr().out


def test_the_report_is_there_after_every_stage(tmp_path, monkeypatch):
    seen = []

    def run(setting):
        seen.append(report.read(tmp_path / "report.json"))
        yield Finding("stages before", None, str(len(seen[-1])))

    monkeypatch.setattr(
        sequence, "STAGES", {name: Stage(name, 30, "", whole("all", run)) for name in ("first", "second", "third")}
    )
    assert sequence.run("cuda", tmp_path, ["first", "second", "third"]) == 0
    assert [stage.findings[0].said for stage in report.read(tmp_path / "report.json")] == ["0", "1", "2"]


def _takes(seconds):
    def run(setting):
        time.sleep(seconds)
        yield Finding(f"{seconds} s", True)

    return run


def _unfinished(setting):
    yield Finding("half", None, "not finished within 2 seconds")
    raise OutOfTimeError


def test_a_stage_out_of_time_names_what_it_has_not_done_and_the_others_get_what_is_left(tmp_path, monkeypatch, capsys):
    """The first stage leaves most of its share unused; the last of six seconds gets more than its own."""
    works = {
        "short": [Piece("a", _takes(0))],
        "long": [Piece("b", _takes(0)), Piece("c", _takes(1.9)), Piece("d", _takes(0)), Piece("e", _takes(0))],
        "told": [Piece("f", _unfinished), Piece("g", _takes(0))],
    }
    stages = {
        name: Stage(name, share, "", lambda _, own=works[name]: own) for name, share in zip(works, (4, 1, 1), strict=True)
    }
    monkeypatch.setattr(sequence, "STAGES", stages)
    assert sequence.run("cuda", tmp_path, list(stages), minutes=4 / 60) == SOME_NOT_DONE == 3
    short, long, told = report.read(tmp_path / "report.json")
    assert (short.status, list(short.not_done)) == ("passed", [])
    assert (long.status, list(long.not_done)) == ("out of time", ["d", "e"])
    assert (told.status, list(told.not_done)) == ("out of time", ["f"]) and told.findings[1].passed
    assert short.limit < 2.7 and 1.3 < long.limit <= 2 and short.seconds + long.seconds + told.seconds <= 4
    assert "not done: d; e" in capsys.readouterr().out
    page = (tmp_path / "report.html").read_text()
    assert "Not done: d; e" in page and f"seconds used of {long.limit:.1f} granted" in page and "4 seconds for all" in page


def test_what_a_stage_leaves_running_ends_with_it(tmp_path, monkeypatch):
    """A profiler that is killed leaves its program, which the next stage would find on the GPU."""

    ends, held = os.pipe()

    def leaves(setting):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=[held])
        yield Finding("left", True)

    monkeypatch.setattr(sequence, "STAGES", {"leaves": Stage("leaves", 30, "", whole("all", leaves))})
    assert sequence.run("cuda", tmp_path, ["leaves"]) == 0
    os.close(held)
    ended, _, _ = select.select([ends], [], [], 60)  # it can be read when nobody holds the other end
    os.close(ends)
    assert ended


@pytest.mark.parametrize(
    ("findings", "kept"),
    [([True, True], []), ([True, False], [False]), ([RuntimeError("an illegal access")], [False])],
    ids=["right", "wrong", "lost"],
)
def test_a_wrong_score_takes_the_gpu_from_auto_though_the_stage_is_cut(tmp_path, monkeypatch, findings, kept):
    """An earlier check's verdict would stand."""

    def judged(*_):
        for found in findings:
            if isinstance(found, Exception):
                raise found
            yield Finding("score", found)

    said = []
    monkeypatch.setattr(end_to_end, "_judged", judged)
    monkeypatch.setattr(end_to_end.verdict, "keep", lambda device, passed: said.append(passed))
    with suppress(RuntimeError):
        list(end_to_end._of(Setting("cuda", tmp_path), "small", "float16", []))
    assert said == kept


def test_a_tiny_budget_cuts_stages_in_the_simulator_and_the_rest_goes_on(tmp_path):
    done = command("--device", "sim", "--out", tmp_path, "--only", "sanitizer,profile", "--minutes", "0.0005")
    assert done.returncode in (1, 3), done.stdout + done.stderr
    found = report.read(tmp_path / "report.json")
    assert [stage.name for stage in found] == ["sanitizer", "profile"]
    assert all(stage.status in ("timed out", "out of time") and stage.not_done for stage in found)
    assert done.stdout.count("not done: ") == 2


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf", "soon"])
def test_minutes_that_are_none_are_refused(minutes, tmp_path):
    done = command("--device", "sim", "--out", tmp_path / "out", "--minutes", minutes)
    assert done.returncode == 2 and "must be a positive number" in done.stderr and not (tmp_path / "out").exists()


def test_a_file_that_is_no_report_is_refused(tmp_path):
    (tmp_path / "report.json").write_text('{"stages": [{"name": "x"}]}')
    with pytest.raises(ValueError, match="is no report"):
        report.read(tmp_path / "report.json")


def test_what_the_sanitizer_says_is_told_apart():
    works = "========= COMPUTE-SANITIZER\n========= ERROR SUMMARY: 0 errors\n"
    assert sanitizer.judged("memcheck", 0, works).passed is True
    wrong = "========= COMPUTE-SANITIZER\n========= Invalid __global__ write of size 4 bytes\n"
    assert sanitizer.judged("memcheck", 9, wrong).passed is False
    cannot = "========= COMPUTE-SANITIZER\n========= Error: Device not supported.\n"
    assert sanitizer.judged("memcheck", 1, cannot).passed is None
    crashed = sanitizer.judged("racecheck", 1, "Traceback ...\n========= Target application returned an error\n")
    assert crashed.passed is False, "a program that fails under it has failed"
    assert sanitizer.command("memcheck", "cuda:1")[:5] == ["compute-sanitizer", "--tool", "memcheck", "--error-exitcode", "9"]


@pytest.mark.parametrize(
    ("status", "said", "passed", "words"),
    [
        (0, "...\n3 passed, 2 skipped in 1.0s\n", True, "3 passed"),
        (1, "FAILED a.py::b - no\n1 failed, 3 passed in 1.0s\n", False, "1 failed, 3 passed in 1.0s; FAILED a.py::b"),
        (0, "", False, "status 0"), (5, "no tests ran in 0.1s\n", False, "status 5"),
        (None, "!!! KeyboardInterrupt !!!\n90 passed in 80.0s\n", None, "stopped before all had run: 90 passed"),
        (None, "FAILED tests/a.py::b\n1 failed, 90 passed in 80.0s\n", False, "stopped before all had run: 1 failed"),
        (None, "", None, "it has said nothing"),
    ],
)  # fmt: skip
def test_the_end_of_the_tests_is_read(status, said, passed, words):
    found = real_tensors.judged(status, said)
    assert found.passed is passed and words in found.said


def test_tests_that_go_on_for_too_long_are_stopped_and_sum_up():
    program = "try:\n    print(1, flush=True)\n    input()\nexcept KeyboardInterrupt:\n    raise SystemExit(2)"
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"1\n"
    assert real_tensors._ended(process, 0.1) is None and process.returncode == 2
    process.stdin.close()
    process.stdout.close()


def test_ncus_table_is_read_behind_its_other_lines():
    first = next(iter(profile.METRICS.values()))
    rows = [f'"0","block","{first}","%","12.5"', f'"1","block","{first}","%","1,062.0"', '"1","block","other","%","n/a"']
    text = "==PROF== Connected\n" + "\n".join(['"ID","Kernel Name","Metric Name","Metric Unit","Metric Value"', *rows]) + "\n"
    assert profile.metrics(text) == {"tensor pipe": 1062.0}
    assert profile.metrics("==ERROR== no permission") == {}


def _measured():
    """Times of one problem that was counted with several tiles, as stage 6 gives them: the last tile is the fastest."""
    rows = [row for row in counted_tiles().values() if "float16" in row.key]
    key = next(row.key for row in rows if row.tile == STAGED and sum(each.key == row.key for each in rows) > 2)
    tiles = [row.tile for row in rows if row.key == key and row.tile not in BY_HAND]
    seconds = {STAGED: 2e-4, **{tile: 1e-4 / (1 + i) for i, tile in enumerate(tiles)}}
    return (
        key,
        tiles[-1],
        [
            Finding(f"block {tile}", None, values={"problem": key, "tile": tile, "seconds": took})
            for tile, took in seconds.items()
        ],
    )


def test_predictions_stand_beside_what_was_measured_and_written_it_is_the_choice(tmp_path):
    key, fastest, times = _measured()
    device = Finding("device", True, values={"gpu": "NVIDIA H200", "capability": 90})
    before = {"versions": [device], "times": times}
    found = list(predictions.run(Setting("cuda", tmp_path, before)))
    assert len(found) == len(times) and all(each.values["ratio"] > 0 for each in found)
    tiles, choices = tmp_path / "tiles.json", tmp_path / "choice.json"
    tiles.write_text(json.dumps({"90": {"another": "strip"}, "80": {key: "small"}}))
    choices.write_text(json.dumps({"80": {key: [1.0, 2.0]}}))
    groups = tmp_path / "by_warps.json"
    groups.write_text("[]")
    own, *_ = predictions.write(before, predictions.measured(times), "NVIDIA H200", 90, tmp_path, tiles, choices, groups)
    assert groups.read_text() == "[]\n", "warp groups were not timed"
    assert json.loads(tiles.read_text()) == {"90": {"another": "strip", key: fastest}, "80": {key: "small"}}
    written = json.loads(choices.read_text())
    assert written["80"] == {key: [1.0, 2.0]} and written["90"][key][0] == 200.0 > written["90"][key][1]
    (cut,) = predictions.run(Setting("cuda", tmp_path, before, write=True, not_done={"times": ["block"]}))
    assert cut.said == "not run: stage `times` has timed no block in all its tiles"
    assert own.name == "gpu-nvidia-h200.json" and json.loads(own.read_text())["measured"] is True


@pytest.mark.parametrize(("capability", "expected"), [(90, ["never timed", "slower"]), (80, ["faster", "never timed"])])
def test_where_both_were_timed_the_faster_products_are_taken_on_hopper(tmp_path, capability, expected):
    seconds = {"faster": (2e-4, 1e-4), "slower": (1e-4, 2e-4)}  # by single warps, by warp groups
    found = [
        predictions.Measured(problem, tile, took)
        for problem, both in seconds.items()
        for tile, took in zip((STAGED, WARPGROUP), both, strict=True)
    ]
    tiles, choices, groups = (tmp_path / name for name in ("tiles.json", "choice.json", "by_warps.json"))
    for file, text in ((tiles, "{}"), (choices, "{}"), (groups, '["faster", "never timed"]')):
        file.write_text(text)
    predictions.write({}, found, "a GPU", capability, tmp_path, tiles, choices, groups)
    assert json.loads(groups.read_text()) == expected


def test_warp_groups_are_timed_where_the_model_has_them_slower_too():
    slower = [params for params in scoring_problems(1) if by_warps(params)]
    assert slower
    for params in slower:
        assert tiles_of(params, HOPPER)[:2] == [STAGED, WARPGROUP]
        assert all(WARPGROUP not in tiles_of(params, other) for other in CAPABILITIES if other != HOPPER)


def test_the_engine_of_a_plain_tree_is_made_of_every_file_there_is():
    found = plain_tree.sources((ROOT / "CMakeLists.txt").read_text())
    there = {
        str(file.relative_to(ROOT)) for part in ("core", "cpu", "python") for file in (ROOT / "csrc" / part).rglob("*.cpp")
    }
    assert found.keys() == there
    assert found["csrc/cpu/isa_avx2.cpp"] == ["-mavx2", "-mfma"] and found["csrc/cpu/run.cpp"] == []


def _from_a_tree(tmp_path, *arguments, names="versions"):
    """The command in a copy of the sources, without the folder's .pth files, which would lead to the installed project."""
    tree = tmp_path / "tree"
    for part in ("dcnn_fast", "tools", "devtools", "bench", "csrc", "ptxsim"):
        ignored = shutil.ignore_patterns("__pycache__", "*.so", "results")
        shutil.copytree(ROOT / part, tree / part, ignore=ignored, dirs_exist_ok=True)
    shutil.copy(ROOT / "CMakeLists.txt", tree)
    shutil.copytree(ROOT / "bench" / "results", tree / "bench" / "results", dirs_exist_ok=True)
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    environment = {**os.environ, "PYTHONPATH": packages, "OMP_NUM_THREADS": "1"}
    out = ["--out", str(tmp_path / "out")]
    return tree, subprocess.run(
        [sys.executable, "-S", "-m", "tools.gpu_check", "--device", "sim", "--only", names, *out, *arguments],
        cwd=tree, env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


@pytest.mark.needs_engine
def test_it_runs_from_a_tree_that_was_not_installed(tmp_path):
    """Its engine built before."""
    (tmp_path / "tree" / "dcnn_fast").mkdir(parents=True)
    shutil.copy(engine.load().__file__, tmp_path / "tree" / "dcnn_fast")
    tree, done = _from_a_tree(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (stage,) = report.read(tmp_path / "out" / "report.json")
    assert stage.passed and isinstance(stage, Ran)
    said = {each.name: each for each in stage.findings}
    assert said["Triton"].said.endswith(f"from {tree.name}") and Path(tree / "csrc").is_dir()


def test_an_engine_that_is_not_built_in_time_is_cut_and_named(tmp_path, monkeypatch):
    """By a compiler that has written a part of its file when it is killed, and what it has begun with it."""
    compiler, held = tmp_path / "compiler", tmp_path / "held"
    compiler.write_text(f'#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\necho part > "$2"\nsleep 600 > {held}\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    os.mkfifo(held)
    ends = os.open(held, os.O_RDONLY | os.O_NONBLOCK)
    tree, done = _from_a_tree(tmp_path, "--minutes", "0.1", names="versions,scores")
    assert done.returncode == SOME_NOT_DONE, done.stdout + done.stderr
    (stage,) = report.read(tmp_path / "out" / "report.json")
    assert (stage.name, stage.status, list(stage.not_done)) == ("engine", "out of time", ["engine", "versions", "scores"])
    assert stage.limit == pytest.approx(3) and "engine: out of time" in done.stdout
    assert not list((tree / "build" / "plain").glob("*.o"))
    ended, _, _ = select.select([ends], [], [], 60)  # it can be read when nobody holds the other end
    os.close(ends)
    assert ended


def test_older_compilers_that_cannot_be_installed_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    why = older_toolchain.installed(tmp_path / "older")
    assert why is not None and why.startswith("triton==3.6.0 and nvidia-cuda-nvrtc==13.0.88 could not be installed")


@pytest.mark.parametrize(
    ("triton", "nvrtc", "status"),
    [
        ("version 3.6.0, from x", "version 13.0", 0),
        ("version 3.7.1, from x", "version 13.0", 1),
        ("version 3.6.0, from x", "version 13.5", 1),
    ],
)
def test_a_run_by_other_compilers_says_nothing_of_the_older_ones(triton, nvrtc, status, capsys):
    findings = [Finding("Triton", True, triton), Finding("NVRTC", True, nvrtc)]
    assert older_toolchain.others([Ran("versions", "", "passed", 1.0, 2.0, findings, "")]) == status
    assert bool(capsys.readouterr().err) == bool(status)
    assert older_toolchain.others([]) == 1
