"""The command as a user runs it: a process of its own, real files, a small model."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time

MAIN = [sys.executable, "-c", "from dcnn_fast.cli.main import run; run()"]
FIELDS = ["path", "mean", "std", "label", "views", "seed", "error"]
VIEWS = 3


def environment(more=None):
    """This process's, in which Python buffers its output, as it does for users."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {**kept, "OMP_NUM_THREADS": "1", **(more or {})}


def wait_for(process, path):
    """Until the file is there that a process makes."""
    for _ in range(3000):
        if path.exists():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError(f"{path} has not come")


def run(*arguments, env=None, **options):
    """The command with its output as text; options are those of subprocess.run."""
    options = {"capture_output": True, "text": True, "errors": "surrogateescape", "timeout": 120, **options}
    return subprocess.run([*MAIN, *map(str, arguments)], check=False, env=environment(env), **options)


def score(model, *arguments, **options):
    return run("score", "--model", model, "--views", VIEWS, *arguments, **options)


def shell(model, line, env=None, **options):
    """A line of bash, in which `score` is the command; its status is that of the first part of a pipe that fails."""
    function = f"score() {{ '{MAIN[0]}' -c '{MAIN[2]}' score --model '{model}' --views {VIEWS} \"$@\"; }}"
    options = {"capture_output": True, "text": True, "timeout": 120, **options}
    command = ["bash", "-c", f"set -o pipefail\n{function}\n{line}"]
    return subprocess.run(command, check=False, env=environment(env), **options)


def rows(path):
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def names(path):
    """The last parts of the paths in a CSV file, in order."""
    return [os.path.basename(row["path"]) for row in rows(path)]


def files_of(folder):
    """All that is in a folder and its subfolders, by path; of a file its bytes."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}
