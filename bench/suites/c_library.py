"""The C library beside Python: photographs per second with the shipped model, and a process's time to its first score."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from bench import c_binding, cases
from bench.effort import Effort
from bench.row import OURS, Found, Refused, Row
from bench.timing import median_and_spread
from dcnn_fast import c_library
from dcnn_fast.scoring import Scorer, shipped_model

SHAPE = (375, 500)
PICTURES = 64
MANY, FIRST = "a photograph of many, shipped model 500 x 375", "a process up to its first score, shipped model 500 x 375"
BY_C, BY_PYTHON = f"{OURS}, C library", f"{OURS}, score_many"
_ROOT = Path(__file__).parents[2]
_PYTHON = (
    "import sys, numpy as np, dcnn_fast; head, size, depth, data = open(sys.argv[1], 'rb').read().split(b'\\n', 3); "
    "print(dcnn_fast.Scorer().score(np.frombuffer(data, np.uint8).reshape(375, 500, 3)).mean)"
)


def rows(threads: int, effort: Effort) -> Iterator[Found]:
    """Wall-clock seconds for a photograph, with as many callers as threads, and for a process."""
    yield from _many(threads, effort)
    yield from _first(threads, effort)


def _many(threads: int, effort: Effort) -> Iterator[Found]:
    pictures = [cases.photograph(*SHAPE, seed=seed) for seed in range(4 if effort.tiny else PICTURES)]
    scorer = Scorer(samples=effort.windows)
    with c_binding.Model(shipped_model()) as model, ThreadPoolExecutor(threads) as callers:

        def by_c() -> list[float | None]:
            return list(callers.map(lambda pixels: model.score(pixels, views=effort.windows, threads=1).mean, pictures))

        def by_python() -> list[float | None]:
            return [score.mean for score in scorer.score_many(pictures, workers=threads)]

        if by_c() != by_python():
            yield Refused("c_library", MANY, threads, BY_C, "the scores are not those of Python")
            return
        turns = [[_seconds(way) / len(pictures) for way in (by_c, by_python)] for _ in range(effort.rounds)]
    yield from _rows(MANY, threads, turns, "ratio: over the time of score_many")


def _first(threads: int, effort: Effort) -> Iterator[Found]:
    with tempfile.TemporaryDirectory() as scratch:
        program, picture = Path(scratch) / "score", Path(scratch) / "picture.ppm"
        pixels = cases.photograph(*SHAPE)
        picture.write_bytes(f"P6\n{SHAPE[1]} {SHAPE[0]}\n255\n".encode() + pixels.tobytes())
        if why := _built(program):
            yield Refused("c_library", FIRST, threads, BY_C, why)
            return
        commands = ([str(program), str(shipped_model()), str(picture)], [sys.executable, "-c", _PYTHON, str(picture)])
        ways = [lambda command=command: subprocess.run(command, check=True, capture_output=True) for command in commands]
        turns = [[_seconds(way) for way in ways] for _ in range(effort.few_rounds)]
    with c_binding.Model(shipped_model()) as model:
        model.score(pixels)
        network = np.median([_seconds(lambda: model.score(pixels)) for _ in range(effort.few_rounds)])
    yield from _rows(FIRST, threads, turns, f"of which the network takes {network:.3f} s; ratio: over Python's time")


def _built(program: Path) -> str | None:
    """Build the C example. Returns the reason if that fails."""
    prefix = c_library.prefix()
    command = ["cc", "-O2", str(_ROOT / "examples" / "c_library" / "score.c"), "-I", str(prefix / "include")]
    command += [str(c_library.library()), f"-Wl,-rpath,{prefix / 'lib'}", "-o", str(program)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return f"there is no C compiler: {error}"
    return None if done.returncode == 0 else f"the example does not compile: {done.stderr[:200]}"


def _rows(case: str, threads: int, turns: Sequence[Sequence[float]], note: str) -> Iterator[Row]:
    (ours, our_spread), (theirs, their_spread) = (median_and_spread(list(times)) for times in zip(*turns, strict=True))
    yield Row("c_library", case, threads, BY_C, "fp32", ours, our_spread, ratio=ours / theirs, note=note)
    yield Row("c_library", case, threads, BY_PYTHON, "fp32", theirs, their_spread, note=note)


def _seconds(way: Callable[[], object]) -> float:
    start = time.perf_counter()
    way()
    return time.perf_counter() - start
