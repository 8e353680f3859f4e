"""Pictures over HTTP on loopback beside `score_many` in process, at the server's full rate and at four times that rate.

Seconds are per picture; the notes give the client's processor time, as it shares the machine with the server.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from bench import serve_load
from bench.effort import Effort
from bench.row import OURS, Found, Refused, Row
from bench.serve_load import Load
from dcnn_fast.scoring import Scorer

IN_PROCESS, CAPACITY, OVER = "score_many in process", "served, as many as it can", "served, four times as many offered"
_OVER = 4
_CLIENTS = 8  # enough to keep two cores busy
_SECONDS, _TINY_SECONDS = 10.0, 0.5
_QUEUE = 64  # the server's queue in images; more are refused


def rows(photographs: Sequence[Path], threads: int, effort: Effort) -> Iterator[Found]:
    """The three rates with the shipped model, each picture's file in memory."""
    torch.set_num_threads(threads)
    bodies = [path.read_bytes() for path in photographs]
    seconds = _TINY_SECONDS if effort.tiny else _SECONDS
    alone = _in_process(bodies, threads, seconds)
    yield _row(IN_PROCESS, threads, alone, None, f"{len(bodies)} photographs")
    with serve_load.server("--workers", str(threads), "--queue-images", str(_QUEUE)) as server:
        serve_load.closed(server.port, bodies, _CLIENTS, seconds / 4)
        before = server.peak()
        capacity = serve_load.closed(server.port, bodies, _CLIENTS, seconds)
        yield from _served(CAPACITY, threads, capacity, alone, server.peak(), "ratio: its rate over that in process")
        if capacity.rate:
            over = serve_load.opened(server.port, bodies, _OVER * capacity.rate, seconds)
            grown = f"ratio: its rate over the rate at capacity; memory grew by {(server.peak() - before) / 1e6:.0f} MB"
            yield from _served(OVER, threads, over, 1 / capacity.rate, server.peak(), grown)


def _served(case: str, threads: int, load: Load, base: float, peak: int, note: str) -> Iterator[Found]:
    """A row, where every request was answered. base: the seconds per picture to which the ratio refers."""
    wrong = {status: count for status, count in load.answers.items() if status not in (200, 429)}
    if wrong or not load.answers[200]:
        yield Refused("serve", case, threads, OURS, f"answers by status, 0 for none: {dict(load.answers)}")
        return
    refused = f"{load.answers[200]} scored, {load.answers[429]} refused"
    used = f"the client took {load.client:.2f} s of the processor in {load.seconds:.1f} s"
    yield _row(case, threads, 1 / load.rate, base * load.rate, f"{refused}; {used}; {note}", peak)


def _row(case: str, threads: int, seconds: float, ratio: float | None, note: str, peak: int | None = None) -> Row:
    return Row("serve", case, threads, OURS, "fp32", seconds, ratio=ratio, note=note, peak_bytes=peak)


def _in_process(bodies: Sequence[bytes], threads: int, seconds: float) -> float:
    """Seconds per picture in process."""
    scorer, done = Scorer(), 0
    bodies = [*bodies] * -(-_QUEUE // len(bodies))  # so that the end of a run, with idle workers, hardly counts
    list(scorer.score_many(bodies[:_CLIENTS], workers=threads))
    start = time.monotonic()
    while time.monotonic() < start + seconds:
        done += sum(score.error is None for score in scorer.score_many(bodies, workers=threads))
    return (time.monotonic() - start) / done
