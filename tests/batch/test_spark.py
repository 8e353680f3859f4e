"""The page's examples with Spark and Daft, word for word, on one machine; a Spark worker is killed at work."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from dcnn_fast import Scorer
from tests.other_programs import need
from tests.serve.server import picture

PAGE = Path(__file__).parents[2] / "docs" / "large-collections.md"
PICTURES = 6
SPARK = """
import json, os, signal, sys
from pyspark import TaskContext
from pyspark.sql import SparkSession
from dcnn_fast.batch import ScoreBatch

spark = (
    SparkSession.builder.master("local[2, 2]")  # two workers; a task that fails is tried once more
    .config("spark.ui.enabled", "false")
    .config("spark.sql.execution.arrow.maxRecordsPerBatch", "1")
    .getOrCreate()
)
photos = spark.createDataFrame([(path,) for path in sys.argv[2:]], "path string")
photos.createOrReplaceTempView("photos")

# of the page
{lines}
# and again, with a worker that is killed after its first row

def killed_once(frames):
    for done, frame in enumerate(some(frames)):
        if done == 1 and TaskContext.get().partitionId() == 0 and TaskContext.get().attemptNumber() == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        yield frame

again = photos.mapInPandas(killed_once, rows.schema).collect()
print("partitions:", photos.rdd.getNumPartitions())
with open(sys.argv[1], "w") as file:
    json.dump([[row.asDict() for row in found] for found in (rows.collect(), again)], file)
spark.stop()
"""
DAFT = """
import json, sys
import daft, pyarrow
from dcnn_fast.batch import ScoreBatch

# of the page
{lines}

found = daft.from_pydict({{"path": sys.argv[2:]}}).with_column("score", scored(daft.col("path"))).to_pylist()
with open(sys.argv[1], "w") as file:
    json.dump(found, file)
"""


def lines_of(engine):
    """The page's lines from a comment that begins with the engine's name to the next such comment or the end."""
    found = re.search(rf"^# {engine}: .*?(?=^# \w+: |^```)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return found[0]


@pytest.fixture
def paths(tmp_path):
    for number in range(PICTURES - 1):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
    (tmp_path / "bad.png").write_bytes(b"bad")
    return sorted(str(path) for path in tmp_path.glob("*.png"))


def run(program, tmp_path, paths):
    """The JSON that the program writes into the file named to it."""
    out = tmp_path / "out.json"
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    env["JDK_JAVA_OPTIONS"] = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # half of the processor time
    done = subprocess.run(
        [sys.executable, "-c", program, str(out), *paths], capture_output=True, text=True, check=False, timeout=400, env=env
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(out.read_text()), done.stdout


def test_spark_has_the_scorer_s_numbers_and_no_row_twice_when_a_worker_is_killed(tmp_path, paths):
    need("java")
    if find_spec("pyspark") is None:
        pytest.skip("needs the program pyspark")
    (plain, again), said = run(SPARK.format(lines=lines_of("Spark")), tmp_path, paths)
    assert "partitions: 2" in said
    wanted = {score.path: score for score in Scorer().score_many(paths)}
    for rows in (plain, again):
        assert sorted(row["path"] for row in rows) == paths
        for row in rows:
            score = wanted[row["path"]]
            assert (row["mean"], row["label"], row["error"]) == (score.mean, score.label, score.error)
    assert sum(row["error"] is not None for row in plain) == 1


def test_daft_has_the_scorer_s_numbers(tmp_path, paths):
    if find_spec("daft") is None:
        pytest.skip("needs the program daft")
    rows, _ = run(DAFT.format(lines=lines_of("Daft")), tmp_path, paths)
    wanted = [(score.path, {"mean": score.mean, "error": score.error}) for score in Scorer().score_many(paths)]
    assert [(row["path"], row["score"]) for row in rows] == wanted
