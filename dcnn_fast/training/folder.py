"""The folder of a run: its permitted content, its lock, and its files, each of which fails alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from dcnn_fast.locking import InUseError, lock_file
from dcnn_fast.training.checkpoint import CheckpointError
from dcnn_fast.training.durable_files import put, remove_abandoned

CHECKPOINT, BEST, LAST = "checkpoint.safetensors", "best.safetensors", "last.safetensors"
LOG, SKIPPED, CURVES, BOARD = "log.csv", "skipped.csv", "curves.png", "tensorboard"
OPTIONS, FEATURES, TIMES = "run.toml", "features.sqlite", "times.csv"
LOCK = ".lock"
FILES = (CHECKPOINT, BEST, LAST, LOG, SKIPPED, CURVES, BOARD, OPTIONS, FEATURES, TIMES)


def require_outputs(out: Path, names: Collection[str] = FILES, inputs: Iterable[str | os.PathLike[str]] = ()) -> None:
    """Require that files of these names in `out` do not link out of it or to each other, and are none of `inputs`.

    Raises CheckpointError naming the one that is.
    """
    folder = os.path.realpath(out)
    taken = [(path, status) for path in inputs if (status := _status(path)) is not None]
    for name in names:
        path = out / name
        if path.is_symlink() and os.path.realpath(path) != os.path.join(folder, os.path.basename(os.path.realpath(path))):
            raise CheckpointError(f"{path} must not be a link that leads out of the folder, to {os.path.realpath(path)}")
        if path.is_symlink() and os.path.basename(os.path.realpath(path)) in names:
            raise CheckpointError(f"{path} must not be a link to another file of the run, {os.path.realpath(path)}")
        status = _status(path)
        for each, other in taken:
            if status is not None and os.path.samestat(status, other):
                raise CheckpointError(f"{path}, which the run writes, must not be one of its inputs, {os.fspath(each)}")


def require_folder(out: Path, *, resume: bool = False) -> None:
    """Require that a run may be written to `out`: a new folder, an empty one or, only with `resume`, that of a run.

    Hidden files, and files that receive standard output or error, may be there. Raises CheckpointError naming any other file,
    and whatever `require_outputs` refuses.
    """
    require_outputs(out)
    if (out / CHECKPOINT).is_file():
        if not resume:
            raise CheckpointError(f"out must not hold a run unless it is to be resumed, got {out}")
        return
    if not out.is_dir():
        if os.path.lexists(out):
            raise CheckpointError(f"out must be a folder, got {out}")
        return
    streams = _streams()
    for entry in sorted(os.scandir(out), key=lambda entry: entry.name):
        status = entry.stat(follow_symlinks=False)
        if not entry.name.startswith(".") and (status.st_dev, status.st_ino) not in streams:
            raise CheckpointError(
                f"out must be a new or an empty folder, or that of a run, got {out}: it holds {entry.name} and no {CHECKPOINT}"
            )


class Folder:
    """Where a run's files go. A file that cannot be written is reported to `warn`, and the run goes on.

    unwritten: the files whose last writing failed, each with the reason.
    """

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self.path, self.warn = path, warn
        self.unwritten: dict[str, str] = {}

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def put(self, name: str, write: Callable[[Path], None]) -> None:
        """Have `write` fill the file of that name; until it is whole the former one stays."""
        self.attempt(name, lambda: put(self.path / name, write))

    def attempt(self, name: str, write: Callable[[], None]) -> None:
        """Call `write`, which writes the output of that name; report a failure instead of raising it."""
        try:
            write()
        except (OSError, SafetensorError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            if self.unwritten.get(name) != reason:  # report a full disk once, not each minute
                self.warn(f"{self.path / name} could not be written: {reason}; the run goes on")
            self.unwritten[name] = reason
        else:
            self.unwritten.pop(name, None)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder, made where absent, for this run: two runs would overwrite each other's files."""
        self.path.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            try:
                stack.enter_context(lock_file(self.path / LOCK))
            except InUseError:
                raise CheckpointError(f"out must not be in use by another run, got {self.path}") from None
            except OSError as error:
                raise CheckpointError(f"out, {self.path}, cannot be locked: {error.strerror or error}") from None
            for name in FILES:  # a partial file that is never rewritten, as the best model's may be, would stay
                with suppress(OSError):
                    remove_abandoned(self.path / name)
            yield


def _status(path: str | os.PathLike[str]) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (OSError, ValueError):  # absent
        return None


def _streams() -> set[tuple[int, int]]:
    """The files that receive standard output and error."""
    found = set()
    for stream in (sys.__stdout__, sys.__stderr__):
        try:
            status = os.fstat(stream.fileno()) if stream is not None else None
        except (OSError, ValueError):  # closed
            status = None
        if status is not None:
            found.add((status.st_dev, status.st_ino))
    return found
