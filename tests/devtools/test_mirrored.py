"""Launches on copies of the memory that they reach, as the kernels' tests run on a GPU; here the simulator gets the copies."""

from __future__ import annotations

import torch

from dcnn_fast import ops
from dcnn_fast.ops.launch import Launch
from devtools.mirrored import Mirror, mirrored
from devtools.simulated import simulate, simulated
from tests.ops.block.problems import CROSS, POOL, operands, problem
from tests.ops.guarded import assert_untouched, output, poisoned


def _block(monkeypatch, context):
    monkeypatch.setenv("DCNN_FAST_BACKEND", "triton")
    x, weight, bias = operands(problem(2, 16, 9, 11, 8, 3, torch.float32, pool=POOL, norm=CROSS))
    with context as done:
        result = ops.block(poisoned(x), weight, bias, pool=POOL, norm=CROSS)
    return result, done


def test_a_launch_with_addresses_in_tables_gives_the_same_on_copies(monkeypatch):
    seen = []

    def launcher(what):
        seen.append(what)
        simulate(what, 80)  # it refuses any access outside the launch's arguments, here the copies

    expected, _ = _block(monkeypatch, simulated())
    result, done = _block(monkeypatch, mirrored("cpu", launcher))
    assert torch.equal(result, expected)
    assert len(done) == len(seen) == 1
    (original, _), (copy,) = done[0], seen
    for name, value in original.args.items():
        if isinstance(value, torch.Tensor):
            assert copy.args[name].data_ptr() != value.data_ptr() and copy.args[name].stride() == value.stride()


def test_what_lies_around_a_tensor_comes_along_and_goes_back():
    inner, buffer = output((2, 3), torch.float32)
    there = Mirror(torch.device("cpu"), [inner])
    there.tensor(inner).fill_(3.0)
    there.copy_back()
    assert (inner == 3.0).all()
    assert_untouched(buffer)
    copy = there.tensor(inner)
    copy.as_strided((1,), (1,), copy.storage_offset() - 1).fill_(7.0)
    there.copy_back()
    assert buffer[63] == 7.0


def test_tables_get_the_copies_addresses_and_keep_everything_else():
    data, empty = torch.arange(10.0), torch.empty(0)
    table = torch.tensor([data.data_ptr(), data.data_ptr() + 8, 40, -1, data.data_ptr() + 40, 0])
    there = Mirror(torch.device("cpu"), [table, data, empty])
    args = there.launch(Launch(None, (1,), {"table": table, "n": 3}, {}, reads=[data, empty])).args
    address = there.tensor(data).data_ptr()
    assert args["table"].tolist() == [address, address + 8, 40, -1, data.data_ptr() + 40, 0]
    assert args["n"] == 3
    assert table[0] == data.data_ptr()
