"""Checkpoints that are cut, changed or made up: `--resume` refuses them by name, and never continues from a wrong number."""

from __future__ import annotations

import hashlib
import json
import struct

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from dcnn_fast.training import CheckpointError, Settings, train
from dcnn_fast.training.checkpoint import load_checkpoint
from dcnn_fast.training.session import Session
from tests.training import sets

NAME = "checkpoint.safetensors"
SETTINGS = Settings(epochs=1, batch=8)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a checkpoint after the first of two epochs."""
    out = tmp_path_factory.mktemp("run")
    train(sets.net(), sets.data_set(16, 8), SETTINGS, out)
    return (out / NAME).read_bytes()


def resume(out):
    return train(sets.net(), sets.data_set(16, 8), Settings(epochs=2, batch=8), out, resume=True)


def header_of(data):
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def changed(data, change, *, sealed=True):
    """The checkpoint with a changed entry for the run; sealed: with the changed entry's digest."""
    header, rest = header_of(data)
    entry = json.loads(header["__metadata__"]["dcnn_fast_run"])
    entry = change(entry) or entry
    text = json.dumps(entry)
    header["__metadata__"] = {
        "dcnn_fast_run": text,
        **({"sha256": hashlib.sha256(text.encode()).hexdigest()} if sealed else {}),
    }
    content = json.dumps(header).encode()
    return struct.pack("<Q", len(content)) + content + rest


def progress(**entries):
    return lambda entry: entry["progress"].update(entries)


def settings(**entries):
    return lambda entry: entry["settings"].update(entries)


def row(**entries):
    return lambda entry: entry["progress"]["history"][0].update(entries)


WRONG = {
    "no object": (lambda entry: [1], "format must be 1"),
    "another format": (lambda entry: entry.update(format=2), "format must be 1, got 2"),
    "no progress": (lambda entry: entry.update(progress=None), "progress must be an object, got None"),
    "progress of a list": (lambda entry: entry.update(progress=[1]), r"progress must be an object, got \[1\]"),
    "another entry": (progress(more=1), "progress has no entry more"),
    "a negative epoch": (progress(epoch=-1), "epoch must be a whole number that is not negative"),
    "an epoch of text": (progress(epoch="1"), "epoch must be a whole number"),
    "an epoch that was not": (progress(epoch=2), "history must be a row for each of 2 epochs, got 1"),
    "a step beyond the epoch": (progress(step=3), "at most 2 epochs of 2 steps, got epoch 1, step 3"),
    "a loss that is none": (progress(loss=float("nan")), "loss must be a finite number, got nan"),
    "a loss beyond all": (progress(loss=10**90 * 10**90), "at most 100 digits"),
    "a history of numbers": (progress(history=[1]), "history must be a row of numbers"),
    "a row with text": (row(loss="low"), "history must be a row of numbers"),
    "a row without its epoch": (row(epoch=None), "history must be a row of numbers"),
    "a row of other columns": (row(more=1), "history must be a row of numbers"),
    "a best that is none": (progress(best=[]), "best must be a row of numbers"),
    "a best without a count": (progress(best={"epoch": 1, "step": 2, "loss": 1}), "best must be a row of numbers"),
    "skipped without a reason": (progress(skipped={"a": 1}), "skipped must be a reason for each photograph"),
    "a scale of text": (progress(scaler={"scale": "x"}), "scaler must be the numbers of a loss scale"),
    "means of text": (progress(means=["x"]), "means must be a list of numbers for each column"),
    "a mean too many": (progress(means=[[1, 2, 3]] * 9), "means must be of .* channels"),
    "settings of a list": (lambda entry: entry.update(settings=[]), "its settings cannot be"),
    "no settings": (lambda entry: entry.update(settings={}), "its settings cannot be"),
    "a setting more": (settings(more=1), "its settings cannot be"),
    "drops of text": (settings(drops="x"), "its settings cannot be"),
    "another batch": (settings(batch=4), "batch was 4 and is 8"),
    "no fingerprint": (lambda entry: entry.update(fingerprint=None), "it must say what the run learns from"),
    "an identity of numbers": (lambda entry: entry.update(identity={"labels": 1}), "it must say what the run learns from"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_header_that_cannot_be_is_refused(tmp_path, whole, name):
    change, message = WRONG[name]
    (tmp_path / NAME).write_bytes(changed(whole, change))
    with pytest.raises(CheckpointError, match=message) as caught:
        resume(tmp_path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 2000


def test_a_number_that_was_changed_is_noticed_and_a_file_from_before_digests_is_read(tmp_path, whole):
    digits = whole.replace(b'\\"loss\\": 0.0', b'\\"loss\\": 0.5', 1)
    assert digits != whole
    (tmp_path / NAME).write_bytes(digits)
    with pytest.raises(CheckpointError, match="its header is damaged"):
        load_checkpoint(tmp_path / NAME)
    (tmp_path / NAME).write_bytes(changed(whole, lambda entry: None, sealed=False))
    assert load_checkpoint(tmp_path / NAME).progress.epoch == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda tensors, name: tensors.update({name: tensors[name].view(np.int32)}),
            "must be of the same network; .* different",
        ),
        (
            lambda tensors, name: tensors.update({name: tensors[name] * np.float32("nan")}),
            "must be finite, got NaN or infinity",
        ),
        (lambda tensors, name: tensors.update({name: tensors[name][:1]}), "must be of the same network; .* different"),
        (lambda tensors, name: tensors.pop(name), "must be of the same network; missing"),
        (lambda tensors, name: tensors.update({"x" * 10_000: tensors[name]}), "must be of the same network"),
    ],
)
@pytest.mark.parametrize("kind", ["net", "increment"])
def test_tensors_of_another_kind_are_refused(tmp_path, whole, change, message, kind):
    (tmp_path / NAME).write_bytes(whole)
    tensors = load_file(tmp_path / NAME)
    name = next(name for name in sorted(tensors) if name.startswith(kind) and name.endswith("weight"))
    if kind == "increment" and "missing" in message:
        return  # a parameter that has never been updated has no increment
    change(tensors, name)
    metadata = header_of(whole)[0]["__metadata__"]
    save_file(tensors, tmp_path / NAME, metadata=metadata)
    with pytest.raises(CheckpointError, match=message) as caught:
        resume(tmp_path)
    assert len(str(caught.value)) < 2000


def test_wherever_it_is_cut_or_changed_it_is_refused_or_whole(tmp_path, whole):
    """Changing a byte of the first kilobyte or cutting at a kilobyte gives a one-line error or the written numbers."""
    (tmp_path / NAME).write_bytes(whole)
    wanted = load_checkpoint(tmp_path / NAME)
    rng = np.random.default_rng(0)
    cuts = [whole[:size] for size in range(0, len(whole), 1024)]
    for damaged in [*cuts, *(whole[:at] + bytes([rng.integers(256)]) + whole[at + 1 :] for at in range(1024))]:
        (tmp_path / NAME).write_bytes(damaged)
        try:
            found = load_checkpoint(tmp_path / NAME)
        except CheckpointError as error:
            assert "\n" not in str(error) and len(str(error)) < 2000
        else:
            assert found.progress == wanted.progress and found.settings == wanted.settings


def test_a_checkpoint_from_before_times_had_a_file_of_their_own_goes_on_with_its_own(tmp_path, whole):
    def older(entry):
        entry["progress"]["seconds"] = 0.0
        for each in (entry["progress"]["history"][0], entry["progress"]["best"]):
            each.update(seconds=12.5, images_per_second=1.3)

    (tmp_path / NAME).write_bytes(changed(whole, older))
    outcome = resume(tmp_path)
    assert outcome.history[0]["seconds"] == 12.5 and outcome.history[0]["images_per_second"] == 1.3
    times = (tmp_path / "times.csv").read_text().splitlines()
    assert times[0] == "epoch,images,seconds,images_per_second" and times[1] == "1,16,12.5,1.3" and len(times) == 3
    assert b"seconds" not in (tmp_path / NAME).read_bytes() + (tmp_path / "log.csv").read_bytes()


@pytest.mark.parametrize(
    "times",
    [
        None,
        b"\xff\0",
        # a row of half the same epoch, invalid times, an invalid epoch
        b"epoch,images,seconds,images_per_second\n1,8,0.5,16\n1,16,-2,nan\nx,16,1,1\n",
    ],
)
def test_times_that_are_lost_cost_nothing_else(tmp_path, whole, times):
    (tmp_path / NAME).write_bytes(whole)
    if times is not None:
        (tmp_path / "times.csv").write_bytes(times)
    outcome = resume(tmp_path)
    assert "seconds" not in outcome.history[0] and outcome.history[1]["seconds"] > 0
    rows = (tmp_path / "times.csv").read_text().splitlines()
    assert rows[1] == "1,16,," and rows[2].startswith("2,16,")


@pytest.mark.parametrize("lost", [False, True])
def test_an_epoch_that_was_interrupted_has_all_its_seconds_or_none(tmp_path, monkeypatch, lost):
    """The seconds of its second half never count as the whole epoch's."""

    def killed(self, launched):
        account(self, launched)
        if self.progress.step == 2:
            raise KeyboardInterrupt

    account = Session._account
    monkeypatch.setattr(Session, "_account", killed)
    settings = Settings(epochs=2, batch=8, checkpoint_steps=1)
    with pytest.raises(KeyboardInterrupt):
        train(sets.net(), sets.data_set(16, 8), settings, tmp_path)
    monkeypatch.undo()
    before = (tmp_path / "times.csv").read_text().splitlines()[1].split(",")
    assert before[:2] == ["1", "8"] and float(before[2]) > 0
    before[2] = "1000"
    (tmp_path / "times.csv").write_text("" if lost else f"epoch,images,seconds,images_per_second\n{','.join(before)}\n")
    first, second = train(sets.net(), sets.data_set(16, 8), settings, tmp_path, resume=True).history
    assert second["seconds"] > 0 and second["images_per_second"] > 0
    if lost:
        assert "seconds" not in first and "images_per_second" not in first
    else:
        assert first["seconds"] > 1000 and first["images_per_second"] < 0.016


def test_damaged_logs_are_written_anew(tmp_path, whole):
    (tmp_path / NAME).write_bytes(whole)
    for name in ("log.csv", "times.csv", "skipped.csv", "curves.png", "best.safetensors", "last.safetensors"):
        (tmp_path / name).write_bytes(b"\xff\0damaged" * 100)
    outcome = resume(tmp_path)
    assert not outcome.unwritten and len(outcome.history) == 2
    assert (tmp_path / "log.csv").read_text().startswith("epoch,step,")
