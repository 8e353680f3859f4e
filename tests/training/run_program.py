"""A training run as a separate process: `python -m tests.training.run_program OUT [options of `main`]`, or `main` alone."""

from __future__ import annotations

import argparse
import os
import signal
from dataclasses import replace
from pathlib import Path

import torch

from dcnn_fast.data.plane_cache import PlaneCache
from dcnn_fast.training import Settings, durable_files, folder, session, train
from tests.training import sets

SETTINGS = Settings(epochs=3, batch=16, flip=True, checkpoint_steps=1)


def killed_at(number, moment):
    """Kill the process at the `number`-th file that it puts on the disk, while the file is written or before it is
    given its name."""
    put, count = durable_files.put, 0

    def deadly(path, write):
        nonlocal count
        count += 1
        if count < number:
            put(path, write)
            return

        def torn(partial):
            write(partial)
            if moment == "writing":
                os.truncate(partial, partial.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

        put(path, torn)

    durable_files.put = folder.put = deadly


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--kill", type=int)
    parser.add_argument("--moment", default="writing")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--epochs", type=int, default=SETTINGS.epochs)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--train", type=int, default=50)
    parser.add_argument("--planes", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.kill:
        killed_at(options.kill, options.moment)
    settings = replace(SETTINGS, epochs=options.epochs)
    data = sets.data_set(options.train)
    cache = 0
    if options.planes:
        data, cache = sets.in_files(data, options.planes.with_name("photographs")), PlaneCache(options.planes)
        session._SECONDS_BETWEEN_SIGNS = 0.0
    train(
        sets.net(dropout=options.dropout), data, settings, options.out, resume=options.resume, workers=options.workers,
        cache=cache,
    )  # fmt: skip


if __name__ == "__main__":
    main()
