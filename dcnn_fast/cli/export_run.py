"""The work of `dcnn-fast export`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dcnn_fast.cli.console import StreamError, fail, note, plain_table, stdout
from dcnn_fast.cli.input_files import model_named, require_file
from dcnn_fast.cli.targets import Kind, Target, Wanted, json_with
from dcnn_fast.cli.targets import check as checked_targets
from dcnn_fast.cli.writing import PICTURE, write_failed
from dcnn_fast.data.folders import find_images
from dcnn_fast.nets import Model, load_model
from dcnn_fast.printable import printable

if TYPE_CHECKING:
    from dcnn_fast.cli.export import ExportOptions

_NEEDED = "pip install 'dcnn-fast[export]'"
_ONNX = Kind("an ONNX file of this program", lambda head: head[:1] == b"\x08" and b"\x12\x09dcnn_fast" in head[:16])
_PT2 = Kind("a program as torch.export saves it", lambda head: head[:4] == b"PK\x03\x04" and b"archive/" in head[:64])
_PACKAGE = Kind(
    "a package of this program for darktable", lambda head: head[:4] == b"PK\x03\x04" and b"-dcnn-fast-" in head[:128]
)
_EXPECTED = json_with("what an export must give", "dcnn_fast_expected", "files")


def run(options: ExportOptions) -> None:
    """Write the files and check them, as requested; raises typer.Exit with the exit status."""
    folder, photographs, check, for_darktable = options.folder, options.photographs, options.check, options.darktable
    if find_spec("onnx") is None:
        fail(f"export needs the package onnx: {_NEEDED}")
    if check and find_spec("onnxruntime") is None:
        fail(f"--check needs the package onnxruntime: {_NEEDED}")
    path = model_named(options.model)
    try:
        require_file(path)
        loaded = load_model(path)
        if check and not options.overwrite and _is_export(folder):
            if photographs is not None or for_darktable:
                given = "--photographs" if photographs is not None else "--darktable"
                raise ValueError(f"{given} needs --overwrite: {folder} holds an export, which --check takes as it is")
        else:
            _write(loaded, path, folder, photographs, for_darktable, options.overwrite)
    except (ValueError, OSError) as error:
        if isinstance(error, StreamError):
            raise
        fail(str(error))
    if check and not _passes(loaded, folder):
        raise typer.Exit(1)


def _is_export(folder: Path) -> bool:
    from dcnn_fast.export import names  # noqa: PLC0415 - as the extra may be missing

    return (folder / names.EXPECTED).exists()


def _write(
    model: Model, path: Path, folder: Path, photographs: Path | None, for_darktable: bool, overwrite: bool
) -> None:  # fmt: skip
    from dcnn_fast.export import Export, known_difference, measured_difference  # noqa: PLC0415

    found = known_difference(model)
    if photographs is not None and not photographs.is_dir():
        raise ValueError(f"photographs must be a folder, got {photographs}")
    planned = Export(model, None, for_darktable)
    targets = _targets(folder, planned.names, path, overwrite)
    if photographs is not None and found is None:
        found = measured_difference(model, find_images([photographs]))
    for name, content in Export(model, found, for_darktable).files():
        if write_failed(targets[name], content):
            raise typer.Exit(3)
        stdout().print(f"{printable(str(folder / name))}: {len(content):,} bytes")
    if found is None:
        note("how far single.onnx is from fifty samples was not measured: give --photographs")
    elif found.photographs:
        stdout().print(
            f"single.onnx is {found.mean:.4f} from fifty samples on average, {found.largest:.4f} at most, "
            f"on {found.photographs} photographs"
        )


def _targets(folder: Path, names: tuple[str, ...], model: Path, overwrite: bool) -> dict[str, Target]:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"DIR must be a folder, got {folder}")
    wanted = [Wanted("DIR", folder / name, _kind(name)) for name in names]
    if folder.is_dir():
        return dict(zip(names, checked_targets(wanted, inputs=[model], overwrite=overwrite), strict=True))
    folder.mkdir(parents=True)
    return dict(zip(names, checked_targets(wanted, inputs=[model]), strict=True))


def _kind(name: str) -> Kind:
    kinds = {".onnx": _ONNX, ".pt2": _PT2, ".png": PICTURE, ".json": _EXPECTED, ".dtmodel": _PACKAGE}
    return kinds[Path(name).suffix]


def _passes(model: Model, folder: Path) -> bool:
    from dcnn_fast.export import CheckError, check  # noqa: PLC0415

    table, passed = plain_table("file", "runtime", "largest difference", "allowed", "result"), True
    try:
        for outcome in check(model, folder):
            passed = passed and outcome.passed
            said = "passed" if outcome.passed else "failed"
            table.add_row(outcome.file, outcome.runtime, f"{outcome.difference:.1e}", f"{outcome.allowed:.0e}", said)
    except (CheckError, ValueError, OSError) as error:
        note(f"{folder}: {error}")
        return False
    stdout().print(table)
    return passed
