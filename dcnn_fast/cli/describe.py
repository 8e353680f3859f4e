"""`dcnn-fast describe`: a network's layer table."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from dcnn_fast import networks
from dcnn_fast.cli.console import fail, note, plain_table, stdout
from dcnn_fast.cli.input_files import require_file
from dcnn_fast.cli.options import takes
from dcnn_fast.cli.targets import TargetError, Wanted, check, json_with, reason
from dcnn_fast.printable import printable


@dataclass(frozen=True)
class LayerFiles:
    """The companions of a layer-definition file: its parameter file, and the sides of the plane and of the windows."""

    params: str | None = None
    plane: int | None = None
    window: int | None = None

    def require_none(self, name: str) -> None:
        """Raise ValueError if an option is given for a network that has no layer-definition file."""
        for option, value in (("layer-params", self.params), ("plane", self.plane), ("window", self.window)):
            if value is not None:
                raise ValueError(f"{option} must not be given but for a layer-definition file, .cfg, got {value} and {name}")


_NOTHING = LayerFiles()
LayerParams = Annotated[
    str | None, typer.Option(metavar="PATH", help="The parameter file of a layer-definition file; it has the norms' constants.")
]
Plane = Annotated[int | None, typer.Option(help="Side of the plane that windows are cut from, for a layer-definition file.")]
Window = Annotated[
    int | None, typer.Option(help="Side of the windows, for a layer-definition file: 32 for CIFAR's networks; default 224.")
]


@dataclass(frozen=True, kw_only=True)
class DescribeOptions:
    """The command line of `dcnn-fast describe`."""

    name: Annotated[
        str | None,
        typer.Argument(help="A preset, a model file or cuda-convnet's layer-definition file, .cfg; default: list the presets."),
    ] = None
    geometry: Annotated[
        str, typer.Option(help="Geometry of a preset: convnet (rounding up, pads 0/2/1/1) or valid (rounding down, no pads).")
    ] = "convnet"
    layer_params: LayerParams = None
    plane: Plane = None
    window: Window = None
    json_path: Annotated[
        str | None,
        typer.Option(
            "--json",
            metavar="PATH",
            help="Write the description as JSON; - is standard output. Only an earlier description is replaced.",
        ),
    ] = None
    filters: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            help="Draw a model file's first filters in this folder, a picture per column; only such pictures are replaced.",
        ),
    ] = None

    @property
    def layer_files(self) -> LayerFiles:
        """The options that belong to a layer-definition file."""
        return LayerFiles(self.layer_params, self.plane, self.window)


@takes(DescribeOptions)
def describe(options: DescribeOptions) -> None:
    """Print a network's layers: sizes, parameters and multiplications per view; and the origin of a model file's weights.

    Exit status: 0; 2 for a wrong call; 3 when a picture or the JSON could not be written.
    """
    name, json_path, filters = options.name, options.json_path, options.filters
    if name is None and json_path is not None:
        raise typer.Exit(3 * _json_failed(json_path, {"dcnn_fast_presets": 1, "presets": networks.preset_names()}))
    if name is None:
        table = plain_table("preset", "what it is")
        for preset, about in networks.preset_names().items():
            table.add_row(preset, about)
        stdout().print(table)
        return
    try:
        network = network_named(name, options.geometry, options.layer_files)
        provenance = _provenance_of(name)
        failed = filters is not None and _draw_filters(name, filters)
    except (ValueError, OSError) as error:
        fail(str(error))
    if json_path is not None:
        failed = _json_failed(json_path, _as_dict(network), inputs=[name]) or failed
    if json_path != "-":
        _print(network)
        for line in provenance:
            stdout().print(line)
    if failed:
        raise typer.Exit(3)


def _print(network: networks.Network) -> None:
    for key, column in zip(network.column_keys(), network.columns, strict=True):
        _print_column(key, column)
    joined = _joined(network)
    parameters, macs = _totals(network)
    out = stdout()
    if network.long_side is not None:
        out.print(f"photographs with a longer side than {network.long_side} pixels are reduced to it")
    out.print(f"label    {joined} -> {len(network.labels)} ({printable(', '.join(network.labels))})")
    if network.attributes:
        out.print(f"second   {joined} -> {len(network.attributes)} ({printable(', '.join(network.attributes))})")
    out.print(f"total    {parameters:,} parameters, {macs:,} multiplications per view ({macs / 1e9:.3f} G)")


def network_named(name: str, geometry: str, files: LayerFiles = _NOTHING) -> networks.Network:
    """The preset of that name, or the network of the model file or the layer-definition file at that path.

    files: further options for a layer-definition file; without its parameters norms have no scale, as a note says.
    """
    if name.endswith(".cfg"):
        return _of_layer_files(name, files)
    files.require_none(name)
    if _is_model(name):
        require_file(name)
        from dcnn_fast.nets import load_model  # noqa: PLC0415 - imports torch, which the presets don't need

        return load_model(name).spec
    return networks.preset(name, geometry)  # type: ignore[arg-type]


def _is_model(name: str) -> bool:
    return name.endswith(".safetensors") or (name not in networks.preset_names() and os.path.lexists(name))


def _provenance_of(name: str) -> list[str]:
    """The origin of a model file's weights."""
    if name.endswith(".cfg") or not _is_model(name):
        return []
    from dcnn_fast.cli.provenance import lines_of  # noqa: PLC0415 - imports torch
    from dcnn_fast.nets import load_model  # noqa: PLC0415

    return lines_of(load_model(name).provenance)


def _of_layer_files(name: str, files: LayerFiles) -> networks.Network:
    for path in (name, *([] if files.params is None else [files.params])):
        require_file(path)
    data = networks.preprocessing(plane=files.plane, window=files.window)
    read = networks.read_convnet_cfg(name, files.params, data, sizes_only=True)
    for text in read.notes:
        note(text)
    return read.network


def _draw_filters(name: str, folder: Path) -> bool:
    """Draw the filters; returns whether one could not be written."""
    from dcnn_fast.cli.writing import picture_failed, picture_targets  # noqa: PLC0415 - imports torch
    from dcnn_fast.nets import load_model  # noqa: PLC0415
    from dcnn_fast.viz.filters import filters  # noqa: PLC0415
    from dcnn_fast.viz.first_filters import filter_files, first_filters  # noqa: PLC0415
    from dcnn_fast.viz.picture_files import save_picture  # noqa: PLC0415

    if not name.endswith(".safetensors"):
        raise ValueError(f"filters are those of a model file, got the preset {name}")
    model = load_model(name)
    targets = picture_targets("--filters", folder, filter_files(model.spec), inputs=[name], overwrite=True)
    pictures = [filters(weight) for weight in first_filters(model)]
    pairs = zip(targets.values(), pictures, strict=True)
    failures = [picture_failed(target, partial(save_picture, picture)) for target, picture in pairs]
    return any(failures)


def _joined(network: networks.Network) -> int:
    """The size of the label layer's input."""
    return sum(column.outputs for column in network.columns)


def _totals(network: networks.Network) -> tuple[int, int]:
    """Parameters and multiplications per view, including the label layer's."""
    costs = [layer for column in network.columns for layer in networks.column_costs(column)]
    outputs, joined = len(network.labels) + len(network.attributes), _joined(network)
    parameters = sum(layer.parameters for layer in costs) + outputs * (joined + 1)
    return parameters, sum(layer.macs for layer in costs) + outputs * joined


def _as_dict(network: networks.Network) -> dict[str, Any]:
    """The network as JSON; schema "network.v1.json"."""
    parameters, macs = _totals(network)
    columns = zip(network.column_keys(), network.columns, strict=True)
    return {
        "dcnn_fast_network": 1, "name": network.name, "labels": list(network.labels), "attributes": list(network.attributes),
        "long_side": network.long_side, "columns": [_column_as_dict(key, column) for key, column in columns],
        "label_inputs": _joined(network), "parameters": parameters, "multiplications": macs,
    }  # fmt: skip


def _column_as_dict(key: str, column: networks.AnyColumn) -> dict[str, Any]:
    layers = [
        {
            "name": layer.name, "what": layer.what, "output": list(layer.shape), "parameters": layer.parameters,
            "multiplications": layer.macs,
        }
        for layer in networks.column_costs(column)
    ]  # fmt: skip
    return {
        "key": key, "view": column.view, "plane": column.plane, "window": column.window, "kind": _kind(column),
        "frozen": column.frozen, "layers": layers,
    }  # fmt: skip


def _json_failed(path: str, value: dict[str, Any], inputs: Sequence[str] = ()) -> bool:
    """Write the JSON; returns whether that failed, after reporting it. Exits for a file that must not be written."""
    key = next(iter(value))
    there = [name for name in inputs if os.path.lexists(name)]
    try:
        (target,) = check(
            [Wanted("--json", path, json_with("a description of this program", key))], inputs=there, overwrite=True
        )
    except TargetError as error:
        fail(str(error))
    try:
        target.write((json.dumps(value, allow_nan=False) + "\n").encode())
    except OSError as error:
        note(f"error: {target}: {reason(error)}")
        return True
    return False


def _kind(column: networks.AnyColumn) -> str:
    if isinstance(column, networks.GraphColumn):
        return "single layers"
    if isinstance(column, networks.Column):
        return f"rounding {column.rounding}"
    return f"{column.lite}, whose layers are not trained"


def _print_column(key: str, column: networks.AnyColumn) -> None:
    table = plain_table("layer", "what", "output", "parameters", "multiplications")
    for layer in networks.column_costs(column):
        shape = "x".join(map(str, layer.shape))
        table.add_row(layer.name, layer.what, shape, f"{layer.parameters:,}", f"{layer.macs:,}")
    frozen = ", frozen" if column.frozen else ""
    head = f"column {key}: {column.window}x{column.window} windows of a {column.plane}x{column.plane} plane"
    out = stdout()
    out.print(f"{head}, {_kind(column)}{frozen}")
    out.print(table)
