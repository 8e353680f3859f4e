"""Runs the command as a user does: in its own process, with real files and a small model."""

from __future__ import annotations

import csv
import json
import os
import shlex
import subprocess
import sys
import time

from tests import warm

PROGRAM = "import sys; sys.argv[0] = 'dcnn-fast'; from dcnn_fast.cli.main import run; run()"
FIELDS = [
    "path", "mean", "std", "label", "views", "seed", "error", "percentile", "collection_percentile", "width", "height", "taken",
    "camera", "group", "best_of_group", "faults", "notes",
]  # fmt: skip
VIEWS = 3
AT_START = ("LANG", "LC_", "OMP_", "PYTHONUTF8")  # variables that decide how Python and torch start


def environment(more=None):
    """The environment of this process, but with Python buffering its output, as it does for users."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {**kept, "OMP_NUM_THREADS": "1", **(more or {})}


def wait_for(process, path):
    """Wait until the process has created the file."""
    for _ in range(3000):
        if path.exists():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError(f"{path} has not come")


def main(program=PROGRAM):
    """The beginning of a command line: the command, or a program that ends with it, in a process started by `warm`."""
    return [warm.python(), "-c", program]


def run(*arguments, env=None, cwd=None, input="", **options):
    """Run the command and capture its output as text; options are those of subprocess.run.

    A process as of `warm`, unless it is to be started in some way of its own.
    """
    if not options and not any(name.startswith(AT_START) for name in env or ()):
        return warm.run(PROGRAM, arguments, cwd, input, environment(env))
    options = {"cwd": cwd, "input": input, "capture_output": True, "text": True, **options}
    options = {"errors": "surrogateescape", "timeout": 120, **options}
    return subprocess.run([sys.executable, "-c", PROGRAM, *map(str, arguments)], check=False, env=environment(env), **options)


def score(model, *arguments, env=None, cwd=None, input=""):
    """`dcnn-fast score` with the small model and few samples, started by `run`."""
    return run("score", "--model", model, "--samples", VIEWS, *arguments, env=env, cwd=cwd, input=input)


def shell(model, line, env=None, **options):
    """Run a line of bash in which `score` is the command; its status is that of the first failing part of a pipe."""
    function = f"score() {{ {shlex.join(main())} score --model '{model}' --samples {VIEWS} \"$@\"; }}"
    options = {"capture_output": True, "text": True, "timeout": 120, **options}
    command = ["bash", "-c", f"set -o pipefail\n{function}\n{line}"]
    return subprocess.run(command, check=False, env=environment(env), **options)


def rows(path):
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def alone(rows):
    """Rows without the fields that depend on the other photographs."""
    return [{**row, "collection_percentile": ""} for row in rows]


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def names(path):
    """The last parts of the paths in a CSV file, in order."""
    return [os.path.basename(row["path"]) for row in rows(path)]


def files_of(folder):
    """The bytes of every file, and every folder, below a folder, by path."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}
