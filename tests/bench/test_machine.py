"""The machine's upper limits, under the names that shares refer to."""

from __future__ import annotations

import pytest

from bench import machine


@pytest.mark.needs_engine
def test_limits_have_peaks_and_bandwidth_for_each_number_of_threads(monkeypatch):
    monkeypatch.setattr(machine, "_best", lambda run, rounds: run() is not None)  # one second each
    found = machine.limits([1, 2], rounds=1)
    assert machine.peak_rate(found, "fp32", 2) == 2 * machine.peak_rate(found, "fp32", 1) > 0
    for threads in (1, 2):
        assert machine.peak_rate(found, "bf16", threads) == 2 * 2048**3 / 1e9
        assert machine.bandwidth(found, threads) == 2**27 / 1e9
    assert {"torch GEMM 2048 float32", "torch GEMM 2048 float32, 2 threads", "copying memory GB/s"} <= set(found)


def test_without_the_engine_there_is_no_share_of_its_peak():
    assert machine.peak_rate({"torch GEMM 2048 bfloat16": 100.0}, "fp32", 1) is None
    assert machine.peak_rate({}, "bf16", 1) is None and machine.bandwidth({}, 1) is None
