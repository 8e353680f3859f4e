"""Threads that score images and drop abandoned ones.

Each takes one image from its bytes to the last block's maps. While others wait in the queue, the heads of several are computed
together, which costs little more than one head; a worker that finds no other image computes the pending heads.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dcnn_fast import engine
from dcnn_fast.data import in_flight
from dcnn_fast.scoring import Score, Scorer
from dcnn_fast.scoring.stream import Begun, held_by_maps

_LONGEST = 0.1  # seconds that maps wait for a batch to fill, if the next image takes as long as the last
_BYTES_OF_MAPS = 2**28  # maps that wait for a batch


@dataclass(eq=False)
class Job:
    """One image. given_up: whether nobody waits for it any more. answer: its score, on the event loop; cancelled where given
    up.
    """

    image: Any
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Score]
    given_up: bool = field(default=False)

    def give_up(self) -> None:
        """Drop the job, whatever its stage."""
        self.given_up = True
        self.image = None
        self.answer.cancel()
        in_flight.look_again()


@dataclass(eq=False)
class _Due:
    """An image whose blocks are done and whose head is pending.

    held: the memory reserved for its pixels. since: when the blocks were done. took: seconds from its start until then.
    """

    job: Job
    begun: Begun
    held: in_flight.Held | None
    since: float
    took: float

    @property
    def bytes(self) -> int:
        """The size of its maps."""
        return 0 if self.begun.maps is None else self.begun.maps.bytes


class Workers:
    """`count` threads, which run from `start` to `stop`; a single image is computed on all of them."""

    def __init__(self, scorer: Scorer, count: int) -> None:
        self._stages, self._count = scorer.stages, count
        self._batch = self._stages.executor.intake.batch
        self._changed = threading.Condition()  # guards everything below
        self._queue: deque[Job] = deque()
        self._due: list[_Due] = []
        self._busy, self._stopped = 0, False
        self._threads: list[threading.Thread] = []
        self.computed = 0  # images computed by the network

    def start(self) -> None:
        """Start the threads; restarting is allowed."""
        self._stopped, self._threads = False, []
        for number in range(self._count):
            thread = threading.Thread(target=self._run, name=f"dcnn-fast-serve-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Wait until the threads have finished their present images; the queue is dropped."""
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
        """Queue an image: bytes, or anything else that `Scorer.score` takes. Called on the event loop."""
        loop = asyncio.get_running_loop()
        job = Job(image, loop, loop.create_future())
        with self._changed:
            if self._stopped or not self._threads:
                raise RuntimeError("the application's lifespan does not run: a mounted one's is its own (docs/serve.md)")
            self._queue.append(job)
            self._changed.notify()
        return job

    def _run(self) -> None:
        while (work := self._next()) is not None:
            try:
                work()
            finally:
                with self._changed:
                    self._busy -= 1
            del work

    def _next(self) -> Callable[[], None] | None:
        """The pending heads, or else the next image; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._due or self._stopped)
            if not self._queue and not self._due:
                return None
            self._busy += 1
            if self._is_time():
                return partial(self._finish, self._taken())
            return partial(self._begin, self._queue.popleft())

    def _is_time(self) -> bool:
        """Whether the heads should not wait for more."""
        if not self._due or not self._queue:
            return bool(self._due)
        full = len(self._due) >= self._batch or sum(due.bytes for due in self._due) > _BYTES_OF_MAPS
        waits = time.monotonic() - self._due[0].since + self._due[-1].took
        return full or waits > _LONGEST or in_flight.waited_for()

    def _taken(self) -> list[_Due]:
        with self._changed:
            taken, self._due = self._due, []
            return taken

    def _begin(self, job: Job) -> None:
        """Compute the image's maps."""
        if job.given_up:
            return
        try:
            due = self._begun(job)
        except in_flight.GivenUpError:
            return
        except BaseException as error:
            _hand_over(job, partial(job.answer.set_exception, error))
            return
        if due is not None:
            with self._changed:
                self._due.append(due)

    def _begun(self, job: Job) -> _Due | None:
        """The image after its blocks; None where nobody waits for it any more."""
        started = time.monotonic()
        with in_flight.picture(given_up=lambda: job.given_up, before_wait=lambda: self._finish(self._taken())) as held:
            read = self._stages.read(job.image)
            job.image = None
            held.keep(read.prepared.bytes)
            if job.given_up:
                return None
            with self._changed:
                self.computed += 1
            with engine.use_threads(self._threads_of_one()):
                begun = self._stages.begin(read)
            done = time.monotonic()
            return _Due(job, begun, held_by_maps(held, begun), done, done - started)

    def _finish(self, batch: list[_Due]) -> None:
        """Compute the heads of images, and their scores."""
        try:
            wanted = [due for due in batch if not due.job.given_up]
            if wanted:
                self._hand_over_scores(wanted)
        finally:
            for due in batch:
                if due.held is not None:
                    due.held.keep(0)

    def _hand_over_scores(self, batch: list[_Due]) -> None:
        """Deliver the scores; if the heads fail together, each is computed separately, so that no failure affects another."""
        try:
            with engine.use_threads(self._threads_of_one()):
                scores = self._stages.finish([due.begun for due in batch])
        except BaseException as error:
            if len(batch) == 1:
                _hand_over(batch[0].job, partial(batch[0].job.answer.set_exception, error))
                return
            for due in batch:
                self._hand_over_scores([due])
            return
        for due, score in zip(batch, scores, strict=True):
            _hand_over(due.job, partial(due.job.answer.set_result, score))

    def _threads_of_one(self) -> int:
        """The engine's threads for one image, by the present load; no score depends on it."""
        with self._changed:
            return max(1, self._count // (self._busy + len(self._queue)))


def _hand_over(job: Job, tell: Callable[[], None]) -> None:
    """Tell the event loop, if it still runs and the job is still wanted."""

    def told() -> None:
        if not job.answer.done():
            tell()

    try:
        job.loop.call_soon_threadsafe(told)
    except RuntimeError:  # the loop was closed meanwhile
        job.given_up = True
