"""Averages and a ReLU that comes last: options, plans, the C++ engine (GPUs: test_late_gpu.py)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dcnn_fast import networks, ops, plan
from dcnn_fast.nets import build
from dcnn_fast.ops.block import BACKENDS, BlockOptions
from dcnn_fast.runtime.column import column_maps
from dcnn_fast.runtime.executor import PlaneJob
from tests.ops.block.problems import AVERAGE, CROSS, POOL, operands, problem

AVERAGED = problem(1, 3, 12, 11, 8, 3, torch.float32, pool=AVERAGE, norm=CROSS)
LAST = problem(1, 3, 12, 11, 8, 3, torch.float32, pool=POOL, norm=CROSS, order="conv-norm-pool-relu")


@pytest.mark.needs_engine
@pytest.mark.parametrize("params", [AVERAGED, LAST], ids=str)
def test_the_engine_computes_them(params):
    for asked in (params, params.gradient()):
        assert BACKENDS["cpu"].can_run(asked, torch.device("cpu")) is None
    assert params.kept.again


def test_a_relu_behind_a_max_pool_is_the_one_before_it():
    x, weight, bias = operands(LAST)
    first = ops.block(x, weight, bias, pool=POOL)
    assert torch.equal(first, ops.block(x, weight, bias, pool=POOL, order="conv-pool-norm-relu"))
    assert not torch.equal(
        ops.block(x, weight, bias, pool=AVERAGE), ops.block(x, weight, bias, pool=AVERAGE, order="conv-pool-norm-relu")
    )


@pytest.mark.parametrize("params", [AVERAGED, LAST], ids=str)
def test_options_survive_the_operators_plain_arguments(params):
    assert BlockOptions.from_flat(*params.options.flat()) == params.options
    flat = list(params.options.flat())
    flat[4] = [3, 2, 2]
    with pytest.raises(ValueError, match="pool must be empty"):
        BlockOptions.from_flat(*flat)


def test_a_columns_blocks_may_have_them_and_older_files_say_what_they_did():
    blocks = (networks.Block(8, 3, pool=AVERAGE), networks.Block(8, 3, pool=POOL, norm=CROSS, order="conv-norm-pool-relu"))
    network = networks.Network("late", (networks.Column("warp", blocks, (4,), 20, 20),))
    data = networks.network_to_dict(network)
    assert networks.network_from_dict(data) == network
    assert [block["pool"] for block in data["columns"][0]["blocks"]] == [
        {"size": 3, "stride": 2, "kind": "avg"},
        {"size": 3, "stride": 2},
    ]
    rows = networks.column_costs(network.columns[0])
    assert [row.what for row in rows[1:2]] == ["avg 3x3 stride 2"] and rows[5].name == "relu2"
    with pytest.raises(ValueError, match="Pool: kind must be one of max, avg"):
        networks.Pool(kind="median")


@pytest.mark.needs_engine
@pytest.mark.parametrize("norm", [CROSS, networks.SameMapNorm(3, 0.3)], ids=str)
def test_windows_share_them_bit_for_bit(norm):
    blocks = (
        networks.Block(8, 5, 2, pool=POOL, norm=norm, order="conv-norm-pool-relu"),
        networks.Block(12, 3, padding=1, pool=AVERAGE, norm=norm, order="conv-pool-norm-relu"),
    )
    net = build(networks.Network("late", (networks.Column("warp", blocks, (4,), 60, 48),))).eval()
    plane = torch.randint(0, 256, (60, 60, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()
    windows = np.array([(0, 0), (2, 4), (5, 8), (12, 12), (4, 4), (6, 10)])
    (column,) = net.columns
    plans = plan.share(column.spec, windows, (60, 60), always=True), plan.brute_force(column.spec, windows)
    assert [made.name for made in plans] == ["sharing", "brute-force"]
    shared, alone = (column_maps(column, PlaneJob(windows, made, plane)) for made in plans)
    assert torch.equal(shared, alone)
    cut = torch.from_numpy(np.stack([plane[top : top + 48, left : left + 48] for top, left in sorted(map(tuple, windows))]))
    x = cut.permute(0, 3, 1, 2)
    for number, block in enumerate(column.blocks):
        x = block(x, column.spec.mean if not number else (), 1.0)
    torch.testing.assert_close(alone, x.detach().flatten(1), rtol=1e-4, atol=1e-4 * float(x.detach().abs().max()))


def test_they_are_written_of_single_layers_alone():
    network = networks.Network("late", (networks.Column("warp", (networks.Block(16, 3, pool=AVERAGE),), (4,), 20, 20),))
    with pytest.raises(networks.ConvNetError, match=r"\[conv1_0\] order and pool: a ReLU that comes last and averages"):
        networks.write_convnet_cfg(network)
