"""`dcnn-fast convert`: cuda-convnet's checkpoints and layer files as model files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dcnn_fast import spec
from dcnn_fast.cli.console import fail, stderr, stdout


def convert(
    source: Annotated[Path, typer.Argument(help="A checkpoint of cuda-convnet, plain or zipped, or a layer-definition file.")],
    out: Annotated[Path, typer.Argument(help="The model file to write.")],
    layer_params: Annotated[
        Path | None, typer.Option(help="SOURCE is a layer-definition file and this its parameters: weights start as they say.")
    ] = None,
    view: Annotated[list[str] | None, typer.Option(help="What each column sees, in order; one for all. Default: warp.")] = None,
    plane: Annotated[int | None, typer.Option(help="Side of the normalised input; default: as 256 to a window of 224.")] = None,
    mean: Annotated[str, typer.Option(help="What was taken off the channels: red,green,blue.")] = "0,0,0",
    labels: Annotated[str | None, typer.Option(help="Names of the outputs: low,high.")] = None,
) -> None:
    """Write the network of a checkpoint, or a fresh one of layer files, as a model file; nothing in a file is executed."""
    from dcnn_fast import nets  # noqa: PLC0415 - imports torch

    try:
        taken = tuple(float(value) for value in mean.split(","))
        names = labels.split(",") if labels is not None else None
        views: tuple[Any, ...] = tuple(view or ["warp"])
        if layer_params is None:
            model = nets.import_convnet(source, views=views, plane=plane, mean=taken, labels=names).model
        else:
            data = spec.Preprocessing(views, plane or 256, mean=taken)
            read = spec.read_convnet_cfg(source, layer_params, data, labels=names)
            net = nets.initialise(nets.build(read.network), read.rules)
            model = nets.Model(net, {"initialised by": "layer files of cuda-convnet"})
            for note in read.notes:
                stderr().print(note, markup=False)
        nets.save_model(model, out)
    except (ValueError, OSError) as error:
        fail(str(error))
    columns = ", ".join(model.spec.column_keys())
    stdout().print(f"{out}: {columns} -> {', '.join(model.spec.labels)}", highlight=False, markup=False)
