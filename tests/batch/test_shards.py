"""Deals and shards: finished work stays, changed or lost rows are scored again, and no photograph appears twice."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dcnn_fast import Scorer, save_model
from dcnn_fast.batch import BatchError, ScoreShards, deal_shards, listing, places, read_deal, unfinished
from tests import small
from tests.export.schemas import require_valid
from tests.serve.server import picture

SHARDS, VIEWS = 4, 3


def planned(folder, out, model, **options):
    return deal_shards(listing([folder]), str(out), SHARDS, model=model, **{"samples": VIEWS, **options})


def done(out, numbers=range(SHARDS), **options):
    """The sums over shards of scored, kept and failed."""
    found = ScoreShards(str(out), **options)({"shard": list(numbers)})
    return tuple(int(found[name].sum()) for name in ("scored", "kept", "failed"))


def rows(out):
    return pq.read_table(f"{out}/scores").to_pylist()


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def test_every_photograph_has_one_row_with_the_scorer_s_numbers(folder, out, model):
    deal = planned(folder, out, model)
    assert deal.photographs == 10 and unfinished(str(out)) == list(range(SHARDS))
    assert done(out) == (10, 0, 1)
    found = {row["path"]: row for row in rows(out)}
    assert len(rows(out)) == len(found) == 10
    for score in Scorer(model, samples=VIEWS).score_many(sorted(found)):
        assert (found[score.path]["mean"], found[score.path]["error"]) == (score.mean, score.error)


def test_a_second_run_does_only_what_has_changed(folder, out, model):
    planned(folder, out, model)
    done(out)
    before = {row["path"]: row for row in rows(out)}
    times = {path: path.stat().st_mtime_ns for path in (out / "scores").iterdir()}
    planned(folder, out, model)
    assert done(out, keep_failures=True) == (0, 10, 1) and unfinished(str(out), keep_failures=True) == []
    assert {path: path.stat().st_mtime_ns for path in (out / "scores").iterdir()} == times  # no shard is even written
    assert done(out) == (1, 9, 1)  # photographs that could not be read are tried again

    (folder / "1.png").write_bytes(picture(50))
    (folder / "2.png").unlink()
    (folder / "new.png").write_bytes(picture(51))
    planned(folder, out, model)
    assert done(out, keep_failures=True) == (2, 8, 1)
    after = {row["path"]: row for row in rows(out)}
    assert len(rows(out)) == len(after) == 10
    assert {Path(path).name for path in after} == {"bad.png", "new.png", "é.png", *(f"{i}.png" for i in (0, 1, 3, 4, 5, 6, 7))}
    changed = {Path(path).name for path in after if before.get(path) != after[path]}
    assert changed == {"1.png", "new.png"}


@pytest.mark.parametrize(
    "damage", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-7]), lambda path: path.write_bytes(b"")]
)
def test_a_shard_that_is_lost_or_not_whole_is_done_again(folder, out, model, damage):
    planned(folder, out, model)
    done(out)
    wanted = rows(out)
    lost = sorted((out / "scores").iterdir())[1]
    count = pq.read_metadata(lost).num_rows
    damage(lost)
    assert 1 in unfinished(str(out), keep_failures=True)
    assert done(out, keep_failures=True)[0] == count and rows(out) == wanted


def test_a_shard_that_is_done_twice_is_the_same(folder, out, model):
    planned(folder, out, model)
    ScoreShards(str(out))({"shard": [0, 1, 1, 2, 3, 0]})
    assert len(rows(out)) == 10


def test_a_store_holds_photographs_plan_and_rows(model):
    system = fsspec.filesystem("memory")
    for i in range(3):
        system.pipe_file(f"/there/in/sub/{i}.png", picture(i))
    system.pipe_file("/there/in/notes.txt", b"")
    deal = deal_shards(listing(["memory://there/in"]), "memory://there/out/run", 2, model=model, samples=VIEWS)
    assert deal.photographs == 3 and unfinished("memory://there/out/run") == [0, 1]
    assert done("memory://there/out/run", range(2)) == (3, 0, 0) and unfinished("memory://there/out/run") == []
    found = [row for i in range(2) for row in pq.read_table(system.open(f"/there/out/run/scores/{i:05d}.parquet")).to_pylist()]
    assert sorted(row["path"] for row in found) == [f"memory:///there/in/sub/{i}.png" for i in range(3)]
    scorer = Scorer(model, samples=VIEWS)
    assert {row["mean"] for row in found} == {scorer.score(picture(i)).mean for i in range(3)}
    system.pipe_file("/there/in/sub/1.png", picture(9))
    deal_shards(listing(["memory://there/in"]), "memory://there/out/run", 2, model=model, samples=VIEWS)
    assert done("memory://there/out/run", range(2)) == (1, 2, 0)


def test_the_plan_s_files_are_as_their_schemas_say(folder, out, model):
    planned(folder, out, model, faults=True)
    require_valid("batch-run.v1", json.loads((out / "run.json").read_text()))
    lines = [json.loads(line) for path in sorted((out / "lists").iterdir()) for line in path.read_text().splitlines()]
    assert len(lines) == 10
    for line in lines:
        require_valid("batch-listed.v1", line)
    assert read_deal(str(out)).settings["--faults"] == "on"


@pytest.mark.parametrize(
    ("options", "shards", "message"),
    [
        ({"samples": 4}, SHARDS, "--samples 3 [(]here 4[)]"),
        ({}, 5, "4 shards [(]here 5[)]"),
        ({"faults": True}, SHARDS, "--faults off"),
    ],
)
def test_a_plan_of_other_settings_is_refused(folder, out, model, options, shards, message):
    planned(folder, out, model)
    before = (out / "run.json").read_bytes()
    with pytest.raises(BatchError, match=message):
        deal_shards(listing([folder]), str(out), shards, model=model, **{"samples": VIEWS, **options})
    assert (out / "run.json").read_bytes() == before


def test_a_worker_with_another_model_refuses(folder, out, model, tmp_path):
    planned(folder, out, model)
    other = tmp_path / "other.safetensors"
    save_model(small.model(views=("warp",)), other)
    with pytest.raises(BatchError, match=r"must be the deal's, which has --model \w{12} [(]here"):
        done(out, model=str(other))
    assert not (out / "scores").exists()


def test_what_is_wrong_is_named(folder, out, model, tmp_path):
    with pytest.raises(BatchError, match="has no deal"):
        done(out)
    with pytest.raises(BatchError, match="shards must be an integer"):
        deal_shards([], str(out), 0, model=model)
    with pytest.raises(BatchError, match="nothing://x: "):
        list(listing(["nothing://x"]))
    with pytest.raises(BatchError, match="gone.png: "):
        list(listing([tmp_path / "gone.png"]))
    planned(folder, out, model)
    with pytest.raises(BatchError, match="shard must be from 0 to 3"):
        done(out, [4])
    with pytest.raises(BatchError, match="must have a column 'shard'"):
        ScoreShards(str(out))({"x": [1]})
    (out / "run.json").write_text("{")
    with pytest.raises(BatchError, match="cannot be read"):
        unfinished(str(out))


def test_a_worker_with_other_settings_refuses(folder, out, model):
    """A worker with another version of the package, for example, has other defaults."""
    planned(folder, out, model)
    run = json.loads((out / "run.json").read_text())
    run["options"]["seed"] = 7
    (out / "run.json").write_text(json.dumps(run))
    with pytest.raises(BatchError, match="must be the deal's, which has --seed 0 [(]here 7[)]"):
        done(out)


def test_the_device_is_a_setting_where_it_decides(folder, out, model):
    """In bfloat16 a GPU rounds between blocks, so a worker whose device differs from the deal's refuses."""
    assert "--device" not in planned(folder, out / "fp32", model).settings
    assert planned(folder, out / "bf16", model, dtype="bfloat16").settings["--device"] == "cpu"
    run = json.loads((out / "bf16" / "run.json").read_text())
    run["settings"]["--device"] = "cuda"
    (out / "bf16" / "run.json").write_text(json.dumps(run))
    with pytest.raises(BatchError, match="must be the deal's, which has --device cuda [(]here cpu[)]"):
        done(out / "bf16")


def test_photographs_that_need_the_extra_are_not_left_out_silently(folder, monkeypatch):
    """A deal without them would drop the rows that they already have."""
    (folder / "a.heic").write_bytes(b"x")
    monkeypatch.setattr("dcnn_fast.data.heif.can_read", lambda: False)
    with pytest.raises(BatchError, match=r"1 [.]heic: these need pip install 'dcnn-fast\[photos\]'"):
        list(listing([folder]))
    assert len(list(listing([folder], exclude=["*.heic"]))) == 10


def test_somebody_else_s_files_are_not_overwritten(folder, out, model):
    theirs = out / "scores" / "00000.parquet"
    theirs.parent.mkdir(parents=True)
    pq.write_table(pa.table({"x": [1]}), theirs)
    before = theirs.read_bytes()
    with pytest.raises(BatchError, match="has scores and no deal"):
        planned(folder, out, model)
    theirs.rename(out / "theirs")
    theirs.parent.rmdir()
    planned(folder, out, model)
    theirs.parent.mkdir()
    (out / "theirs").rename(theirs)
    with pytest.raises(BatchError, match="is no file of a shard, and is not overwritten"):
        done(out)
    assert theirs.read_bytes() == before


@pytest.mark.parametrize("lists", [0, 2])
def test_a_plan_that_was_killed_goes_on(folder, out, model, lists, monkeypatch):
    written = []

    def write(place, content):
        if len(written) > lists:
            raise KeyboardInterrupt
        written.append(place)
        places.write(place, content)

    monkeypatch.setattr("dcnn_fast.batch.deal.write", write)
    with pytest.raises(KeyboardInterrupt):
        planned(folder, out, model)
    monkeypatch.undo()
    require_valid("batch-run.v1", json.loads((out / "run.json").read_text()))
    with pytest.raises(BatchError, match="was not finished"):
        done(out)
    planned(folder, out, model)
    assert done(out) == (10, 0, 1)


def test_a_list_that_is_not_whole_is_refused(folder, out, model):
    planned(folder, out, model)
    part = next(path for path in sorted((out / "lists").iterdir()) if path.stat().st_size)  # a path's digest decides its shard
    lines = part.read_bytes().splitlines(keepends=True)
    part.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(BatchError, match=f"it has {len(lines) - 1} lines, and {len(lines)} in the deal"):
        done(out)


def test_addresses_of_this_machine_are_its_paths(folder, out, model):
    assert list(listing([f"file://{folder}", folder])) == 2 * list(listing([folder]))
    deal_shards(listing([folder]), f"local://{out}", SHARDS, model=model, samples=VIEWS)
    assert done(f"file://{out}") == (10, 0, 1) and len(rows(out)) == 10


def test_names_that_are_no_text_have_rows(folder, out, model):
    os.rename(folder / "3.png", os.fsencode(folder) + b"/\xff.png")
    planned(folder, out, model)
    assert done(out) == (10, 0, 1) and any("\\xff.png" in row["path"] for row in rows(out))
    assert done(out, keep_failures=True) == (0, 10, 1)


def test_shards_pickle_without_weights(folder, out, model):
    planned(folder, out, model)
    shards = ScoreShards(str(out))
    shards({"shard": [0]})
    assert len(pickle.dumps(shards)) < 1000
