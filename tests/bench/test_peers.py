"""The peers compute the engine's results, each in the fastest of its settings."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from bench import cases, peers
from bench.chain import torch_chain
from bench.features import features
from bench.peers import Setting, settings_of
from bench.peers.settings import fastest, known
from bench.row import precision_of
from bench.timing import Rival, agreement
from dcnn_fast import nets, networks
from dcnn_fast.networks import Block, Column, CrossMapNorm, Network, Pool, SameMapNorm

BLOCKS = (Block(8, 5, stride=2, pool=Pool(), norm=CrossMapNorm(5, 0.1)), Block(6, 3, padding=1, groups=2, pool=Pool(2, 2)))


def _network(blocks=BLOCKS, rounding="up", **changes):
    column = Column("warp", blocks, (10, 7), **{"plane": 32, "window": 30, "rounding": rounding, **changes})
    return nets.build(Network("n", (column,)), seed=0).eval()


def _windows(count):
    return torch.randn(count, 3, 30, 30, generator=torch.Generator().manual_seed(0)) * 60


@pytest.mark.parametrize("rounding", ["up", "down"])
@pytest.mark.parametrize("order", ["conv-pool-norm", "conv-norm-pool"])
def test_plain_torch_is_the_network(rounding, order):
    first = Block(8, 5, stride=2, pool=Pool(), norm=CrossMapNorm(5, 0.1), order=order)
    net = _network((first, BLOCKS[1]), rounding)
    x = _windows(3)
    with torch.no_grad():
        torch.testing.assert_close(cases.plain(net)(x), net.columns[0](x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("changes", [{}, {"scale": 0.25, "mean": (9.0, 8.0, 7.0)}, {"plane": 40}, {"reduce": "mean"}], ids=str)
@pytest.mark.parametrize("threads", [1, 2])
def test_every_peer_takes_from_the_spec_what_a_column_does_to_pixels(changes, threads):
    """Our side plans and scores from bytes; the peers cut, subtract and scale on their own."""
    net = _network(**changes)
    torch.set_num_threads(threads)
    column = net.spec.columns[0]
    plane = cases.photograph(column.plane, column.plane)
    cut = cases.Cut(column, plane, cases.windows(column, plane.shape[:2], 12))
    expected = features(net, [cut])
    families = settings_of(cases.plain(net), (3, 30, 30), threads, compiled=False, bf16=False)
    for name, settings in families.items():
        peer = known(settings, settings[0].name)
        output = peer(cut.tensor(peer.memory))[cut.given()[1]]
        error = np.abs(output - expected).max() / np.abs(expected).max()
        assert error <= peers.tolerance(name), f"{name}: {error}"


def test_a_norm_within_maps_which_the_libraries_do_not_have_is_refused():
    net = _network((Block(8, 5, stride=2, pool=Pool(), norm=SameMapNorm()),))
    with pytest.raises(ValueError, match="block 1 has a norm within maps"):
        cases.plain(net)
    block = net.columns[0].blocks[0]
    with pytest.raises(ValueError, match="no norm within maps"):
        torch_chain(_windows(1), block.weight, block.bias, block.spec, "up")


def test_torch_compile_computes_the_same():
    net, x = _network(BLOCKS[:1]), _windows(3)
    (setting,) = settings_of(cases.plain(net), (3, 30, 30), 1, compiled=True, bf16=False)["torch.compile"]
    with torch.no_grad():
        expected = net.columns[0](x).numpy()
    output = setting.prepare()(x.contiguous(memory_format=setting.memory))
    assert np.abs(output - expected).max() / np.abs(expected).max() <= peers.tolerance("torch.compile")


@pytest.fixture(scope="module")
def scnn():
    """The network of most cases, three windows of a photograph, and the engine's result for them."""
    net = cases.scnn()
    column = net.spec.columns[0]
    plane = cases.photograph(column.plane, column.plane)
    cut = cases.Cut(column, plane, cases.windows(column, plane.shape[:2], 3))
    return net, cut, features(net, [cut])


def _peer_on(net, cut, **blocks):
    """Torch's side with blocks that differ from the network's."""
    plain = cases.plain(net)
    plain.blocks = [replace(block, **blocks) for block in plain.blocks]
    with torch.no_grad():
        return plain(cut.tensor(torch.contiguous_format))[torch.from_numpy(cut.given()[1])].numpy()


PLANTS = {
    "pixels not scaled": lambda net, cut: _peer_on(net, replace(cut, column=replace(cut.column, scale=1.0))),
    "a scale half as large": lambda net, cut: _peer_on(net, replace(cut, column=replace(cut.column, scale=1 / 128))),
    "no mean": lambda net, cut: _peer_on(net, replace(cut, column=replace(cut.column, mean=(0.0, 0.0, 0.0)))),
    "another mean": lambda net, cut: _peer_on(net, replace(cut, column=replace(cut.column, mean=(120.0, 115.0, 105.1)))),
    "windows one pixel off": lambda net, cut: _peer_on(net, replace(cut, offsets=np.abs(cut.offsets - 1))),
    "no norm": lambda net, cut: _peer_on(net, cut, norm=None),
    "norm before pool": lambda net, cut: _peer_on(net, cut, order="conv-norm-pool"),
    "another norm": lambda net, cut: _peer_on(net, cut, norm=CrossMapNorm(scale=5e-4)),
}


@pytest.mark.parametrize("plant", PLANTS)
def test_a_peer_that_treats_pixels_or_maps_otherwise_is_refused(scnn, plant):
    net, cut, expected = scnn
    right = {"torch eager": Rival("torch eager", lambda: _peer_on(net, cut), peers.FP32_ERROR)}
    wrong = {"torch eager": Rival("torch eager", lambda: PLANTS[plant](net, cut), peers.FP32_ERROR)}
    assert agreement(right, expected)[1] == {}
    assert "output differs" in agreement(wrong, expected)[1]["torch eager"]


@pytest.mark.parametrize("threads", [1, 2])
def test_every_setting_of_every_peer_computes_the_same(threads):
    net, x = _network(), _windows(23)  # a multiple neither of a chunk nor of two
    torch.set_num_threads(threads)
    with torch.no_grad():
        expected = net.columns[0](x).numpy()
    families = settings_of(cases.plain(net), (3, 30, 30), threads, compiled=False, bf16=True)
    assert {"torch eager", "torch eager bf16"} <= set(families)
    for name, settings in families.items():
        assert len({setting.name for setting in settings}) == len(settings)
        for setting in settings:
            output = setting.prepare()(x.contiguous(memory_format=setting.memory))
            error = np.abs(output - expected).max() / np.abs(expected).max()
            assert output.dtype == np.float32 and error <= peers.tolerance(name), f"{name}, {setting.name}: {error}"
            if precision_of(name) == "bf16":
                assert error > 1e-5, f"{name}, {setting.name} is not in bf16"


def test_torch_is_tried_in_both_layouts_and_the_libraries_with_more_streams_and_without_spinning():
    families = settings_of(cases.plain(_network()), (3, 30, 30), 2, compiled=True, bf16=False)
    assert {setting.name.split(",")[0] for setting in families["torch eager"]} == {"NCHW", "channels-last"}
    assert {setting.memory for setting in families["torch eager"]} == {torch.contiguous_format, torch.channels_last}
    for name, marks in {"ONNX Runtime": ("spinning on", "spinning off"), "OpenVINO": ("1 stream", "2 streams")}.items():
        for mark in marks:
            assert name not in families or any(mark in setting.name for setting in families[name]), (name, mark)


def _setting(name, run):
    return Setting(name, torch.contiguous_format, lambda: run)


def _fails(x):
    raise OSError("no such device")


def test_the_fastest_setting_is_taken_and_one_that_fails_is_passed_over():
    def slow(x):
        time.sleep(0.02)
        return x.numpy()

    quick = _setting("quick", lambda x: x.numpy())
    settings = [_setting("slow", slow), _setting("broken", _fails), quick, _setting("slow again", slow)]
    assert fastest(settings, torch.zeros(1, 1, 2, 2)).setting == "quick"
    assert known(settings, "slow").setting == "slow"


def test_a_library_of_which_every_setting_fails_says_so_when_it_is_run():
    peer = fastest([_setting("broken", _fails)], torch.zeros(1, 1, 2, 2))
    with pytest.raises(OSError, match="no such device"):
        peer(torch.zeros(1, 1, 2, 2))


@pytest.mark.parametrize("every", [False, True])
def test_windows_are_cut_as_the_scorer_cuts_them_in_either_layout(every):
    plane = cases.photograph(256, 256)
    column = replace(networks.preset("scnn-arch1").columns[0], mean=(120.0, 115.0, 105.0))
    cut = cases.Cut(column, plane, np.array([[3, 7], [0, 0], [3, 7]]), every)
    rows, index = cut.given()
    assert len(rows) == (3 if every else 2)
    pixels = np.stack([plane[t : t + 224, l : l + 224] for t, l in rows]).astype(np.float32)
    expected = (pixels - np.array([120, 115, 105], np.float32)) / np.float32(64)
    for memory in (torch.contiguous_format, torch.channels_last):
        tensor = cut.tensor(memory)
        assert tensor.is_contiguous(memory_format=memory)
        np.testing.assert_array_equal(tensor.permute(0, 2, 3, 1).numpy(), expected)
    assert rows[index].tolist() == cut.offsets.tolist()
