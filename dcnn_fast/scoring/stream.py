"""Runs many images through the network at once: several images' blocks in parallel, and the head of one batch beside them.

A worker takes one image from its file to the last block's maps on one thread: images in parallel keep cores busier than one
image's regions spread over them, and need no separate reading thread. The worker whose image fills a batch runs its head while
the others go on with the next images. So there are never more threads than workers, and results, which finish in any order, are
sorted into the order of the images at the end.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import Any, Protocol

from dcnn_fast import engine
from dcnn_fast.data import in_flight
from dcnn_fast.data.remote import Stored
from dcnn_fast.runtime import Maps
from dcnn_fast.scoring.prepare import Prepared
from dcnn_fast.scoring.samples import ColumnWindows
from dcnn_fast.scoring.score import Score

_BYTES_OF_MAPS = 2**28  # maps that wait for their batch to fill
_PATIENCE, _NAP = 1.0, 0.001  # seconds: the wait for a thread whose start was interrupted, and the interval between checks


class Waiting:
    """Stands for an image that is not available yet, so that finished scores are released meanwhile."""


WAITING = Waiting()


@dataclass(frozen=True)
class Read:
    """An image before the network. known: its score so far. prepared: the network's input, empty where the image could not be
    read.
    """

    known: Score
    prepared: Prepared


@dataclass(frozen=True)
class Begun:
    """An image after the network's blocks. maps: the blocks' results, None where it could not be read; then `known` is its
    score.

    columns: its windows, if requested.
    """

    known: Score
    maps: Maps | None
    columns: tuple[ColumnWindows, ...] = ()


class Stages(Protocol):
    """The stages of scoring an image, in the order of the methods; several threads call them concurrently."""

    def start(self) -> None:
        """A run of images begins."""

    def read(self, image: Any) -> Read:
        """All work that reads the image itself. For an unreadable image the score holds the error."""

    def begin(self, read: Read) -> Begun:
        """The work done for each image separately."""

    def finish(self, batch: Sequence[Begun]) -> Sequence[Score]:
        """The work done for several images together. Returns their scores, in their order."""


class _Item:
    """One image in progress. read: its source is no longer accessed. score or failure is set when it is done."""

    def __init__(self) -> None:
        self.read = False
        self.begun: Begun | None = None
        self.score: Score | None = None
        self.failure: BaseException | None = None
        self.held: in_flight.Held | None = None  # the memory reserved for its pixels while it waits for its batch

    def let_go(self) -> None:
        """Release the memory."""
        if self.held is not None:
            self.held.keep(0)
            self.held = None

    def was_read(self) -> bool:
        """Whether its source is no longer accessed."""
        return self.read

    @property
    def done(self) -> bool:
        return self.score is not None or self.failure is not None


class Stream:
    """Scores of images in their order, for one iteration.

    stages: for one image; an exception in a stage is raised in place of that image's score and ends the stream. batch: images
    finished together, workers: images processed at a time, both at least 1.
    """

    def __init__(self, stages: Stages, *, batch: int, workers: int) -> None:
        self._stages = stages
        self._batch, self._workers, self._process = batch, workers, 0
        self._changed = threading.Condition()  # guards all that follows
        self._queue: deque[tuple[Context, _Item, Any]] = deque()  # images not yet taken by a worker
        self._filling: list[_Item] = []  # the next batch: blocks done, head pending
        self._before_head = self._unfinished = 0  # images not yet in a batch; images that a worker has not finished
        self._no_more = self._stopped = False

    def scores(self, images: Iterable[Any]) -> Iterator[Score]:
        """Yield the scores as they become ready. Closing the iterator ends the work; no thread outlives it.

        `WAITING` is not counted as an image. An exception of `images` is raised after the scores of the images before. Raises
        RuntimeError in a forked child, which lacks the threads.
        """
        self._process = os.getpid()
        self._stages.start()
        workers: list[threading.Thread] = []
        waiting: deque[_Item] = deque()
        most = 2 * (self._batch + self._workers)  # a batch in the head, one being filled, and an image at each worker
        source, failure = iter(images), None
        # The caller changes images between requests: it refills an array or closes an image.
        may_change = not isinstance(images, (list, tuple))
        try:
            while True:
                try:
                    image = next(source)
                except StopIteration:
                    break
                except Exception as error:
                    failure = error
                    break
                if not isinstance(image, Waiting):
                    item = self._enter(image)
                    waiting.append(item)
                    if len(workers) < self._workers:
                        workers.append(threading.Thread(target=self._worker, name=f"dcnn-fast-{len(workers)}"))
                        workers[-1].start()
                    if may_change and not isinstance(image, (str, bytes, os.PathLike, Stored)):
                        self._wait(item.was_read)
                del image  # the worker drops it once it has been read
                while waiting and (len(waiting) >= most or waiting[0].done):
                    yield self._result(waiting.popleft())
                    self._require_own_process()
            with self._changed:
                self._no_more = True
                self._changed.notify_all()
            while waiting:
                yield self._result(waiting.popleft())
                self._require_own_process()
            if failure is not None:
                raise failure
        finally:
            if os.getpid() == self._process:  # a forked child has neither the threads nor, perhaps, their locks
                with self._changed:
                    self._stopped = True
                    self._queue.clear()
                    self._changed.notify_all()
                in_flight.look_again()
                for worker in workers:
                    _join(worker)
                self._complete(self._filling)  # which releases them

    def _enter(self, image: Any) -> _Item:
        item = _Item()
        with self._changed:
            self._before_head += 1
            self._unfinished += 1
            self._queue.append((copy_context(), item, image))
            self._changed.notify_all()
        return item

    def _require_own_process(self) -> None:
        if os.getpid() != self._process:
            raise RuntimeError("an iterator of scores belongs to the process that made it: call score_many in this one")

    def _wait(self, until: Callable[[], bool]) -> None:
        with self._changed:
            self._changed.wait_for(until)

    def _worker(self) -> None:
        """Process images until there are no more."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._no_more or self._stopped)
                if not self._queue:
                    return
                context, item, image = self._queue.popleft()
            context.run(self._work, item, image)
            del context, item, image

    def _result(self, item: _Item) -> Score:
        self._wait(lambda: item.done)
        if item.failure is not None:
            raise item.failure
        assert item.score is not None
        return item.score

    def _work(self, item: _Item, image: Any) -> None:
        """Compute one image's maps, and the head of the batch that it completes."""
        try:
            if not self._stopped:
                item.begun = self._begin(item, image)
        except BaseException as failure:
            item.failure = failure
        self._complete(self._leave(item))
        with self._changed:
            self._unfinished -= 1

    def _begin(self, item: _Item, image: Any) -> Begun | None:
        """Run the image's separate stages; None where the stream ends meanwhile.

        Its pixels count as in flight from before they are decoded until the blocks are done, or the head where that reads them.
        """
        with in_flight.picture(given_up=lambda: self._stopped, before_wait=self._hurry) as held:
            read = self._stages.read(image)
            held.keep(read.prepared.bytes)
            with self._changed:
                item.read = True
                self._changed.notify_all()
            if self._stopped:
                return None
            with engine.use_threads(self._threads()):
                begun = self._stages.begin(read)
            item.held = held_by_maps(held, begun)
            return begun

    def _hurry(self) -> None:
        """Finish the unfilled batch, whose pictures hold memory that another picture waits for."""
        with self._changed:
            batch, self._filling = self._filling, []
        self._complete(batch)

    def _threads(self) -> int:
        """The engine's threads for one image or batch: one while more images follow; the last ones divide the threads.

        From then on the number of images only decreases, so the shares never exceed the workers in sum.
        """
        with self._changed:
            return max(1, self._workers // self._unfinished) if self._no_more else 1

    def _leave(self, item: _Item) -> list[_Item]:
        """Add the item to its batch. Returns a batch that is full or to which nothing can be added at present."""
        with self._changed:
            item.read = True
            self._before_head -= 1
            if item.begun is not None and item.begun.maps is None:
                item.score = item.begun.known
            elif item.begun is not None:
                self._filling.append(item)
            self._changed.notify_all()
            size = sum(maps.bytes for each in self._filling if (maps := _begun(each).maps) is not None)
            fills = len(self._filling) < self._batch and size <= _BYTES_OF_MAPS and not in_flight.waited_for()
            if fills and self._before_head:
                return []
            batch, self._filling = self._filling, []
            return batch

    def _complete(self, batch: list[_Item]) -> None:
        """Run the head of the batch, unless the stream ends."""
        try:
            if batch and not self._stopped:
                self._finish(batch)
        finally:
            for item in batch:
                item.let_go()

    def _finish(self, batch: list[_Item]) -> None:
        try:
            with engine.use_threads(self._threads()):
                scores = self._stages.finish([_begun(item) for item in batch])
        except BaseException as failure:
            with self._changed:
                for item in batch:
                    item.begun, item.failure = None, failure
                self._changed.notify_all()
            return
        with self._changed:
            for item, score in zip(batch, scores, strict=True):
                item.begun, item.score = None, score
            self._changed.notify_all()


def held_by_maps(held: in_flight.Held, begun: Begun) -> in_flight.Held | None:
    """The reserved memory that an image's maps need until its head is done; None where they need none."""
    if begun.maps is None or not begun.maps.pixels:
        return None
    held.keep(begun.maps.pixels)
    return held.handed_over()


def _begun(item: _Item) -> Begun:
    assert item.begun is not None
    return item.begun


def _join(worker: threading.Thread) -> None:
    """Wait for the thread's end. A thread whose start was interrupted by a signal may appear in a moment or never; a process
    that ended before would pull its resources away.
    """
    patience = time.monotonic() + _PATIENCE
    while worker.ident is None and time.monotonic() < patience:
        time.sleep(_NAP)
    while worker.ident is not None:
        try:
            worker.join()
            return
        except RuntimeError:  # it runs but is not registered yet
            time.sleep(_NAP)
