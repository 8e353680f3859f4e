"""Specs: sizes against the paper's arithmetic, checks, and the JSON round trip."""

from __future__ import annotations

import json

import pytest

from dcnn_fast.networks import (
    GEOMETRIES,
    Block,
    Column,
    CrossMapNorm,
    Network,
    Pool,
    SameMapNorm,
    column_costs,
    network_from_dict,
    network_to_dict,
    preset,
    preset_names,
    window_count,
)


@pytest.mark.parametrize(
    ("extent", "size", "stride", "up", "down"),
    [
        (224, 11, 2, 108, 107),
        (224, 11, 4, 55, 54),
        (108, 3, 2, 54, 53),
        (107, 3, 2, 53, 53),
        (3, 3, 1, 1, 1),
        (2, 3, 2, 1, 0),
        (1, 3, 1, 0, 0),
    ],
)
def test_window_count_is_cuda_convnets_ceiling_or_the_floor(extent, size, stride, up, down):
    assert window_count(extent, size, stride, "up") == up
    assert window_count(extent, size, stride, "down") == down


def test_up_covers_every_position_and_down_covers_none_outside():
    for extent in range(1, 40):
        for size in range(1, 8):
            for stride in range(1, size + 1):
                up, down = (window_count(extent, size, stride, rounding) for rounding in ("up", "down"))
                if up:
                    assert (up - 1) * stride + size >= extent
                    assert (up - 1) * stride < extent
                if down:
                    assert (down - 1) * stride + size <= extent < down * stride + size


# docs/paper.md#sizes, docs/paper.md#tables: the ticked layers of each row
@pytest.mark.parametrize(
    ("name", "geometry", "extents", "gmacs", "mparameters"),
    [
        ("scnn", "convnet", (224, 54, 27, 27, 27), 0.670, 47.1),
        ("scnn", "valid", (224, 53, 24, 22, 20), 0.570, 26.1),
        ("scnn-arch2", "convnet", (224, 54, 27), 0.616, 47.0),
        ("scnn-arch7", "convnet", (224, 54, 27, 27, 27, 27, 27), 0.724, 47.2),
        ("alexnet", "convnet", (224, 27, 13, 13, 13, 6), 0.720, 56.9),
    ],
)
def test_presets_have_the_sizes_and_costs_of_the_facts(name, geometry, extents, gmacs, mparameters):
    column = preset(name, geometry).columns[0]
    rows = column_costs(column)
    assert column.extents() == extents
    assert sum(row.macs for row in rows) / 1e9 == pytest.approx(gmacs, abs=5e-4)
    assert sum(row.parameters for row in rows) / 1e6 == pytest.approx(mparameters, abs=0.05)


def _ticks(name):
    network = preset(name)
    rows = column_costs(network.columns[0])
    return len(rows) + 1


def test_table_rows_have_as_many_layers_as_the_paper_ticks():
    assert [_ticks(f"scnn-arch{n}") for n in range(1, 8)] == [11, 9, 10, 11, 10, 12, 13]
    assert [_ticks(f"style-scnn-arch{n}") for n in range(1, 8)] == [11, 9, 10, 11, 10, 12, 13]


def test_the_style_network_halves_conv1_and_conv4_and_has_fourteen_labels():
    style = preset("style-scnn")
    assert [block.filters for block in style.columns[0].blocks] == [32, 64, 64, 32]
    assert len(style.labels) == 14


def test_multi_column_presets_see_the_papers_views_and_freeze_the_attribute_column():
    assert preset("dcnn").column_keys() == ("local:0", "warp:0")
    assert sorted(column.view for column in preset("quad").columns) == ["center", "local", "pad", "warp"]
    for name, key in (("rdcnn-style", "local:1"), ("rdcnn-semantic", "warp:1"), ("rdcnn-lite0", "warp:1")):
        network = preset(name)
        assert network.column_keys() == ("local:0", "warp:0", key)
        assert [column.frozen for column in network.columns] == [False, False, True]


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("name", preset_names())
def test_every_preset_survives_json(name, geometry):
    network = preset(name, geometry)
    assert network_from_dict(json.loads(json.dumps(network_to_dict(network)))) == network


def test_torchvisions_alexnet_has_its_parameter_count():
    column = preset("alexnet-torchvision").columns[0]
    convolutions_and_fc = sum(row.parameters for row in column_costs(column))
    assert convolutions_and_fc + 1000 * 4097 == 61_100_840  # the number torchvision documents for the 1000-label network


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pool(2, 3), "stride must not exceed size"),
        (lambda: Pool(0), "size must be an integer of at least 1, got 0"),
        (lambda: CrossMapNorm(scale=float("nan")), "scale must be a finite number, got nan"),
        (lambda: CrossMapNorm(k=0), "k must be positive"),
        (lambda: SameMapNorm(scale=-1), "scale must not be negative"),
        (lambda: Block(64, 3, padding=3), "padding must be less than size"),
        (lambda: Block(64, 3, stride=4), "stride must not exceed size"),
        (lambda: Block(5, 3, groups=2), "filters must be a multiple of groups"),
        (lambda: Block(64, True), "size must be an integer"),
        (lambda: Block(64, 3, order="pool-conv"), "order must be one of"),
        (lambda: Column(blocks=()), "blocks must hold at least one"),
        (lambda: Column(blocks=(Block(4, 3),), window=257), "window must not exceed plane"),
        (lambda: Column(blocks=(Block(4, 3, groups=2),)), "2 groups, which do not divide its 3 inputs"),
        (lambda: Column(blocks=(Block(4, 11),), window=8, plane=8), "does not fit"),
        (lambda: Column(blocks=(Block(4, 3),), mean=(1.0,)), "mean must have 3 entries"),
        (lambda: Column(blocks=(Block(4, 3),), dropout=1.0), "dropout must lie in"),
        (lambda: Column(view="side", blocks=(Block(4, 3),)), "view must be one of"),
        (lambda: Network("n", ()), "columns must hold at least one"),
        (lambda: Network("n", preset("scnn").columns, ("a", "a")), "two different names"),
        (lambda: preset("vgg"), "preset must be one of"),
        (lambda: preset("scnn", "same"), "geometry must be one of"),
        (lambda: network_from_dict([]), "must be a JSON object"),
        (lambda: network_from_dict({"name": "n", "columns": [{"blocks": [{"filters": 4}]}]}), "size"),
        (lambda: network_from_dict({"name": "n", "columns": [{"blocks": 3}]}), "must be a list"),
        (lambda: network_from_dict({"name": "n", "columns": [], "colour": 1}), "no field named colour"),
    ],
)
def test_bad_specs_are_refused_with_the_rule_and_what_came(make, message):
    with pytest.raises(ValueError, match=message):
        make()
