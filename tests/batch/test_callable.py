"""`ScoreBatch` as engines call it: it takes their kinds of batches and gives the same kind, in processes that unpickle it."""

from __future__ import annotations

import json
import pickle
import zipfile

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from dcnn_fast import Scorer
from dcnn_fast.batch import BatchError, ScoreBatch
from dcnn_fast.batch.callable import COLUMNS
from dcnn_fast.data import remote
from tests import warm
from tests.serve.server import picture

VIEWS = 3


@pytest.fixture
def batch(model):
    return ScoreBatch(model, samples=VIEWS)


def paths_of(folder):
    return [str(path) for path in sorted(folder.glob("*.png"))]


def test_an_arrow_table_gets_the_columns_of_the_scorer(batch, model, folder):
    paths = paths_of(folder)
    expected = list(Scorer(model, samples=VIEWS).score_many(paths))
    found = batch(pa.table({"path": paths, "mine": list(range(len(paths)))}))
    assert found.column_names == ["path", "mine", *COLUMNS]
    assert found.column("mean").to_pylist() == [score.mean for score in expected]
    assert found.column("error").to_pylist() == [score.error for score in expected]
    assert json.loads(found.column("probs")[0].as_py()) == expected[0].probs
    assert found.column("width").to_pylist()[:2] == [80, 80] and found.column("mine").to_pylist() == list(range(len(paths)))
    assert found.schema.field("mean").type == pa.float64() and found.schema.field("error").type == pa.string()


def test_pandas_and_mappings_have_the_same_numbers(batch, folder):
    paths = paths_of(folder)
    wanted = batch(pa.table({"path": paths}))
    frame = batch(pd.DataFrame({"path": paths}, index=range(5, 5 + len(paths))))
    assert list(frame.index) == list(range(5, 5 + len(paths))) and list(frame.columns) == wanted.column_names
    columns = batch({"path": np.array(paths, object)})
    assert list(columns) == wanted.column_names and all(isinstance(columns[name], np.ndarray) for name in COLUMNS)
    for found in (frame, columns):
        np.testing.assert_array_equal(found["mean"], [np.nan if x is None else x for x in wanted.column("mean").to_pylist()])
        assert [None if pd.isnull(label) else label for label in found["label"]] == wanted.column("label").to_pylist()
    assert wanted.column("mean").null_count == 1 and wanted.column("error").null_count == len(paths) - 1


def test_an_iterator_of_frames_gives_one_as_spark_wants_it(model, folder):
    """As mapInPandas calls a function, and as it converts the result by a schema."""
    paths = paths_of(folder)
    some = ScoreBatch(model, samples=VIEWS, columns=("mean", "width", "error"))
    found = some(iter([pd.DataFrame({"path": paths[:3]}), pd.DataFrame({"path": paths[3:]})]))
    assert iter(found) is found
    frames = list(found)
    assert [len(frame) for frame in frames] == [3, len(paths) - 3]
    for frame in frames:  # pyspark takes exactly its schema's columns and converts each like this
        assert list(frame.columns) == ["path", "mean", "width", "error"]
        mean, width = (pa.Array.from_pandas(frame[name], mask=frame[name].isnull(), type=kind) for name, kind in
                       (("mean", pa.float64()), ("width", pa.int64())))  # fmt: skip
        assert mean.null_count == width.null_count == frame["error"].notnull().sum()


def test_files_that_the_engine_has_read_are_scored_and_left_out(batch, model, folder):
    paths = paths_of(folder)
    files = [open(path, "rb").read() for path in paths]  # noqa: SIM115
    with_content = ScoreBatch(model, samples=VIEWS, content="bytes")
    found = with_content(pa.table({"path": paths, "bytes": files}))
    assert found.equals(batch(pa.table({"path": paths})))
    nothing = with_content({"path": ["a", "b"], "bytes": [files[0], None]})
    assert nothing["error"].tolist() == [None, "there is no file"] and nothing["mean"][0] == found.column("mean")[0].as_py()


def test_addresses_are_read_from_their_store(batch, folder):
    path = paths_of(folder)[0]
    with fsspec.open("memory://in/a.png", "wb") as file:
        file.write(picture(0))
    asked = ["memory://in/a.png", "memory://in/none.png", "nostore://a.png", None]
    found = batch(pa.table({"path": asked}))
    assert found.column("path").to_pylist() == asked
    assert found.column("mean")[0] == batch(pa.table({"path": [path]})).column("mean")[0]
    errors = found.column("error").to_pylist()
    assert errors[0] is None and errors[1] == "no such file" and "nostore" in errors[2] and errors[3] == "there is no file"


def test_keys_tell_photographs_contents_models_and_settings_apart(model, folder):
    paths = paths_of(folder)[:2]
    table = pa.table({"path": paths, "version": ["1", "1"]})

    def keys(**options):
        return ScoreBatch(options.pop("model", model), version="version", **options)(table).column("key").to_pylist()

    first = keys(samples=VIEWS)
    assert first == keys(samples=VIEWS) == keys(samples=VIEWS, workers=1) and len(set(first)) == 2
    other = pa.table({"path": paths, "version": ["2", None]})
    changed = ScoreBatch(model, version="version", samples=VIEWS)(other).column("key").to_pylist()
    every = [*first, *changed, *keys(samples=2), *keys(samples=VIEWS, seed=1), *keys(samples=VIEWS, faults=True)]
    assert len(set(every)) == len(every)


def test_a_key_does_not_depend_on_the_neighbours_of_a_row(model, folder):
    """pandas turns whole numbers into floats where one is missing; a row without a version has no key."""
    path, other = paths_of(folder)[:2]
    some = ScoreBatch(model, version="version", samples=VIEWS, columns=("mean",))
    wanted = some(pa.table({"path": [path], "version": [1234]})).column("key")[0].as_py()
    versions = [pd.Series([1234, None]), pd.Series(["1234", pd.NA]), pd.Series([1234, pd.NA], dtype="Int64"),
                pd.Series(["1234", float("nan")]), pd.Series(["1234", pd.NaT], dtype=object)]  # fmt: skip
    for version in versions:
        found = some(pd.DataFrame({"path": [path, other], "version": version}))["key"]
        assert [None if pd.isnull(key) else key for key in found] == [wanted, None]
    assert list(some({"path": [path, other], "version": np.array([1234, np.nan])})["key"]) == [wanted, None]
    assert some(pa.table({"path": [path, other], "version": [1234.0, None]})).column("key").to_pylist() == [wanted, None]


def test_a_column_is_overwritten_by_none(model, folder):
    path = paths_of(folder)[0]
    assert ScoreBatch(model, samples=VIEWS)({"path": [path], "key": ["mine"]})["key"] == ["mine"]
    for name in ("key", "mean"):
        with pytest.raises(BatchError, match=f"names that a score's have: {name}"):
            ScoreBatch(model, samples=VIEWS, version=name)({"path": [path], name: ["1"]})


def test_an_archive_is_opened_once(batch, folder, tmp_path, monkeypatch):
    paths, opened = paths_of(folder), []
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for path in paths:
            file.write(path, path.rpartition("/")[2])
    was = remote._opened
    monkeypatch.setattr(remote, "_opened", lambda address: opened.append(address) or was(address))
    asked = [f"zip://{path.rpartition('/')[2]}::{tmp_path}/a.zip" for path in paths]
    found = batch(pa.table({"path": asked}))
    assert len(opened) == 1
    assert found.column("mean").equals(batch(pa.table({"path": paths})).column("mean"))
    assert found.column("path").to_pylist() == asked


def test_it_pickles_as_its_arguments_and_scores_in_another_process(batch, folder, tmp_path):
    table = pa.table({"path": paths_of(folder)})
    wanted = batch(table)
    pickled = pickle.dumps(batch)
    assert len(pickled) < 2000  # no weights
    (tmp_path / "in").write_bytes(pickle.dumps((batch, table)))
    program = "import pickle\nbatch, table = pickle.load(open('in', 'rb'))\npickle.dump(batch(table), open('out', 'wb'))"
    done = warm.run(program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert pickle.loads((tmp_path / "out").read_bytes()).equals(wanted)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, "samples must be"),
        ({"grid": 3}, "grid must be"),
        ({"samples": True}, "samples must be an integer"),
        ({"per_sample": True}, "got per_sample"),
        ({"x": 1}, "got x"),
        ({"columns": ("mean", "group")}, "columns must be of"),
        ({"columns": "mean"}, "columns must be of"),
    ],
)
def test_a_wrong_option_is_named_before_a_model_is_opened(options, message):
    with pytest.raises(ValueError, match=message):
        ScoreBatch("no such file", **options)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"uri": ["a"]}, "must have a column 'path', it has uri"),
        ({"path": ["a"], "mean": [1]}, "names that a score's have: mean"),
        (["a"], "must be an Arrow table, a pandas frame or a mapping"),
    ],
)  # fmt: skip
def test_a_wrong_batch_is_refused(batch, given, message):
    with pytest.raises(BatchError, match=message):
        batch(given)


def test_without_pyarrow_the_extra_is_named():
    program = "import sys; sys.modules['pyarrow'] = None\nfrom dcnn_fast.batch import ScoreBatch\nScoreBatch()"
    done = warm.run(program)
    assert done.returncode == 1 and "needs pyarrow: pip install 'dcnn-fast[batch]'" in done.stderr.splitlines()[-1]
