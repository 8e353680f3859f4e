"""The stream: order, failures, early ends, and never more threads or memory than requested."""

from __future__ import annotations

import threading
import time
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dcnn_fast import Scorer, engine
from dcnn_fast.data import in_flight
from dcnn_fast.scoring import WAITING
from dcnn_fast.scoring import stream as stream_module
from dcnn_fast.scoring.score import Score
from dcnn_fast.scoring.stream import Begun, Read, Stream
from tests import small

SIZES = [(40, 50), (33, 90), (128, 96), (32, 32), (90, 70), (20, 64), (64, 64), (200, 45)]
MIXED = [np.random.default_rng(i).integers(0, 256, (*size, 3)).astype(np.uint8) for i, size in enumerate(SIZES)]


def own_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("dcnn-fast")]


class Work:
    """Stages that count their calls: an image is a dict of the events that it causes."""

    def __init__(self, planes=0, maps=0, pixels=0):
        self.lock = threading.Lock()
        self.planes, self.maps, self.pixels = planes, maps, pixels
        self.used = self.most_used = 0
        self.reading = self.most_reading = 0
        self.batches = []
        self.finished = []

    def start(self):
        """Reset the counts."""

    def use(self, seconds):
        with self.lock:
            self.used += engine.threads()
            self.most_used = max(self.most_used, self.used)
        time.sleep(seconds)
        with self.lock:
            self.used -= engine.threads()

    def read(self, image):
        with self.lock:
            self.reading += 1
            self.most_reading = max(self.most_reading, self.reading)
        if image.get("raises"):
            raise image["raises"]
        error = "cannot be read" if image.get("unreadable") else None
        return Read(Score(path=image["name"], error=error), SimpleNamespace(bytes=self.planes))

    def begin(self, read):
        try:
            if read.known.error:
                return Begun(read.known, None)
            self.use(0.002)
            return Begun(read.known, SimpleNamespace(bytes=self.maps, pixels=self.pixels))
        finally:
            with self.lock:
                self.reading -= 1
                self.finished.append(read.known.path)

    def finish(self, batch):
        self.use(0.002)
        with self.lock:
            self.batches.append([begun.known.path for begun in batch])
        return [begun.known for begun in batch]

    def stream(self, batch, workers):
        return Stream(self, batch=batch, workers=workers)


def images(count, **special):
    return [{"name": str(i), **special.get(f"at{i}", {})} for i in range(count)]


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
@pytest.mark.parametrize("batch", [1, 3, 100])
def test_scores_come_in_order_on_no_more_threads_than_workers(batch, workers):
    work = Work()
    given = images(23, at0={"unreadable": True}, at7={"unreadable": True}, at8={"unreadable": True}, at22={"unreadable": True})
    scores = list(work.stream(batch, workers).scores(iter(given)))
    assert [score.path for score in scores] == [image["name"] for image in given]
    assert [i for i, score in enumerate(scores) if score.error] == [0, 7, 8, 22]
    assert work.most_used <= workers
    assert max(map(len, work.batches)) <= batch
    assert sorted(path for each in work.batches for path in each) == sorted(s.path for s in scores if not s.error)
    assert not own_threads()


@pytest.mark.parametrize(("last", "threads"), [(1, 4), (2, 2)])
def test_the_last_images_share_all_threads(last, threads):
    """When no more images come, the last ones share the threads; earlier each image has one."""
    seen = []

    class Seen(Work):
        def read(self, image):
            if "last" in image:
                until = time.monotonic() + 10
                while not (work_stream._no_more and work_stream._unfinished <= last) and time.monotonic() < until:
                    time.sleep(0.001)
            return super().read(image)

        def begin(self, read):
            seen.append((read.known.path, engine.threads()))
            return super().begin(read)

    work = Seen()
    work_stream = work.stream(1, 4)
    given = [*images(20), *({"name": f"last{i}", "last": True} for i in range(last))]
    list(work_stream.scores(given))
    by_name = dict(seen)
    assert by_name["0"] == 1
    assert by_name["last0"] >= threads  # more if the other one is done by then
    assert work.most_used <= 4


@pytest.mark.parametrize(("room", "at_a_time"), [(250, 2), (99, 1)])
def test_large_pictures_are_few_at_a_time(room, at_a_time):
    """By the memory that reading takes, which is known beforehand; a picture larger than all the room goes alone."""
    work, reading, at_once = Work(planes=100), [], []
    plain = work.read

    def read(image):
        with in_flight.picture() as held:
            held.take(100)
            with work.lock:
                reading.append(image["name"])
                at_once.append(len(reading))
            time.sleep(0.003)
            with work.lock:
                reading.remove(image["name"])
            return plain(image)

    work.read = read
    in_flight.set_limit(room)
    try:
        assert [score.path for score in work.stream(2, 6).scores(images(30))] == [str(i) for i in range(30)]
        in_flight.set_limit(10**9)
        unlimited = Work()
        assert len(list(unlimited.stream(2, 6).scores(images(30)))) == 30
    finally:
        in_flight.set_limit(None)
    assert max(at_once) <= at_a_time and work.most_reading <= at_a_time < unlimited.most_reading


def test_large_maps_end_a_batch_early(monkeypatch):
    monkeypatch.setattr(stream_module, "_BYTES_OF_MAPS", 250)
    work = Work(maps=100)
    list(work.stream(10, 1).scores(images(12)))
    assert max(map(len, work.batches)) == 3


def _taking(work, size, at_once):
    """Work whose pictures take `size` while they are read; `at_once` records the sum held by all pictures."""
    plain = work.read

    def read(image):
        with in_flight.picture() as held:
            held.take(size)
            at_once.append(in_flight._pictures.used)
            return plain(image)

    work.read = read
    return work


@pytest.mark.parametrize(("room", "most"), [(350, 3), (99, 1)])
@pytest.mark.parametrize("workers", [1, 3])
def test_pictures_that_wait_for_their_batch_hold_their_memory_and_give_it_to_one_that_waits(workers, room, most):
    at_once = []
    work = _taking(Work(planes=100, pixels=100), 100, at_once)
    in_flight.set_limit(room)
    try:
        assert [score.path for score in work.stream(8, workers).scores(images(24))] == [str(i) for i in range(24)]
        assert in_flight._pictures.used == 0
    finally:
        in_flight.set_limit(None)
    assert max(at_once) <= 100 * most and max(map(len, work.batches)) <= most
    if workers == 1:
        assert max(at_once) == 100 * most and max(map(len, work.batches)) == most


def test_two_streams_at_a_time_give_each_other_the_memory_of_pictures_that_wait():
    at_once, found = [], []
    in_flight.set_limit(250)
    try:
        streams = [_taking(Work(planes=100, pixels=100), 100, at_once).stream(8, 2) for _ in range(2)]
        threads = [
            threading.Thread(target=lambda stream=stream: found.append(len(list(stream.scores(images(30))))))
            for stream in streams
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert found == [30, 30] and in_flight._pictures.used == 0
    finally:
        in_flight.set_limit(None)
    assert max(at_once) <= 200


@pytest.mark.parametrize("failing", [False, True])
def test_a_stream_that_ends_early_or_fails_holds_nothing(failing):
    work = _taking(Work(planes=100, pixels=100), 100, [])
    if failing:
        work.finish = lambda batch: 1 / 0
    scores = work.stream(5, 2).scores(images(40))
    with pytest.raises(ZeroDivisionError) if failing else nullcontext():
        next(scores)
    scores.close()
    assert in_flight._pictures.used == 0 and not own_threads()


def test_what_is_there_is_computed_without_waiting_for_a_full_batch():
    work = Work()
    release = threading.Event()

    def slow():
        yield from images(2)
        release.wait(10)
        yield {"name": "2"}

    scores = work.stream(100, 2).scores(slow())
    watcher = threading.Thread(target=lambda: (wait_for(lambda: sum(map(len, work.batches)) == 2), release.set()))
    watcher.start()
    assert [score.path for score in scores] == ["0", "1", "2"]
    watcher.join()


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert condition()


def test_a_source_that_waits_lets_through_what_is_ready():
    work, taken = Work(), []

    def coming():
        for image in images(7):
            yield image
            deadline = time.monotonic() + 10
            while image["name"] not in taken and time.monotonic() < deadline:
                yield WAITING

    for score in work.stream(100, 2).scores(coming()):
        taken.append(score.path)
    assert taken == [str(i) for i in range(7)]
    assert list(map(len, work.batches)) == [1] * 7  # each arrived before the source gave the next
    assert not own_threads()


def test_a_scorer_takes_a_source_that_waits():
    scorer = Scorer(small.model(), samples=3)
    expected = [score.mean for score in scorer.score_many(MIXED[:2])]
    given = [WAITING, MIXED[0], WAITING, WAITING, MIXED[1], WAITING]
    assert [score.mean for score in scorer.score_many(given)] == expected
    assert [score.mean for score in scorer.score_many(iter(given))] == expected


def test_a_slow_image_holds_up_only_its_place():
    work = Work()
    first = threading.Event()
    plain = work.begin

    def begin(read):
        if read.known.path == "0":
            assert first.wait(10)
        return plain(read)

    work.begin = begin
    scores = work.stream(2, 2).scores(images(12))
    watcher = threading.Thread(target=lambda: (wait_for(lambda: len(work.finished) == 7), first.set()))
    watcher.start()
    assert [score.path for score in scores] == [str(i) for i in range(12)]
    watcher.join()
    assert not own_threads()


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("stage", ["read", "begin", "finish", "images"])
@pytest.mark.parametrize("failure", [RuntimeError("broken"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_an_exception_anywhere_is_raised_and_leaves_no_thread(stage, failure, workers):
    work = Work()
    plain = getattr(work, stage, None)

    def fails(argument):
        names = str(argument)
        if "'5'" in names:
            raise failure
        return plain(argument)

    def endless():
        for i in range(10**9):
            if stage == "images" and i == 5:
                raise failure
            yield {"name": str(i)}

    if plain is not None:
        setattr(work, stage, fails)
    before = torch.get_num_threads()
    got = []
    scores = work.stream(2, workers).scores(endless())
    with pytest.raises(type(failure)):
        got.extend(score.path for score in scores)
    assert got == [str(i) for i in range(len(got))]
    assert len(got) <= 5
    assert not own_threads()
    assert torch.get_num_threads() == before


def test_an_interrupt_while_waiting_for_a_score_leaves_no_thread(monkeypatch):
    work = Work()
    stream = work.stream(2, 3)
    scores = stream.scores({"name": str(i)} for i in range(10**9))
    next(scores)
    waits = []

    def interrupted(item):
        waits.append(item)
        raise KeyboardInterrupt

    monkeypatch.setattr(stream, "_result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(scores)
    assert len(waits) == 1
    assert not own_threads()
    count = len(work.finished)
    assert list(scores) == []
    assert len(work.finished) == count


@pytest.mark.parametrize("starts", [False, True])
def test_an_interrupt_while_a_thread_is_started_is_an_interrupt_and_leaves_no_thread(monkeypatch, starts):
    """A signal within `Thread.start` of the second thread: it never exists, or it exists a moment later."""
    work, start, calls = Work(), threading.Thread.start, []

    def interrupted(thread):
        if thread.name.startswith("dcnn-fast"):
            calls.append(thread)
        if len(calls) == 2 and calls[1] is thread:
            if starts:
                threading.Timer(0.05, start, [thread]).start()
            raise KeyboardInterrupt
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    scores = work.stream(2, 3).scores({"name": str(i)} for i in range(10**9))
    with pytest.raises(KeyboardInterrupt):
        list(scores)
    assert (calls[1].ident is not None) == starts
    assert not own_threads()


def test_closing_early_leaves_what_was_not_begun():
    work = Work()
    scores = work.stream(2, 2).scores({"name": str(i)} for i in range(10**9))
    assert [next(scores).path for _ in range(5)] == list("01234")
    scores.close()
    assert not own_threads()
    assert len(work.finished) <= 5 + 2 * (2 + 2)


def test_torch_keeps_its_threads_and_so_do_new_ones():
    torch.set_num_threads(3)
    scores = Scorer(small.model(), samples=3).score_many(iter(MIXED), workers=2)
    next(scores)
    begun_with = []
    other = threading.Thread(target=lambda: begun_with.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert (torch.get_num_threads(), begun_with) == (3, [3])
    assert len(list(scores)) == len(MIXED) - 1
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("backend", ["cpu", "reference"] if engine.isas() else ["reference"])
def test_the_reference_backend_leaves_torchs_threads_alone_too(backend, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", backend)
    torch.set_num_threads(3)
    list(Scorer(small.model(), samples=2).score_many(MIXED[:5], workers=3))
    begun_with = []
    other = threading.Thread(target=lambda: begun_with.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert (torch.get_num_threads(), begun_with) == (3, [3])


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_mixed_sizes_with_unreadable_files_between_give_the_same_bits(workers, tmp_path):
    (tmp_path / "bad.jpg").write_text("no")
    scorer = Scorer(small.model(), samples=5)
    alone = [scorer.score(photo) for photo in MIXED]
    given = [photo for pair in zip(MIXED, [tmp_path / "bad.jpg"] * len(MIXED), strict=True) for photo in pair]
    for batch in (1, 2, 5, 64):
        scores = list(scorer.score_many(given, batch=batch, workers=workers))
        assert scores[::2] == alone
        assert all(score.error == "not an image of a known format" for score in scores[1::2])


def test_closing_ends_what_waits_for_room():
    """Another holder may keep the room for long: no further picture is read."""
    work, read, gate = Work(planes=10), [], threading.Event()
    plain = work.read

    def slow(image):
        with in_flight.picture() as held:
            assert image["name"] == "0" or gate.wait(10)
            held.take(100)
            read.append(image["name"])
            return plain(image)

    work.read = slow
    in_flight.set_limit(100)
    try:
        stream = work.stream(1, 3)
        scores = stream.scores(images(40))
        next(scores)
        closing = threading.Thread(target=scores.close)
        with in_flight.picture() as held:
            held.take(100)
            gate.set()
            wait_for(lambda: len(in_flight._pictures.queue) == 3)
            closing.start()
            closing.join(10)
            ended, count = not closing.is_alive(), len(read)
        closing.join(10)
    finally:
        in_flight.set_limit(None)
    assert ended and not own_threads() and len(read) == count
