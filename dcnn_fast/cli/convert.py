"""`dcnn-fast convert`: cuda-convnet's checkpoints and layer files, and ImageNet weights, as model files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dcnn_fast import networks
from dcnn_fast.cli.console import fail, note, stderr, stdout
from dcnn_fast.cli.input_files import require_file
from dcnn_fast.cli.options import Panel, takes
from dcnn_fast.cli.targets import MODEL, Kind, Wanted, check
from dcnn_fast.printable import printable

if TYPE_CHECKING:
    from dcnn_fast.nets import Model

SOURCE = (
    "A checkpoint of cuda-convnet, plain or zipped; a layer-definition file; or ImageNet weights (.pth, .pt, .safetensors): "
    "AlexNet's or SqueezeNet v1.0's as torchvision has them, or EfficientNet-Lite's as efficientnet_lite_pytorch has them."
)
_LAYERS = Kind("a layer-definition file", lambda head: head.lstrip().startswith(b"[") and b"type=" in head)
_PARAMS = Kind("a file of layers' parameters", lambda head: head.lstrip().startswith(b"[") and b"epsW=" in head)
_IMAGENET = (".pth", ".pt", ".safetensors")
_LABELS = ("low", "high")


@dataclass(frozen=True, kw_only=True)
class Files:
    """Files beside SOURCE and OUT, and how layer files are written."""

    layer_params: Annotated[
        str | None, typer.Option(metavar="PATH", help="The parameter file of the layer-definition file SOURCE or OUT.")
    ] = None
    dialect: Annotated[str, typer.Option(help="Version of the layer files to write: v1, the fork that has dropout, or v2.")] = (
        "v2"
    )
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing model file or layer files.")] = False


@dataclass(frozen=True, kw_only=True)
class Made:
    """Properties of the network that a file of weights does not state."""

    view: Annotated[tuple[str, ...], typer.Option(help="View of each column, in order, or one for all. Default: warp.")] = ()
    plane: Annotated[
        int | None, typer.Option(help="Side of the plane that windows are cut from; default: in proportion, 256 for 224.")
    ] = None
    window: Annotated[
        int | None,
        typer.Option(help="Side of the windows, the network's input: 32 for CIFAR's; default: the checkpoint's own, or 224."),
    ] = None
    mean: Annotated[
        str | None, typer.Option(help="Mean of each channel, which training subtracted: red,green,blue. Default: 0,0,0.")
    ] = None
    fc: Annotated[
        str | None, typer.Option(help="Sizes of new, untrained layers for each column, below a new label layer, e.g. 256.")
    ] = None
    stages: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS", help="EfficientNet-Lite's stages, from 0, whose mean activations are features too: 3,4,5."
        ),
    ] = None
    labels: Annotated[str | None, typer.Option(help="Names of the outputs, in order: low,high.")] = None


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """The command line of `dcnn-fast convert`."""

    source: Annotated[Path, typer.Argument(help=SOURCE)]
    out: Annotated[str, typer.Argument(help="The model file to write; .cfg: the layer definitions of the model file SOURCE.")]
    files: Annotated[Files, Panel("Files")] = field(default_factory=Files)
    made: Annotated[Made, Panel("The network")] = field(default_factory=Made)


@takes(ConvertOptions)
def convert(options: ConvertOptions) -> None:
    """Write the network of a checkpoint, or a fresh one of layer files, as a model file; nothing in a file is executed.

    Weights of layer files are initialised as their parameters say. --fc prepares a network for another task, as the paper's
    semantic column: it adds untrained layers and a new label layer above the existing ones. ImageNet weights come without a
    label layer; --fc is then 256 by default. Exit status: 0; 2 for a wrong call; 3 when a file could not be written.
    """
    from dcnn_fast import nets  # noqa: PLC0415 - imports torch
    from dcnn_fast.cli.train_run import integers  # noqa: PLC0415 - imports torch
    from dcnn_fast.cli.writing import model_failed  # noqa: PLC0415 - imports torch

    source, out, files, made = options.source, options.out, options.files, options.made
    layer_params, overwrite = files.layer_params, files.overwrite
    plane, window, mean, fc, stages = made.plane, made.window, made.mean, made.fc, made.stages
    if out.endswith(".cfg"):
        _write_layer_files(source, out, layer_params, files.dialect, overwrite)
        return
    failed = False
    try:
        inputs: list[str | Path] = [source, *([] if layer_params is None else [layer_params])]
        for path in inputs:
            if os.path.lexists(path):
                require_file(path)
        (target,) = check([Wanted("OUT", out, MODEL)], inputs=inputs, overwrite=overwrite)
        names = tuple(made.labels.split(",")) if made.labels is not None else None
        views: tuple[Any, ...] = made.view or ("warp",)
        more = None if fc is None else integers("fc", fc)
        if source.suffix in _IMAGENET:
            _refuse(
                {"layer-params": layer_params, "plane": plane, "window": window, "mean": mean},
                "must not be given for ImageNet weights",
            )
            model = _of_imagenet(source, views, more, () if stages is None else integers("stages", stages), names)
        else:
            _refuse({"stages": stages}, "must not be given but for EfficientNet-Lite's weights")
            if source.suffix == ".cfg" and layer_params is None:
                raise ValueError(f"layer-params must name the parameters of a layer-definition file, got none for {source}")
            taken = tuple(float(value) for value in (mean or "0,0,0").split(","))
            kept = None if more else names
            if layer_params is None:
                model = nets.import_convnet(source, views=views, plane=plane, window=window, mean=taken, labels=kept).model
            else:
                model = _of_layer_files(source, layer_params, networks.preprocessing(views, plane, window, taken), kept)
            model = _extended(model, more, names) if more else model
        failed = model_failed(target, model)
    except (ValueError, OSError) as error:
        fail(str(error))
    if failed:
        raise typer.Exit(3)
    columns = ", ".join(model.spec.column_keys())
    (stderr() if target.is_standard_output else stdout()).print(
        f"{printable(out)}: {columns} -> {printable(', '.join(model.spec.labels))}"
    )


def _refuse(options: Mapping[str, object], why: str) -> None:
    """Raise ValueError naming the first option that was given."""
    for name, value in options.items():
        if value is not None:
            raise ValueError(f"{name} {why}, got {value}")


def _extended(model: Model, fc: tuple[int, ...], labels: tuple[str, ...] | None) -> Model:
    from dcnn_fast import nets  # noqa: PLC0415

    return nets.Model(nets.for_another_task(model.net.columns, fc, labels=labels or _LABELS).net, model.provenance)


def _of_imagenet(
    source: Path, views: tuple[Any, ...], fc: tuple[int, ...] | None, stages: tuple[int, ...], labels: tuple[str, ...] | None
) -> Model:
    from dcnn_fast import nets  # noqa: PLC0415

    if len(views) != 1:
        raise ValueError(f"view must be one, as {source} is one column, got {len(views)}")
    column = nets.import_column(source, views[0], fc=(256,) if fc is None else fc, stages=stages)
    made = nets.for_another_task([column], labels=labels or _LABELS)
    return nets.Model(made.net, {"imported from": "ImageNet weights; the last layers are fresh"})


def _of_layer_files(source: Path, layer_params: str, data: networks.Preprocessing, labels: tuple[str, ...] | None) -> Model:
    from dcnn_fast import nets  # noqa: PLC0415

    read = networks.read_convnet_cfg(source, layer_params, data, labels=labels)
    for text in read.notes:
        note(text)
    net = nets.initialise(nets.build(read.network), read.rules)
    return nets.Model(net, {"initialised by": "layer files of cuda-convnet"})


def _write_layer_files(source: Path, out: str, layer_params: str | None, dialect: str, overwrite: bool) -> None:
    from dcnn_fast import nets  # noqa: PLC0415
    from dcnn_fast.cli.writing import write_failed  # noqa: PLC0415

    try:
        if layer_params is None:
            raise ValueError(f"layer-params must name the file of the parameters to be written beside {out}")
        require_file(source)
        texts = networks.write_convnet_cfg(nets.load_model(source).spec, dialect=dialect)  # type: ignore[arg-type]
        wanted = [Wanted("OUT", out, _LAYERS), Wanted("--layer-params", layer_params, _PARAMS)]
        targets = check(wanted, inputs=[source], overwrite=overwrite)
    except (ValueError, OSError) as error:
        fail(str(error))
    failures = [write_failed(target, text.encode()) for target, text in zip(targets, texts, strict=True)]
    if any(failures):
        raise typer.Exit(3)
    (stderr() if any(target.is_standard_output for target in targets) else stdout()).print(f"{out} and {layer_params}")
