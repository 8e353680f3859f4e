"""The soak's judgement: growth is found, an allocator's normal behaviour is not reported."""

from __future__ import annotations

import numpy as np
import pytest

from dcnn_fast import Scorer
from tests import small
from tools import soak


def looks(rss, threads=(4,) * 40, files=(9,) * 40):
    return [soak.Look(500 * (i + 1), int(rss[i]), int(rss[i]), threads[i], files[i]) for i in range(40)]


FLAT = 500e6 + np.random.default_rng(0).normal(0, 3e6, 40)
RISING = FLAT + 1_000 * 500 * np.arange(40)
WARMING = FLAT - np.where(np.arange(40) < 9, 100e6, 0)


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        (looks(FLAT), []),
        (looks(WARMING), []),
        (looks(RISING), ["memory grows by "]),
        (looks(FLAT, threads=(4,) * 39 + (21,)), ["threads grow from 4 to 21"]),
        (looks(FLAT, threads=(4,) * 39 + (9,)), []),
        (looks(FLAT, files=(9, *range(9, 48))), ["files grow from 17 to 47"]),
    ],
    ids=["flat", "warming", "rising", "threads", "some threads", "files"],
)
def test_what_grows_is_named(given, wrong):
    _, found = soak.growth(given)
    assert len(found) == len(wrong) and all(one.startswith(other) for one, other in zip(found, wrong, strict=True)), found


def test_a_row_of_pictures_is_scored_and_looked_at(monkeypatch, capsys):
    monkeypatch.setattr(soak, "EVERY", 50)
    found, failed = soak.soak(Scorer(small.model(), samples=1), 200, 2)
    assert [each.pictures for each in found] == [50, 100, 150, 200] and 200 // 4 < failed < 200 // 2
    assert found[0].rss > 10**8 and found[0].files > 2 and len(capsys.readouterr().out.splitlines()) == 4
