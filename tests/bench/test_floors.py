"""The floors are those that the project promised, and a run that misses one says which."""

from __future__ import annotations

from bench import floors
from bench.row import OURS, OURS_BF16, Row
from bench.suites import jpeg, score, training


def _row(suite, case, seconds, ratio, name=OURS, **fields):
    return Row(suite, case, 1, name, "bf16" if name.endswith("bf16") else "fp32", seconds, ratio=ratio, **fields)


def test_floors_that_are_missed_are_said():
    rows = [
        _row("block", "block 1", 1.0, 1.2, share=0.8),
        _row("block", "block 2", 1.0, 1.2, share=0.7),
        _row("score", "SCNN, grid 1", 1.0, 3.0),
        _row("score", "SCNN, grid 1", 4.0, None, name="torch eager"),
        _row("score", score.GRID_8, 1.0, 3.9, name=OURS_BF16),
        _row("score", score.GRID_8_EVERY, 1.0, 3.9, name=OURS_BF16),
        _row("jpeg", jpeg.NETWORK, 1.0, 0.5, name=OURS_BF16),
        _row("jpeg", jpeg.NETWORK, 1.0, 0.5),
    ]
    assert floors.missed(rows) == [
        "block 1, 1 thread, fp32: 1.20 x the best peer, the floor is 1.3",
        "SCNN, grid 8, 1 thread, bf16: 3.90 x the best peer, the floor is 4",
        "DCNN, 12 MP JPEG, network, 1 thread, bf16: decoding takes 0.50 x the network's time, the floor is 1",
        "block 2: 70% of the multiply-add rate, the floor is 75%",
        "SCNN, grid 1, 1 thread: 4.00 x torch eager, the floor is 4.5",
    ]
    assert floors.missed(rows[2:3]) == []


def test_a_training_step_is_held_to_torch_eagers_time_and_memory_on_as_many_threads():
    def steps(case, ours, theirs, memory):
        return [
            _row("training", case, ours, None, peak_bytes=memory),
            _row("training", case, theirs, None, name="torch eager", peak_bytes=100),
            _row("training", case, 0.1, None, name="torch.compile", peak_bytes=10),
        ]

    assert floors.missed([*steps(training.SCNN, 2.0, 2.9, 71), *steps(training.DCNN, 2.0, 3.0, 70)]) == [
        "SCNN, a training step, 1 thread: 1.45 x torch eager, the floor is 1.5",
        "SCNN, a training step, 1 thread: 71% of torch eager's memory, the most allowed is 70%",
    ]
    alone = steps(training.SCNN, 2.0, 2.9, 71)[:1]
    assert floors.missed(alone) == []
    assert floors.missed(steps(training.SCNN, 2.0, 3.0, None)) == []
