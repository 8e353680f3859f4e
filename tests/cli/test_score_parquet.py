"""`score --parquet`: the rows of a run in one file, with the settings that decided them."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from tests import warm
from tests.cli.command import PROGRAM, VIEWS, environment, lines, score
from tests.export.schemas import require_valid


def rows_of(path):
    return {row.pop("path"): row for row in pq.read_table(path).to_pylist()}


def test_the_file_has_the_rows_of_the_others(model, folder, tmp_path):
    (folder / "bad.png").write_bytes(b"bad")
    table, jsonl = tmp_path / "scores.parquet", tmp_path / "scores.jsonl"
    done = score(model, folder, "-r", "--parquet", table, "--jsonl", jsonl, "--faults", "--groups")
    assert done.returncode == 1, done.stderr
    found, said = rows_of(table), {line["path"]: line for line in lines(jsonl)}
    assert len(said) == 6 and found.keys() == said.keys()
    for path, row in found.items():
        wanted = said[path]
        assert json.loads(row.pop("probs") or "{}") == wanted["probs"] and row.pop("schema") == "dcnn_fast.scores.v1"
        assert (row.pop("faults") or "").split() == (["none"] if wanted["faults"] == [] else wanted["faults"] or [])
        assert row.pop("notes") == ("; ".join(wanted["notes"]) or None)
        assert row == {name: wanted[name] for name in row}
    about = json.loads(pq.read_schema(table).metadata[b"dcnn_fast_run"])
    require_valid("run.v1", about)
    assert about == json.loads((tmp_path / "scores.jsonl.run.json").read_text())


def test_groups_are_named_by_their_first_photograph(model, folder, tmp_path):
    (folder / "copy.png").write_bytes((folder / "a.png").read_bytes())
    assert score(model, folder, "--parquet", tmp_path / "s.parquet", "--groups").returncode == 0
    found = rows_of(tmp_path / "s.parquet")
    first = str(folder / "a.png")
    assert found[first]["group"] == found[str(folder / "copy.png")]["group"] == first
    assert [found[str(folder / name)]["best_of_group"] for name in ("a.png", "copy.png")].count(True) == 1


def test_what_a_run_goes_on_with_is_in_it_too(model, folder, tmp_path):
    table, csv = tmp_path / "s.parquet", tmp_path / "s.csv"
    assert score(model, folder / "a.png", folder / "b.JPG", "--csv", csv, "--parquet", table).returncode == 0
    assert len(rows_of(table)) == 2
    assert "exists" in score(model, folder, "--parquet", table).stderr
    assert score(model, folder, "--csv", csv, "--parquet", table, "--resume").returncode == 0
    assert len(rows_of(table)) == pq.read_metadata(table).num_rows == 4
    assert score(model, folder / "a.png", "--parquet", table, "--overwrite").returncode == 0
    assert list(rows_of(table)) == [str(folder / "a.png")]


def test_a_file_of_somebody_else_s_stays(model, folder, tmp_path):
    theirs = tmp_path / "theirs.parquet"
    assert score(model, folder / "a.png", "--parquet", tmp_path / "ours.parquet").returncode == 0
    pq.write_table(pq.read_table(tmp_path / "ours.parquet").select(["path"]), theirs)
    before = theirs.read_bytes()
    for more in ((), ("--overwrite",)):
        done = score(model, folder, "--parquet", theirs, *more)
        assert done.returncode == 2 and "holds something else than a Parquet file of scores" in done.stderr
    assert theirs.read_bytes() == before


def test_a_run_without_a_photograph_writes_a_file_that_is_known_again(model, tmp_path):
    path = tmp_path / "empty.parquet"
    for more in ((), ("--overwrite",)):
        assert score(model, "--parquet", path, *more).returncode == 1
    assert pq.read_metadata(path).num_rows == 0
    pq.write_table(pq.read_table(path).select(["path"]).replace_schema_metadata(), path)
    assert "holds something else" in score(model, "--parquet", path, "--overwrite").stderr


def test_standard_output_takes_it(model, folder):
    done = score(model, folder / "a.png", "--parquet", "-")
    assert done.returncode == 0 and done.stdout.startswith("PAR1") and "rank" not in done.stdout


@pytest.mark.parametrize("there", [True, False])
def test_a_disk_that_is_full_is_said(model, folder, tmp_path, there):
    path = tmp_path / "s.parquet"
    if there:
        assert score(model, folder / "a.png", "--parquet", path).returncode == 0
    before = path.read_bytes() if there else None
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (3500, 3500)); {PROGRAM}"
    words = ["score", "--model", model, "--samples", VIEWS, folder, "--parquet", path, *(["--overwrite"] if there else [])]
    done = warm.run(limited, words, None, "", environment())
    assert done.returncode == 3 and f"error: --parquet {path}: " in done.stderr and "File too large" in done.stderr, done.stderr
    assert (path.read_bytes() if path.exists() else None) == before


def test_without_pyarrow_the_extra_is_named(model, folder):
    program = f"import sys; sys.modules['pyarrow'] = None\n{PROGRAM}"
    done = warm.run(program, ["score", "--model", model, folder, "--parquet", "x.parquet"], None, "", environment())
    assert done.returncode == 2 and done.stderr == "error: --parquet needs pyarrow: pip install 'dcnn-fast[batch]'\n"
