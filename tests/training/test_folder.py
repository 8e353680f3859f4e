"""The folder of a run: files that are never overwritten, and files that cannot be written."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from dcnn_fast.data import Example
from dcnn_fast.nets import load_model
from dcnn_fast.training import CheckpointError, Settings, train
from dcnn_fast.training.checkpoint import load_checkpoint
from dcnn_fast.training.durable_files import put
from dcnn_fast.training.folder import BEST, CHECKPOINT, Folder
from tests import warm
from tests.training import sets

ROOT = Path(__file__).parents[2]
SETTINGS = Settings(epochs=2, batch=8)
FILES = ("best.safetensors", "checkpoint.safetensors", "curves.png", "last.safetensors", "log.csv", "run.toml", "times.csv")


def run(out, **options):
    return train(sets.net(), sets.data_set(16, 8), options.pop("settings", SETTINGS), out, **options)


@pytest.mark.parametrize("name", ["log.csv", "best.safetensors", "holiday.jpg", "notes"])
def test_a_folder_with_other_peoples_files_is_refused(tmp_path, name):
    (tmp_path / name).write_text("precious")
    for resume in (False, True):
        with pytest.raises(CheckpointError, match=f"out must be a new or an empty folder, or that of a run, .* holds {name}"):
            run(tmp_path, resume=resume)
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "precious"


def test_hidden_files_and_the_log_of_the_command_itself_may_be_there(tmp_path):
    (tmp_path / ".DS_Store").write_bytes(b"x")
    code = "from tests.training.test_folder import run, Path; import sys; run(Path(sys.argv[1]))"
    with open(tmp_path / "out.txt", "w") as log:
        found = subprocess.run([warm.python(), "-c", code, tmp_path], cwd=ROOT, stdout=log, stderr=log, check=False)
    assert found.returncode == 0, (tmp_path / "out.txt").read_text()
    assert (tmp_path / "last.safetensors").is_file()


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "a").write_text("x")
    with pytest.raises(CheckpointError, match="out must be a folder"):
        run(tmp_path / "a")
    (tmp_path / "b").symlink_to(tmp_path / "b")
    with pytest.raises(CheckpointError, match="out must be a folder"):
        run(tmp_path / "b")


@pytest.mark.parametrize("name", FILES)
def test_each_file_fails_alone_and_is_named(tmp_path, name):
    """A folder blocks one file; the weights are those of a run that wrote all files."""
    whole = tmp_path / "whole"
    run(whole, settings=replace(SETTINGS, epochs=1))
    broken = tmp_path / "broken"
    told = []
    outcome = _run_with(broken, name, told.append)
    assert list(outcome.unwritten) == [name]
    assert told and told[0].startswith(f"{broken / name} could not be written: ")
    assert {path.name for path in broken.iterdir() if path.is_file()} == set(FILES) - {name}
    if name != "last.safetensors":
        one, other = (load_model(out / "last.safetensors").net.state_dict() for out in (whole, broken))
        assert all(torch.equal(one[key], other[key]) for key in one)


def _run_with(out, name, warn):
    """Train; a folder takes the place of a file after the run has begun."""

    net = sets.net()
    forward = net.forward

    def first(*windows):
        (out / name).mkdir(exist_ok=True)
        return forward(*windows)

    net.forward = first
    return train(net, sets.data_set(16, 8), replace(SETTINGS, epochs=1), out, warn=warn)


def test_a_full_disk_ends_nothing(tmp_path):
    """Files may not exceed 400 bytes: the run ends, names the files it could not write and leaves no partial file."""
    code = (
        "from tests.training.test_folder import run, Path; import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))\n"
        "outcome = run(Path(sys.argv[1]))\n"
        "print(len(outcome.history), *sorted(outcome.unwritten))"
    )
    found = warm.run(code, [tmp_path / "run"], cwd=ROOT)
    assert found.returncode == 0, found.stderr
    epochs, *unwritten = found.stdout.split()
    assert epochs == "2" and set(FILES) - {"log.csv", "times.csv"} <= set(unwritten)
    assert "RuntimeWarning: " in found.stderr and "checkpoint.safetensors could not be written: " in found.stderr
    assert {path.name for path in (tmp_path / "run").iterdir()} <= {"log.csv", "times.csv"}


def test_what_a_killed_run_has_left_of_any_file_goes_when_the_next_begins(tmp_path):
    """This includes the best model's remains, which the next run may never overwrite. Other hidden files stay."""
    for name in (BEST, CHECKPOINT, "log.csv"):
        left = tmp_path / f".{Path(name).stem}.partial{Path(name).suffix}"
        left.mkdir()
        (left / ".tmpAbCdEf").write_text("half")
    (tmp_path / ".notes.partial.txt").write_text("mine")
    with Folder(tmp_path, print).locked():
        assert {path.name for path in tmp_path.iterdir()} == {".notes.partial.txt", ".lock"}


def test_a_link_is_written_through_and_a_device_is_left_alone(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "a.txt").symlink_to(tmp_path / "disk" / "b.txt")
    put(tmp_path / "a.txt", lambda partial: partial.write_text("new") and None)
    assert (tmp_path / "a.txt").is_symlink() and (tmp_path / "disk" / "b.txt").read_text() == "new"
    (tmp_path / "other").write_text("other")
    (tmp_path / ".d.partial.txt").symlink_to(tmp_path / "other")  # the temporary name under which the file is written
    put(tmp_path / "d.txt", lambda partial: partial.write_text("new") and None)
    assert (tmp_path / "other").read_text() == "other" and not (tmp_path / "d.txt").is_symlink()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "c.txt").symlink_to(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is there and no file"):
        put(tmp_path / "c.txt", lambda partial: partial.write_text("new") and None)
    assert (tmp_path / "pipe").is_fifo() and {path.name for path in tmp_path.iterdir()} == {
        "disk", "a.txt", "pipe", "c.txt", "d.txt", "other",
    }  # fmt: skip


def on_disk(folder, count=16):
    folder.mkdir()
    examples = []
    for i in range(count):
        example = sets.example(i)
        Image.fromarray(example.source).save(folder / f"{i}.png")
        examples.append(Example(str(folder / f"{i}.png"), example.key, example.label))
    return replace(sets.data_set(0, 0), train=tuple(examples[:-4]), test=tuple(examples[-4:]))


def test_what_could_not_be_read_once_is_tried_again(tmp_path):
    """As when a network drive drops out for a while: photographs read again are no longer listed, and count again."""
    data = on_disk(tmp_path / "set")
    gone = [Path(example.source) for example in (data.train[3], data.test[0])]
    for path in gone:
        path.rename(path.with_suffix(".away"))
    settings = Settings(epochs=1, batch=4)
    first = train(sets.net(), data, settings, tmp_path / "run")
    assert set(first.skipped) == {data.train[3].key, data.test[0].key}
    for path in gone:
        path.with_suffix(".away").rename(path)
    again = train(sets.net(), data, replace(settings, epochs=2), tmp_path / "run", resume=True)
    assert again.skipped == {} and [row["skipped"] for row in again.history] == [2, 0]
    assert [row["images"] for row in again.history] == [11, 12] and [row["test_count"] for row in again.history] == [3, 4]
    assert (tmp_path / "run" / "skipped.csv").read_text().splitlines() == ["key,reason"]
    assert again.best is not None and again.best["epoch"] == 2  # measures of three and of four photographs do not compare


def test_another_start_is_refused(tmp_path):
    run(tmp_path / "run", origin="a")
    with pytest.raises(CheckpointError, match="cannot be resumed: starting weights: a before, b now"):
        run(tmp_path / "run", origin="b", resume=True)
    assert run(tmp_path / "run", origin="a", resume=True).unwritten == {}
    assert run(tmp_path / "run", resume=True).unwritten == {}  # a run without an origin is not checked


def children(pid):
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def test_a_worker_that_is_killed_ends_the_run_after_a_checkpoint(tmp_path):
    """As the kernel kills when memory is short. The run resumes from the checkpoint."""
    out = tmp_path / "run"
    code = (
        "from tests.training.test_folder import sets, train, Settings, Path; import os, sys\n"
        "Path(sys.argv[2]).write_text(str(os.getpid()))\n"
        "train(sets.net(), sets.data_set(16, 8), Settings(epochs=100000, batch=8), Path(sys.argv[1]), workers=2)"
    )
    number = tmp_path / "number"
    process = subprocess.Popen([warm.python(), "-c", code, out, number], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while not (out / "checkpoint.safetensors").exists() or len(children(number.read_text())) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(children(number.read_text())[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "was ended by SIGKILL" in errors
    stopped = load_checkpoint(out / "checkpoint.safetensors").progress
    assert stopped.epoch * 2 + stopped.step > 0
