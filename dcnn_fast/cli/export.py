"""`dcnn-fast export`: writes a model as files that other programs run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from dcnn_fast.cli.options import takes

PHOTOGRAPHS = (
    "A folder of photographs on which to measure how far single.onnx is from fifty samples; not needed for a model whose "
    "samples are all equal."
)
CHECK = (
    "Run the files with ONNX Runtime, and OpenVINO where it is installed, on the small picture beside them. An existing export "
    "is checked without changing it, unless --overwrite replaces it."
)


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """The command line of `dcnn-fast export`."""

    model: Annotated[Path, typer.Argument(help="A model file; shipped: the one that comes with the package.")]
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder for the files; created if it does not exist.")]
    check: Annotated[bool, typer.Option("--check", help=CHECK)] = False
    photographs: Annotated[Path | None, typer.Option(metavar="FOLDER", help=PHOTOGRAPHS)] = None
    darktable: Annotated[
        bool, typer.Option("--darktable", help="Also write a .dtmodel package for darktable's AI preferences.")
    ] = False
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the files of an earlier export in DIR.")] = False


@takes(ExportOptions)
def export(options: ExportOptions) -> None:
    """Write a model as plain ONNX and as an exported PyTorch program, for programs in any language.

    windows.onnx takes windows, planes.onnx takes planes and the offsets of their windows, single.onnx takes planes alone and
    needs one pass; windows.pt2 is windows.onnx for torch. Each file's metadata describes the preprocessing of a photograph, and
    expected.json has the right answers for expected.png. Needs the extra export.

    Exit status: 0; 1 when a check fails; 2 for a wrong call; 3 when a file could not be written.
    """
    from dcnn_fast.cli.export_run import run  # noqa: PLC0415 - imports torch and onnx

    run(options)
