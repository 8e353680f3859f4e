"""Networks written as cuda-convnet's files read back equal, or are refused with the reason."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dcnn_fast import networks
from dcnn_fast.networks import (
    Block,
    Column,
    ConvNetError,
    CrossMapNorm,
    LayerRule,
    Network,
    Pool,
    SameMapNorm,
    parse_convnet_cfg,
)
from dcnn_fast.networks.convnet_cfg_write import preprocessing_of, write_convnet_cfg


def back(network, rules=None, dialect="v1"):
    layers, params = write_convnet_cfg(network, rules, dialect)
    return parse_convnet_cfg(layers, params, preprocessing_of(network), name=network.name, labels=network.labels)


scales = st.floats(0, 10)
norms = st.one_of(
    st.none(),
    st.builds(CrossMapNorm, st.integers(1, 9), scales, st.floats(0.1, 2), st.sampled_from([1.0, 2.0, 0.5])),
    st.builds(SameMapNorm, st.integers(1, 9), scales, st.floats(0.1, 2)),
)


@st.composite
def blocks(draw):
    size = draw(st.integers(1, 5))
    pool = draw(st.one_of(st.none(), st.integers(1, 3).flatmap(lambda s: st.builds(Pool, st.just(s), st.integers(1, s)))))
    norm = draw(norms)
    order = draw(st.sampled_from(networks.ORDERS[:2])) if pool and norm else "conv-pool-norm"
    groups = draw(st.sampled_from([1, 2]))
    return Block(
        16 * groups * draw(st.integers(1, 3)),
        size,
        draw(st.integers(1, size)),
        draw(st.integers(0, size - 1)),
        groups,
        pool,
        norm,
        order,
    )


@st.composite
def drawn_networks(draw):
    columns = []
    for _ in range(draw(st.integers(1, 3))):
        made = draw(st.lists(blocks(), min_size=1, max_size=3))
        made[0] = dataclasses.replace(made[0], groups=1)
        sizes = tuple(draw(st.lists(st.integers(1, 50), min_size=1, max_size=3)))
        try:
            columns.append(
                Column(
                    draw(st.sampled_from(networks.VIEWS)),
                    tuple(made),
                    sizes,
                    64,
                    48,
                    3,
                    "up",
                    draw(st.integers(0, 99)) / 100,
                    (1.5, 2.0, 3.0),
                    0.5,
                    draw(st.booleans()),
                )
            )
        except ValueError:
            assume(False)
    return Network("random", tuple(columns), tuple(map(str, range(draw(st.integers(2, 5))))))


rates = st.floats(1e-9, 10)
rules_of = st.builds(
    LayerRule, st.just(""), rates, rates, rates, rates, rates, st.sampled_from(["const", "exp[tgtFactor=7]"]),
    st.sampled_from(["const", "linear[tgtFactor=3.5]", "dexp[tgtFactor=250;numSteps=4]"]), rates, st.floats(-2, 2),
)  # fmt: skip


def parts(network):
    names = [f"columns.{i}.blocks.{j}" for i, c in enumerate(network.columns) for j in range(len(c.blocks))]
    return [*names, *(f"columns.{i}.fc.{j}" for i, c in enumerate(network.columns) for j in range(len(c.fc))), "label"]


@settings(deadline=None, max_examples=150)
@given(network=drawn_networks(), data=st.data())
def test_what_is_written_is_read_back_equal(network, data):
    rules = {part: data.draw(rules_of) for part in parts(network)}
    read = back(network, rules, "v2")
    assert read.network == network
    for part, rule in rules.items():
        fixed = part != "label" and network.columns[int(part.split(".")[1])].frozen
        wanted = {"rate": 0.0, "bias_rate": 0.0} if fixed else {}
        found = read.rules[part]
        assert (found.rate, found.bias_rate) == (wanted.get("rate", rule.rate), wanted.get("bias_rate", rule.bias_rate))
        assert dataclasses.replace(found, layer="", rate=rule.rate, bias_rate=rule.bias_rate) == rule


@settings(deadline=None, max_examples=60)
@given(network=drawn_networks())
def test_version_1_too_where_its_norms_have_k_1(network):
    norms = [block.norm for column in network.columns for block in column.blocks]
    if any(isinstance(norm, CrossMapNorm) and norm.k != 1 for norm in norms):
        with pytest.raises(ConvNetError, match="k: must be 1 in v1"):
            write_convnet_cfg(network)
    else:
        assert back(network).network == network


@pytest.mark.parametrize("dialect", ["v1", "v2"])
@pytest.mark.parametrize("name", networks.preset_names())
def test_presets_are_read_back_or_refused(name, dialect):
    network = networks.preset(name)
    refusals = {"alexnet-torchvision": "rounding must be up"}
    refusals |= dict.fromkeys(("lite0", "rdcnn-lite0"), "no layers like those of EfficientNet-Lite")
    if dialect == "v1":
        refusals |= dict.fromkeys(("alexnet", "alexnet-dcnn", "rdcnn-semantic"), "k: must be 1 in v1")
    if name in refusals:
        with pytest.raises(ConvNetError, match=refusals[name]):
            write_convnet_cfg(network, dialect=dialect)
    else:
        assert back(network, dialect=dialect).network == network


def test_filters_are_written_for_each_group_and_version_2s_keys_where_it_reads_them():
    layers, params = write_convnet_cfg(networks.preset("alexnet"), dialect="v2")
    assert "minDiv" in params and "keep" in params and "minDiv" not in layers and "keep" not in layers
    conv2 = layers.split("[conv2_0]")[1].split("[")[0].split()
    assert {"channels=96", "groups=2", "filters=128"} <= set(conv2)


def test_what_cuda_convnet_cannot_say_is_refused():
    network = networks.preset("dcnn")
    first, second = network.columns

    def columns(**changes):
        return dataclasses.replace(network, columns=(first, dataclasses.replace(second, **changes)))

    for wrong, message in (
        (columns(reduce="mean"), "column 1: reduce must be flatten"),
        (columns(scale=2.0), "columns must have one scale"),
        (columns(blocks=(Block(20, 3),)), r"\[conv1_1\] filters: must be a multiple of 16 in each group in v1, got 20"),
        (columns(blocks=(Block(16, 3), Block(16, 3, groups=2))), r"\[conv2_1\] filters: .* in each group in v1, got 8"),
        (dataclasses.replace(network, attributes=("a", "b")), "attributes"),
    ):
        with pytest.raises(ConvNetError, match=message):
            write_convnet_cfg(wrong)
    with pytest.raises(ConvNetError, match="schedule: must be const in v1"):
        write_convnet_cfg(network, {"label": LayerRule(schedule="exp[tgtFactor=2]")})
    with pytest.raises(ConvNetError, match="column 0: rules without rates"):
        write_convnet_cfg(network, {"columns.0.fc.0": LayerRule(rate=0, bias_rate=0)})
