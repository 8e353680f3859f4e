"""The example of docs/large-collections.md with Ray on one machine, while a worker is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq

from dcnn_fast import Scorer
from tests.serve.server import picture

EXAMPLE = Path(__file__).parents[2] / "examples" / "ray_collection.py"
# Starts Ray as on one machine, with three CPUs whatever the machine has.
PROGRAM = """
import runpy, sys, ray
ray.init(num_cpus=3, include_dashboard=False, object_store_memory=80_000_000, log_to_driver=False)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")

import os
from dcnn_fast.batch import ScoreBatch
scored = ray.data.read_binary_files(sys.argv[1] + "/0.jpg", include_paths=True).map_batches(
    ScoreBatch, fn_constructor_kwargs={"model": os.environ["MODEL"], "content": "bytes"}, batch_format="pyarrow", batch_size=64,
    num_cpus=1, compute=ray.data.ActorPoolStrategy(size=1))
print("columns:", [(row["path"], row["mean"], row["error"], "bytes" in row) for row in scored.take_all()])
"""
PHOTOGRAPHS, SHARDS = 10, 4


def descendants(process):
    """The ids of all processes that a process has started, by their command lines."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found, new = set(), {process}
    while new:
        found |= new
        new = {number for number, parent in parents.items() if parent in found} - found
    return {number: line for number in found - {process} if (line := _line(number))}


def _line(number):
    try:
        return Path(f"/proc/{number}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _started(model, *arguments):
    command = [sys.executable, "-c", PROGRAM, str(EXAMPLE), *map(str, arguments)]
    env = {**os.environ, "MODEL": model, "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    env["RAY_prestart_worker_first_driver"] = "0"  # no idle processes
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def _kill_worker(process, out):
    """Kill one of the scoring processes once a shard is done; returns whether there was one."""
    while process.poll() is None:
        if any(out.glob("scores/*.parquet")):
            workers = [number for number, line in descendants(process.pid).items() if "ScoreShards" in line]
            if workers:
                os.kill(workers[0], signal.SIGKILL)
                return True
        time.sleep(0.02)
    return False


def test_workers_that_are_killed_lose_nothing_and_nothing_appears_twice(tmp_path, model):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    content = picture(height=3000, width=4000, kind="JPEG")  # a tenth of a second each, so that the worker is killed at work
    for i in range(PHOTOGRAPHS):
        (photos / f"{i}.jpg").write_bytes(content)
    process = _started(model, photos, out, SHARDS)
    killed = _kill_worker(process, out)
    said, errors = process.communicate(timeout=300)
    assert process.returncode == 0 and "not done: nothing" in said, errors
    assert killed
    score = Scorer(model).score(content)
    assert f"columns: {[(str(photos / '0.jpg'), score.mean, None, False)]}" in said
    rows = pq.read_table(out / "scores").to_pylist()
    assert len(rows) == PHOTOGRAPHS and {Path(row["path"]).name for row in rows} == {f"{i}.jpg" for i in range(PHOTOGRAPHS)}
    assert all(row["error"] is None and row["views"] == 50 for row in rows)
    assert sum(int(count) for count in re.findall(r"shard \d+: (\d+) scored", said)) <= PHOTOGRAPHS
    assert [path.name for path in sorted((out / "scores").iterdir()) if not path.name.startswith(".")] == [
        f"{number:05d}.parquet" for number in range(SHARDS)
    ]
