"""Outputs that fail separately: the failure of one is reported with its name, and the others are written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from safetensors import SafetensorError

from dcnn_fast.cli.console import note
from dcnn_fast.cli.targets import Kind, Target, Wanted, check, reason
from dcnn_fast.nets import Model, save_model
from dcnn_fast.viz.picture_files import is_ours

PICTURE = Kind("a picture of this program", is_ours)


def write_failed(target: Target, content: bytes) -> bool:
    """Write `content`; returns whether that failed, after reporting it."""
    return failed(str(target), lambda: target.write(content))


def picture_failed(target: Target, draw: Callable[[Path], None]) -> bool:
    """Have `draw` write a picture; returns whether that failed, after reporting it."""

    def write() -> None:
        with target.writing() as partial:
            try:
                draw(partial)
            except ValueError as error:  # the drawing library cannot draw this
                raise OSError(0, f"it cannot be drawn: {error}") from None

    return failed(str(target), write)


def model_failed(target: Target, model: Model) -> bool:
    """Write a model file; returns whether that failed, after reporting it."""

    def write() -> None:
        with target.writing() as partial:
            save_model(model, partial)

    return failed(str(target), write)


def failed(name: str, write: Callable[[], None]) -> bool:
    """Call `write`, which writes the output `name`; returns whether that failed, after reporting it."""
    try:
        write()
    except (OSError, SafetensorError) as error:
        note(f"error: {name}: {reason(error) if isinstance(error, OSError) else error}")
        return True
    return False


def picture_targets(
    option: str, folder: Path, names: Sequence[str], *, inputs: Iterable[str | os.PathLike[str]] = (), overwrite: bool = False
) -> dict[str, Target]:
    """A target for each picture of these names in `folder`, which is created if it does not exist.

    Raises TargetError, before the folder is made, for a name taken by anything but a picture of this program, and without
    `overwrite` for such a picture too; OSError if the folder cannot be made.
    """
    wanted = [Wanted(option, folder / name, PICTURE) for name in names]
    if folder.is_dir():
        return dict(zip(names, check(wanted, inputs=inputs, overwrite=overwrite), strict=True))
    folder.mkdir(parents=True)
    return dict(zip(names, check(wanted, inputs=inputs), strict=True))
