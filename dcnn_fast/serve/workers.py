"""Threads that score images: each takes one from its bytes to its score, and drops those that nobody waits for any more."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dcnn_fast import engine
from dcnn_fast.data import in_flight
from dcnn_fast.scoring import Score, Scorer


@dataclass(eq=False)
class Job:
    """One image. given_up: nobody waits for it any more. answer: its score, on the event loop; cancelled where given up."""

    image: Any
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Score]
    given_up: bool = field(default=False)

    def give_up(self) -> None:
        """Have it dropped, wherever it is."""
        self.given_up = True
        self.image = None
        self.answer.cancel()
        in_flight.look_again()


class Workers:
    """`count` threads; an image that is alone is computed on as many. They run from `start` to `stop`."""

    def __init__(self, scorer: Scorer, count: int) -> None:
        self._stages, self._count = scorer.stages, count
        self._changed = threading.Condition()  # guards all below
        self._queue: deque[Job] = deque()
        self._busy, self._stopped = 0, False
        self._threads: list[threading.Thread] = []
        self.computed = 0  # images that went through the network

    def start(self) -> None:
        """Start the threads, also again."""
        self._stopped, self._threads = False, []
        for number in range(self._count):
            thread = threading.Thread(target=self._run, name=f"dcnn-fast-serve-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Let the threads end with the images that they have, and wait for them; the queue is given up."""
        with self._changed:
            self._stopped = True
            waiting, self._queue = list(self._queue), deque()
            self._changed.notify_all()
        for job in waiting:
            job.given_up = True
        in_flight.look_again()
        for thread in self._threads:
            thread.join()

    def submit(self, image: Any) -> Job:
        """Have an image scored: bytes, or anything else that `Scorer.score` takes. Called on the event loop."""
        loop = asyncio.get_running_loop()
        job = Job(image, loop, loop.create_future())
        with self._changed:
            if self._stopped or not self._threads:
                raise RuntimeError("the application's lifespan does not run: a mounted one's is its own (docs/serve.md)")
            self._queue.append(job)
            self._changed.notify()
        return job

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._stopped)
                if not self._queue:
                    return
                job = self._queue.popleft()
                self._busy += 1
            try:
                self._work(job)
            finally:
                with self._changed:
                    self._busy -= 1
            del job

    def _work(self, job: Job) -> None:
        if job.given_up:
            return
        try:
            score = self._scored(job)
        except in_flight.GivenUpError:
            return
        except BaseException as error:
            _hand_over(job, partial(job.answer.set_exception, error))
            return
        if score is not None:
            _hand_over(job, partial(job.answer.set_result, score))

    def _scored(self, job: Job) -> Score | None:
        """Its score; None where nobody waits for it any more."""
        with in_flight.picture(given_up=lambda: job.given_up) as held:
            read = self._stages.read(job.image)
            job.image = None
            held.keep(read.prepared.bytes)
            if job.given_up:
                return None
            with self._changed:
                self.computed += 1
            with engine.use_threads(self._threads_of_one()):
                return self._stages.finish([self._stages.begin(read)])[0]

    def _threads_of_one(self) -> int:
        """Its share, as far as is known now; no score depends on it."""
        with self._changed:
            return max(1, self._count // (self._busy + len(self._queue)))


def _hand_over(job: Job, tell: Callable[[], None]) -> None:
    """Have the event loop told, if it still runs and the job is still waited for."""

    def told() -> None:
        if not job.answer.done():
            tell()

    try:
        job.loop.call_soon_threadsafe(told)
    except RuntimeError:  # the loop was closed meanwhile
        job.given_up = True
