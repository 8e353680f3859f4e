"""`dcnn-fast train` with a failure at each of its writes in turn: killed, out of disk, or with files that may not grow.

The program `python -m tests.training.injected FOLDER [STEP]` prints a JSON object on a line for each run. It
loads everything once and forks each run, so that a run takes tenths of a second.
"""

from __future__ import annotations

import errno
import io
import json
import os
import resource
import signal
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dcnn_fast.cli.main import run as command
from dcnn_fast.nets import load_model
from dcnn_fast.training.checkpoint import load_checkpoint

EVENTS = ("open", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.mkdir")
ARGUMENTS = (
    "train", "data", "--out", "run", "--net", "scnn-arch1", "--plane", "48", "--stride", "4", "--filters", "0.06", "--fc", "4",
    "--epochs", "2", "--batch", "4", "--test-samples", "1", "--folds", "2",
)  # fmt: skip


def photographs(folder):
    for label, level in (("high", 90), ("low", 160)):
        (folder / "data" / label).mkdir(parents=True)
        for number in range(4):
            pixels = np.random.default_rng(number).integers(level, level + 60, (48, 48, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "data" / label / f"{number}.png")


def child(folder, before, *more):
    """Run `before` and then the command in a child: its status (negative: the signal) and its output."""
    reading, writing = os.pipe()
    number = os.fork()
    if number == 0:
        os.chdir(folder)
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(at, "w", closefd=False)) for at in (1, 2))
        sys.argv = ["dcnn-fast", *ARGUMENTS, *more]
        status = 1
        try:
            before()
            command()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    os.close(writing)
    with open(reading, "rb") as said:
        text = said.read().decode(errors="replace")
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]), text


def at_write(folder, number, act):
    """Call `act` at write `number` to the run's folder, counting from 0; returns the running count, a list of one."""
    count = [0]
    inside = os.path.join(os.path.realpath(folder), "run")

    def hook(event, arguments):
        if event not in EVENTS or not isinstance(arguments[0], (str, os.PathLike)):
            return
        if not os.path.realpath(arguments[0]).startswith(inside):
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
        count[0] += 1
        if count[0] == number + 1:
            act(arguments[0])

    sys.addaudithook(hook)
    return count


def full(path):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def killed(path):
    os.kill(os.getpid(), signal.SIGKILL)


def no_larger(size, signalled):
    def before():
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if signalled else signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    return before


def state(folder):
    """The size of each file in the run's folder; reads models and checkpoints, which must be whole."""
    found = {}
    for path in sorted((folder / "run").glob("[!.]*")):
        read = load_checkpoint if path.name == "checkpoint.safetensors" else load_model
        if path.suffix == ".safetensors":
            read(path)
        found[path.name] = path.stat().st_size
    return found


def hidden(folder):
    return sorted(path.name for path in (folder / "run").glob(".*") if path.name != ".lock")


def injections(folder, writes, step):
    """The name of each failure and its preparation before the command; every `step`-th write has one of each kind."""
    for number in range(0, writes, step):
        yield f"killed at write {number}", partial(at_write, folder, number, killed)
    for number in range(step // 2, writes, step):
        yield f"full at write {number}", partial(at_write, folder, number, full)
    for size in (3000, 20_000):
        yield f"killed beyond {size} bytes", no_larger(size, signalled=True)
        yield f"full beyond {size} bytes", no_larger(size, signalled=False)


def main(root, step=1):
    torch.set_num_threads(1)
    first = root / "whole"
    photographs(first)
    os.chdir(first)
    sys.argv = ["dcnn-fast", *ARGUMENTS]
    count = at_write(first, -1, killed)
    stdout, sys.stdout = sys.stdout, io.StringIO()
    try:
        command()
    except SystemExit as end:
        assert not end.code, end.code
    sys.stdout = stdout
    digest = load_model(first / "run" / "last.safetensors").digest
    print(json.dumps({"writes": count[0], "files": state(first)}))
    for number, (name, before) in enumerate(injections(root / "now", count[0], step)):
        folder = root / "now"
        (root / "now").mkdir()
        (folder / "data").symlink_to(first / "data")
        status, said = child(folder, before)
        left = state(folder)
        again, more = child(folder, lambda: None, "--resume")
        same = again == 0 and load_model(folder / "run" / "last.safetensors").digest == digest
        print(json.dumps({
            "name": name, "status": status, "said": said, "files": left, "again": again, "more": more, "same": same,
            "hidden": hidden(folder), "after": state(folder),
        }), flush=True)  # fmt: skip
        folder.rename(root / f"done{number}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
