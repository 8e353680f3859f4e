"""Heads that are computed together: which request a failure belongs to, and which requests they wait for."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from dcnn_fast.scoring import Scorer
from dcnn_fast.scoring.stages import PhotoStages
from dcnn_fast.serve import workers as module
from dcnn_fast.serve.workers import Workers
from tests import small
from tests.serve.server import picture

SIDES = (40, 47, 54, 61)


@pytest.fixture
def scorer():
    return Scorer(small.model(), samples=4)


@pytest.fixture
def wanted(scorer):
    """The scores of each picture alone."""
    return [scorer.score(picture(1, side)) for side in SIDES]


def answers(scorer, submitted, given_up=()):
    """Answers for pictures of `SIDES` that wait together for one worker, which begins when all are `submitted`."""

    async def run():
        workers = Workers(scorer, 1)
        workers.start()
        try:
            jobs = [workers.submit(picture(1, side)) for side in SIDES]
            for index in given_up:
                jobs[index].give_up()
            submitted.set()
            return await asyncio.gather(*(job.answer for job in jobs), return_exceptions=True)
        finally:
            workers.stop()

    return asyncio.run(run())


@pytest.fixture
def together(monkeypatch):
    """An event before which no picture is begun; heads wait for a full batch, however slow the machine is."""
    submitted, begin = threading.Event(), PhotoStages.begin
    monkeypatch.setattr(module, "_LONGEST", float("inf"))
    monkeypatch.setattr(PhotoStages, "begin", lambda self, read: submitted.wait(60) and begin(self, read))
    return submitted


def counting(monkeypatch, sides, fails_at=None):
    """Record the pictures of each head in `sides`, and make one head fail."""
    finish = PhotoStages.finish

    def noted(self, batch):
        sides.append([begun.known.height for begun in batch])
        if fails_at in sides[-1]:
            raise RuntimeError("a broken head")
        return finish(self, batch)

    monkeypatch.setattr(PhotoStages, "finish", noted)


def test_a_head_that_fails_is_of_one_picture(scorer, wanted, together, monkeypatch):
    sides = []
    counting(monkeypatch, sides, fails_at=SIDES[1])
    found = answers(scorer, together)
    assert sides[0] == list(SIDES)
    assert isinstance(found[1], RuntimeError) and found[:1] + found[2:] == wanted[:1] + wanted[2:]


def test_no_head_is_computed_for_who_has_gone(scorer, together, monkeypatch):
    sides = []
    counting(monkeypatch, sides)
    found = answers(scorer, together, given_up=(0, 2))
    assert sides == [[SIDES[1], SIDES[3]]] and [isinstance(each, asyncio.CancelledError) for each in found] == [1, 0, 1, 0]


def test_pictures_that_take_long_wait_for_no_other_s_head(scorer, monkeypatch):
    sides, begin = [], PhotoStages.begin

    def slowly(self, read):
        time.sleep(1.2 * module._LONGEST)
        return begin(self, read)

    monkeypatch.setattr(PhotoStages, "begin", slowly)
    counting(monkeypatch, sides)
    answers(scorer, threading.Event())
    assert sides == [[side] for side in SIDES]
