"""The peers compute what the engine computes, and a rival that does not is never timed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench import cases, floors
from bench.suites import OURS, Row
from bench.timing import DisagreementError, Rival, alternate, medians, require_agreement
from dcnn_fast import nets
from dcnn_fast.spec import Block, Column, CrossMapNorm, Network, Pool


@pytest.mark.parametrize("rounding", ["up", "down"])
@pytest.mark.parametrize("order", ["conv-pool-norm", "conv-norm-pool"])
def test_plain_torch_is_the_network(rounding, order):
    blocks = (
        Block(8, 5, stride=2, pool=Pool(), norm=CrossMapNorm(5, 0.1), order=order),
        Block(6, 3, padding=1, groups=2, pool=Pool(2, 2)),
    )
    column = Column("warp", blocks, (10, 7), plane=32, window=30, rounding=rounding)
    net = nets.build(Network("n", (column,)), seed=0).eval()
    x = torch.randn(3, 3, 30, 30, generator=torch.Generator().manual_seed(0)) * 60
    with torch.no_grad():
        expected = net.columns[0](x)
        plain = cases.plain(net)(x)
    torch.testing.assert_close(plain, expected, rtol=1e-4, atol=1e-5)


def test_windows_are_cut_as_the_scorer_cuts_them_in_either_layout():
    plane = cases.photograph(256, 256)
    cut = cases.Cut(plane, np.array([[3, 7], [0, 0], [3, 7]]))
    rows, index = cut.distinct()
    expected = np.stack([plane[t : t + 224, l : l + 224] for t, l in rows]).astype(np.float32) - np.array(
        cases.MEAN, np.float32
    )
    for memory in (torch.contiguous_format, torch.channels_last):
        tensor = cut.tensor(memory)
        assert tensor.is_contiguous(memory_format=memory)
        np.testing.assert_array_equal(tensor.permute(0, 2, 3, 1).numpy(), expected)
    assert rows[index].tolist() == cut.offsets.tolist()


def test_a_rival_that_disagrees_is_named():
    expected = np.ones((2, 3), np.float32)
    good, bad = Rival("good", lambda: expected + 1e-7, 1e-6), Rival("bad", lambda: expected + 1e-3, 1e-6)
    assert require_agreement({"good": good}, expected)["good"] < 1e-6
    with pytest.raises(DisagreementError, match="bad: output differs by 1.0e-03"):
        require_agreement({"good": good, "bad": bad}, expected)
    with pytest.raises(DisagreementError, match="nan: output differs"):
        require_agreement({"nan": Rival("nan", lambda: expected * np.nan, 1.0)}, expected)
    with pytest.raises(DisagreementError, match=r"flat: output must have shape \(2, 3\)"):
        require_agreement({"flat": Rival("flat", expected.ravel, 1.0)}, expected)


def test_rivals_take_turns():
    calls = []
    rivals = {name: Rival(name, lambda name=name: calls.append(name) or np.zeros(1), 0.0) for name in "ab"}
    seconds = alternate(rivals, 3, least=0.0)
    assert calls == ["a", "b"] + ["a", "b"] * 3
    assert {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3}
    assert medians({"a": [3.0, 1.0, 2.0]}) == {"a": 2.0}


def _row(suite, case, seconds, ratio, name=OURS, precision="fp32", gflops=None):
    return Row(suite, case, 1, name, precision, seconds, 0.0, 0.0, ratio, gflops)


def test_floors_that_are_missed_are_said():
    limits = {"multiply-adds avx512": 100.0}
    rows = [
        _row("block", "block 1", 1.0, 1.2, gflops=80.0),
        _row("block", "block 2", 1.0, 1.2, gflops=70.0),
        _row("score", "SCNN, grid 1", 1.0, 3.0),
        _row("score", "SCNN, grid 1", 4.0, None, name="torch eager"),
    ]
    assert floors.missed(rows, limits) == [
        "block 1, 1 thread, fp32: 1.20 x the best peer, the floor is 1.3",
        "block 2: 70% of the multiply-add rate 100 GFLOP/s, the floor is 75%",
        "SCNN, 1 threads: 4.00 x torch eager, the floor is 4.5",
    ]
    assert floors.missed(rows[2:3], limits) == []
