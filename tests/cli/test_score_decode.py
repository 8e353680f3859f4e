"""`dcnn-fast score --decode scaled --long-side N`: the scored pixels, the record, and which runs can be resumed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from dcnn_fast import Scorer
from tests.cli.command import VIEWS, rows, score

PICTURE = np.asarray(
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (20, 30, 3)).astype(np.uint8)).resize((480, 320))
)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.jpg"
    Image.fromarray(PICTURE).save(path, quality=92)
    return path


def run(model, photo, table, *options):
    result = score(model, photo, "--csv", table, *options)
    assert result.returncode == 0, result.stderr
    (row,) = rows(table)
    return float(row["mean"]), json.loads((table.parent / f"{table.name}.run.json").read_text())["settings"]


def test_the_rows_are_those_of_such_a_scorer(model, photo, tmp_path):
    for options, more in (
        ((), {}),
        (("--long-side", "100"), {"long_side": 100}),
        (("--long-side", "100", "--decode", "scaled"), {"long_side": 100, "decode": "scaled"}),
    ):
        mean, settings = run(model, photo, tmp_path / f"{len(options)}.csv", *options)
        assert mean == pytest.approx(Scorer(model, samples=VIEWS, **more).score(photo).mean, abs=1e-6)
        assert settings["--decode"] == more.get("decode", "exact")
        assert settings["--long-side"] == str(more.get("long_side", "the model's"))


def test_another_size_or_way_of_decoding_is_another_run(model, photo, tmp_path):
    table = tmp_path / "s.csv"
    run(model, photo, table, "--long-side", "100")
    for options, said in (
        ((), "--long-side 100 (here the model's)"),
        (("--long-side", "99"), "--long-side 100 (here 99)"),
        (("--long-side", "100", "--decode", "scaled"), "--decode exact (here scaled)"),
    ):
        result = score(model, photo, "--csv", table, "--resume", *options)
        assert result.returncode == 2 and said in result.stderr
    assert score(model, photo, "--csv", table, "--resume", "--long-side", "100").returncode == 0


def test_a_run_from_before_there_were_the_options_goes_on(model, photo, tmp_path):
    table, record = tmp_path / "s.csv", tmp_path / "s.csv.run.json"
    run(model, photo, table)
    said = json.loads(record.read_text())
    for option in ("--long-side", "--decode"):
        del said["settings"][option]
    record.write_text(json.dumps(said))
    assert score(model, photo, "--csv", table, "--resume").returncode == 0
    result = score(model, photo, "--csv", table, "--resume", "--long-side", "100")
    assert result.returncode == 2 and "--long-side the model's (here 100)" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--decode", "scaled"), "give long_side"),
        (("--decode", "quick"), "decode must be one of exact, scaled"),
        (("--long-side", "0"), "--long-side"),
        (("--long-side", "99999999"), "long_side must be an integer from 1 to 65536"),
    ],
)
def test_what_cannot_be_done_is_named_before_anything_is_written(model, photo, tmp_path, options, message):
    result = score(model, photo, "--csv", tmp_path / "s.csv", *options)
    assert result.returncode == 2 and message in result.stderr and "Traceback" not in result.stderr
    assert not (tmp_path / "s.csv").exists()
