"""Columns from other model files, and frozen ones (paper II-C, III-B, III-E, III-F)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from dcnn_fast import networks
from dcnn_fast.nets.column import AnyColumn, Column
from dcnn_fast.nets.graph import GraphColumn
from dcnn_fast.nets.modelfile import Model, load_model
from dcnn_fast.nets.network import MultiColumn

Source = AnyColumn | Model | MultiColumn | str | Path
Sources = Mapping[int, Source | tuple[Source, int]]


def load_columns(net: MultiColumn, sources: Sources) -> MultiColumn:
    """Copy the weights of other networks' columns into columns of a network, with their mean and scale.

    Views, planes and windows may differ where the layers fit.

    Args:
        net: The network whose columns are initialised.
        sources: For each column to initialise, by its number from 0: a column, or a model, a network or the path of a model
            file with the index of its column, 0 by default.

    Returns:
        `net` itself.

    Raises:
        ValueError: A column does not fit its source; the message names the column and the difference.
        ModelError: A file is no model file.
    """
    taken = {number: _column(source) for number, source in sources.items()}
    for number, theirs in taken.items():
        if not 0 <= number < len(net.columns):
            raise ValueError(f"sources must name columns from 0 to {len(net.columns) - 1}, got {number}")
        _require_equal(number, net.spec.columns[number], theirs.spec)
    for number, theirs in taken.items():
        mine = net.columns[number]
        mine.load_state_dict(theirs.state_dict())
        if isinstance(mine, (Column, GraphColumn)):
            mine.spec = replace(mine.spec, scale=theirs.spec.scale)
            mine.set_mean(theirs.spec.mean)
    return net


def shaped_as(network: networks.Network, sources: Sources) -> networks.Network:
    """A network whose frozen columns have the layers, view and pixels of their sources.

    Args:
        network: The network as data.
        sources: The sources, as in `load_columns`; columns that are not frozen stay as they are.

    Returns:
        The network with those columns.

    Raises:
        ValueError: A source has no column of its index.
        ModelError: A file is no model file.
    """
    columns = tuple(
        replace(_column(sources[number]).spec, frozen=True) if column.frozen and number in sources else column
        for number, column in enumerate(network.columns)
    )
    return replace(network, columns=columns)


def freeze(net: MultiColumn, columns: Collection[int]) -> MultiColumn:
    """Freeze exactly these columns of a network: no gradients, no dropout, recorded in the spec.

    Args:
        net: The network.
        columns: The columns' numbers, from 0; all others are trained.

    Returns:
        `net` itself.

    Raises:
        ValueError: There is no column of a number.
    """
    unknown = sorted(set(columns) - set(range(len(net.columns))))
    if unknown:
        raise ValueError(f"columns must be from 0 to {len(net.columns) - 1}, got {unknown}")
    specs = tuple(replace(column, frozen=number in columns) for number, column in enumerate(net.spec.columns))
    for column, described in zip(net.columns, specs, strict=True):
        assert isinstance(column, AnyColumn)
        column.spec = described
        column.requires_grad_(not described.frozen)
        column.train(net.training)
    return net


def _column(source: Source | tuple[Source, int]) -> AnyColumn:
    found, number = source if isinstance(source, tuple) else (source, 0)
    if isinstance(found, AnyColumn):
        return found
    if isinstance(found, (str, Path)):
        found = load_model(found)
    columns = (found.net if isinstance(found, Model) else found).columns
    if not 0 <= number < len(columns):
        raise ValueError(f"a source must name a column from 0 to {len(columns) - 1}, got {number}")
    column = columns[number]
    assert isinstance(column, AnyColumn)
    return column


_COMPARED = {
    networks.Column: ("channels", "blocks", "rounding", "reduce", "features", "fc"),
    networks.BackboneColumn: ("lite", "stages", "fc"),
    networks.GraphColumn: ("channels", "layers", "features"),
}


def _require_equal(number: int, mine: networks.AnyColumn, theirs: networks.AnyColumn) -> None:
    if type(mine) is not type(theirs):
        raise ValueError(f"column {number}: its source must be a {type(mine).__name__}, got a {type(theirs).__name__}")
    for name in _COMPARED[type(mine)]:
        wanted, found = getattr(mine, name), getattr(theirs, name)
        if wanted != found:
            raise ValueError(
                f"column {number}: {name} must be those of its source; the network has {wanted}, the source {found}"
            )
