"""The command as a user runs it: a process of its own, real files, a small model."""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import cache
from multiprocessing import forkserver, reduction

MAIN = [sys.executable, "-c", "from dcnn_fast.cli.main import run; run()"]
FIELDS = [
    "path", "mean", "std", "label", "views", "seed", "error", "percentile", "collection_percentile", "width", "height", "taken",
    "camera", "group", "best_of_group", "faults", "notes",
]  # fmt: skip
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


def run(*arguments, env=None, cwd=None, input="", **options):
    """The command with its output as text; options are those of subprocess.run.

    A process as of `forked`, unless it is to be started in some way of its own.
    """
    if env is None and not options:
        return forked(arguments, cwd, input)
    options = {"cwd": cwd, "input": input, "capture_output": True, "text": True, **options}
    options = {"errors": "surrogateescape", "timeout": 120, **options}
    return subprocess.run([*MAIN, *map(str, arguments)], check=False, env=environment(env), **options)


def score(model, *arguments, env=None, cwd=None, input=""):
    """`dcnn-fast score` with the small model and few views, as of `run`."""
    return run("score", "--model", model, "--views", VIEWS, *arguments, env=env, cwd=cwd, input=input)


def forked(arguments, cwd, input):
    """The command in a process that was forked from one that has imported all: importing takes seconds, a small folder none."""
    with ExitStack() as stack:
        streams = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
        streams[0].write(input.encode(errors="surrogateescape"))
        streams[0].seek(0)
        numbers = [reduction.DupFd(stream.fileno()) for stream in streams]
        process = warm().Process(target=in_child, args=(list(map(str, arguments)), cwd, numbers, dict(os.environ)))
        process.start()
        process.join(120)
        said = []
        for stream in streams[1:]:
            stream.seek(0)
            said.append(stream.read().decode(errors="surrogateescape"))
    return subprocess.CompletedProcess(arguments, process.exitcode, *said)


@cache
def warm():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"dcnn_fast.cli.{name}" for name in ("main", "score_run", "train_run", "personal_run")])
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"  # is read when torch is loaded
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
    return context


def in_child(arguments, cwd, numbers, variables):
    """Be the command: with these arguments in this folder, on these three streams, with these variables of the environment."""
    from dcnn_fast.cli.main import run as main  # noqa: PLC0415 - imported before, by the process that this one was forked from

    for number, sent in enumerate(numbers):
        os.dup2(sent.detach(), number)
    sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False))
    sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(number, "w", closefd=False), encoding="utf-8") for number in (1, 2))
    os.environ.clear()
    os.environ.update(variables)
    if cwd is not None:
        os.chdir(cwd)
    sys.argv = ["dcnn-fast", *arguments]
    main()


def shell(model, line, env=None, **options):
    """A line of bash, in which `score` is the command; its status is that of the first part of a pipe that fails."""
    function = f"score() {{ '{MAIN[0]}' -c '{MAIN[2]}' score --model '{model}' --views {VIEWS} \"$@\"; }}"
    options = {"capture_output": True, "text": True, "timeout": 120, **options}
    command = ["bash", "-c", f"set -o pipefail\n{function}\n{line}"]
    return subprocess.run(command, check=False, env=environment(env), **options)


def rows(path):
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def alone(rows):
    """Rows without what is known of a photograph only beside the others."""
    return [{**row, "collection_percentile": ""} for row in rows]


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def names(path):
    """The last parts of the paths in a CSV file, in order."""
    return [os.path.basename(row["path"]) for row in rows(path)]


def files_of(folder):
    """All that is in a folder and its subfolders, by path; of a file its bytes."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}
