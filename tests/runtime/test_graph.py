"""Networks with a column of single layers on the cpu: beside columns of blocks, after a fork, in two precisions."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from dcnn_fast import Scorer
from dcnn_fast.nets import Model, build
from dcnn_fast.networks import Block, Column, GraphColumn, Network, Pool
from dcnn_fast.networks.graph_layers import ConvLayer, FcLayer, NeuronLayer, NormLayer, PoolLayer
from dcnn_fast.ops.launch import launched_by
from dcnn_fast.runtime import executor_of

SIDE = 24
LAYERS = (
    ConvLayer((0,), 6, 5, 2), NormLayer((1,)), PoolLayer((2,)), NeuronLayer((3,)),
    ConvLayer((4,), 4, 3, shared=False, bias="place"),
    NeuronLayer((5,), "logistic"), FcLayer((6,), 5),
)  # fmt: skip
GRAPH = GraphColumn(LAYERS, "warp", SIDE, SIDE, mean=(100.0, 90.0, 80.0))
BLOCKS = Column("pad", (Block(8, 5, 2, pool=Pool()),), (6, 5), SIDE, SIDE)


def model(*columns, seed=0):
    return Model(build(Network("mixed", columns), seed=seed).eval())


def picture(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)


@pytest.mark.parametrize("columns", [(GRAPH,), (GRAPH, BLOCKS), (BLOCKS, GRAPH)], ids=["alone", "first", "second"])
def test_a_score_is_what_the_network_gives(columns):
    made, pixels = model(*columns), picture()
    window = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = made.net(*[window] * len(columns)).double().softmax(1)[0, 1]
    exact = Scorer(made, samples=2).score(pixels).mean
    assert exact == pytest.approx(float(expected), rel=1e-4)
    assert Scorer(made, samples=2, dtype="bfloat16").score(pixels).mean == pytest.approx(float(expected), abs=0.01)


def test_pictures_scored_together_have_the_bits_of_each_alone():
    scorer = Scorer(model(GRAPH, BLOCKS), samples=3)
    pictures = [picture(seed) for seed in range(4)]
    together = [score.mean for score in scorer.score_many(pictures)]
    assert together == [scorer.score(pixels).mean for pixels in pictures] and len(set(together)) == 4


def test_weights_that_changed_count_from_the_next_score_on():
    made, pixels = model(GRAPH), picture()
    scorer = Scorer(made, samples=1)
    before = scorer.score(pixels).mean
    with torch.no_grad():
        made.net.columns[0].layers[4].bias.add_(0.5)
    after = scorer.score(pixels).mean
    assert after != before and after == Scorer(made, samples=1).score(pixels).mean


def test_a_child_made_by_a_fork_scores_alike():
    scorer, pixels = Scorer(model(GRAPH), samples=2), picture()
    expected = scorer.score(pixels).mean
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.write(write, repr(scorer.score(pixels).mean).encode())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert float(os.read(read, 100)) == expected
    os.close(read)
    os.close(write)


def test_it_is_refused_on_a_gpu_by_name():
    said = "device must be cpu for a network with a column of single layers"
    with launched_by(lambda _: None), pytest.raises(ValueError, match=said):
        executor_of(model(GRAPH).net, "cuda")
