"""Compact columns: changed sizes, kept sizes, and refusals of columns that no longer fit."""

from __future__ import annotations

import pytest

from dcnn_fast import networks


def test_sizes_change_in_every_column_and_nothing_else_does():
    network = networks.preset("dcnn")
    small = networks.compact(network, plane=72, window=64, stride=1, filters=0.25, fc=(64, 32))
    for column, before in zip(small.columns, network.columns, strict=True):
        assert (column.plane, column.window, column.fc) == (72, 64, (64, 32))
        assert [block.filters for block in column.blocks] == [16, 16, 16, 16]
        assert [block.stride for block in column.blocks] == [1, 1, 1, 1]
        assert column.extents() == (64, 27, 13, 13, 13)
        assert (column.view, column.dropout, column.rounding) == (before.view, before.dropout, before.rounding)
        assert [block.pool for block in column.blocks] == [block.pool for block in before.blocks]
    assert networks.compact(network) == network


def test_a_plane_alone_keeps_the_windows_proportion():
    (column,) = networks.compact(networks.preset("scnn"), plane=128).columns
    assert (column.plane, column.window) == (128, 112)


def test_a_frozen_column_stays():
    network = networks.preset("rdcnn-style")
    small = networks.compact(network, plane=72, filters=0.5)
    assert small.columns[2] == network.columns[2]
    assert small.columns[0].blocks[0].filters == 32


def test_filters_stay_whole_groups():
    (column,) = networks.compact(networks.preset("alexnet"), filters=0.01).columns
    assert [(block.filters, block.groups) for block in column.blocks] == [(4, 1), (8, 2), (4, 1), (8, 2), (8, 2)]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"filters": 0}, "filters must be positive, got 0"),
        ({"filters": float("nan")}, "filters must be a finite number"),
        ({"plane": 0}, "plane must be an integer of at least 1, got 0"),
        ({"window": 300}, "window must not exceed plane, got 300 and 256"),
        ({"plane": 16}, "block 2 does not fit|block 1 does not fit|does not fit"),
        ({"stride": 12}, "stride must not exceed size"),
    ],
)
def test_what_does_not_fit_is_refused(changes, why):
    with pytest.raises(ValueError, match=why):
        networks.compact(networks.preset("scnn", "valid"), **changes)
