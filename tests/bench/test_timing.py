"""A rival that disagrees is never timed, and those that agree take turns."""

from __future__ import annotations

import numpy as np

from bench.measure import Case, compare
from bench.row import OURS, OURS_BF16, Refused, Row
from bench.timing import Rival, agreement, alternate, median_and_spread

EXPECTED = np.ones((2, 3), np.float32)


def _fails():
    raise OSError("no such\n device")


def test_what_is_wrong_with_each_rival_is_said_and_the_others_go_on():
    rivals = {
        "good": Rival("good", lambda: EXPECTED + 1e-7, 1e-6),
        "bad": Rival("bad", lambda: EXPECTED + 1e-3, 1e-6),
        "nan": Rival("nan", lambda: EXPECTED * np.nan, 1.0),
        "flat": Rival("flat", EXPECTED.ravel, 1.0),
        "broken": Rival("broken", _fails, 1.0),
        "late": Rival("late", lambda: EXPECTED, 1e-6),
    }
    errors, refused = agreement(rivals, EXPECTED)
    assert set(errors) == {"good", "late"} and errors["good"] < 1e-6
    assert refused == {
        "bad": "output differs by 1.0e-03 of the largest value, allowed 1.0e-06",
        "nan": "output differs by nan of the largest value, allowed 1.0e+00",
        "flat": "output must have shape (2, 3), got (6,)",
        "broken": "fails: OSError: no such device",
    }


def test_rivals_take_turns():
    calls = []
    rivals = {name: Rival(name, lambda name=name: calls.append(name) or np.zeros(1), 0.0) for name in "ab"}
    times = alternate(rivals, 3, least=0.0)
    assert calls == ["a", "b"] + ["a", "b"] * 3
    assert {name: len(of) for name, of in times.items()} == {"a": 3, "b": 3}
    assert median_and_spread([3.0, 1.0, 2.0]) == (2.0, 1.0)


def test_ratios_are_of_the_best_peer_of_the_same_precision_that_agrees():
    def rival(name, offset=0.0, setting=""):
        return Rival(name, lambda: EXPECTED + offset, 1e-6, setting)

    limits = {"multiply-adds avx2": 50.0, "multiply-adds portable": 10.0, "torch GEMM 2048 bfloat16, 2 threads": 300.0}
    case = Case("block", "block 1", 2, "a note", 1e9, limits)
    others = [rival("torch eager", setting="NCHW"), rival("wrong", 1.0), rival("also bf16"), rival("torch.compile")]
    found = list(compare(case, [rival(OURS), rival(OURS_BF16)], others, 3))
    refused = [one for one in found if isinstance(one, Refused)]
    rows = {one.name: one for one in found if isinstance(one, Row)}
    assert [str(one) for one in refused] == [
        "block 1, 2 threads, wrong: output differs by 1.0e+00 of the largest value, allowed 1.0e-06"
    ]
    assert set(rows) == {OURS, OURS_BF16, "torch eager", "also bf16", "torch.compile"}
    best = min(rows["torch eager"].seconds, rows["torch.compile"].seconds)
    assert rows[OURS].ratio == best / rows[OURS].seconds
    assert rows[OURS_BF16].ratio == rows["also bf16"].seconds / rows[OURS_BF16].seconds
    assert rows["torch eager"].ratio is None and rows["torch eager"].setting == "NCHW"
    assert rows[OURS].share == rows[OURS].gflops / 100.0 and rows[OURS_BF16].share == rows[OURS_BF16].gflops / 300.0
