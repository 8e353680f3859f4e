"""`dcnn-fast export`: a model as files that other programs run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from dcnn_fast.cli.options import takes

PHOTOGRAPHS = (
    "A folder of photographs, on which it is measured how far single.onnx is from fifty samples; a model whose samples are all "
    "alike needs none."
)
CHECK = (
    "Run the files with ONNX Runtime, and OpenVINO where it is installed, on the small picture beside them. Where there is an "
    "export already it is checked as it is, unless --overwrite makes it anew."
)


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """The command line of `dcnn-fast export`."""

    model: Annotated[Path, typer.Argument(help="A model file; shipped: the one that comes with the package.")]
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the files, made where it is not there.")]
    check: Annotated[bool, typer.Option("--check", help=CHECK)] = False
    photographs: Annotated[Path | None, typer.Option(metavar="FOLDER", help=PHOTOGRAPHS)] = None
    darktable: Annotated[
        bool, typer.Option("--darktable", help="Write a .dtmodel package for darktable's AI preferences, too.")
    ] = False
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the files of an earlier export in DIR.")] = False


@takes(ExportOptions)
def export(options: ExportOptions) -> None:
    """Write a model as plain ONNX and as a program of torch's, for programs in any language.

    windows.onnx takes windows, planes.onnx planes and the offsets of their windows, single.onnx planes alone, one pass;
    windows.pt2 is the first for torch. What must be done to a photograph first is in each file's metadata, and expected.json
    has the right answers for expected.png. Needs the extra export.

    Exit status: 0; 1 when a check fails; 2 for a wrong call; 3 when a file could not be written.
    """
    from dcnn_fast.cli.export_run import run  # noqa: PLC0415 - imports torch and onnx

    run(options)
