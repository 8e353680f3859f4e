"""Photographs copied, linked or moved into a folder, each with all of its sidecars, and never over another file."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from dcnn_fast.data.folders import SUFFIXES, UNREADABLE, WHEN_NAMED
from dcnn_fast.partials import remove_abandoned
from dcnn_fast.whole_files import copy_file, same_content, sync_folder
from dcnn_fast.xmp import NAMES
from dcnn_fast.xmp.sidecars import Neighbours, sidecar_path

_PICTURES = SUFFIXES | UNREADABLE | WHEN_NAMED


class PlaceError(ValueError):
    """A photograph cannot be taken to the folder and stays in its place; the message says why."""


@dataclass(frozen=True)
class _Part:
    """One file to place. stays: it also belongs to another photograph, so moving copies it."""

    source: Path
    suffix: str  # follows the stem, or the stem and a number
    stays: bool = False


class Placing:
    """Takes photographs to a folder, which is created if it does not exist.

    option: --copy, --link or --move. dry_run: only choose names. A name that is taken, or that would give a sidecar to another
    photograph, gets a number: photo-2.jpg. Copies that exist already, byte for byte, and links to the same photograph are not
    made again. Links are absolute, and have no sidecars.
    """

    def __init__(self, option: str, folder: Path, *, dry_run: bool) -> None:
        self._option, self._folder, self._dry_run = option, folder, dry_run
        self._sharing = Neighbours(_PICTURES)
        self._here: set[str] = set()  # names that this run has given, or would give
        self._stems: set[str] = set()  # of all pictures in the folder
        self._is_ready = False

    def place(self, photograph: Path) -> Path | None:
        """Place a photograph; returns its new path (the planned one in a dry run), None if it was there already.

        Raises PlaceError or OSError; nothing is changed then.
        """
        self._make_ready()
        status = os.stat(photograph)
        if not stat.S_ISREG(status.st_mode):
            raise PlaceError("it is no regular file")
        if self._option == "--move" and photograph.is_symlink():
            raise PlaceError("it is a link, which is not moved")
        if self._option == "--move" and not os.access(photograph.parent, os.W_OK | os.X_OK):
            raise PlaceError("its folder cannot be written to")
        if self._folder.is_dir() and os.path.samefile(self._folder, photograph.parent):
            return None
        parts = [_Part(photograph, photograph.suffix), *(self._sidecars(photograph) if self._option != "--link" else ())]
        stem = self._free_stem(photograph, status, parts)
        if stem is None:
            return None
        pairs: list[tuple[_Part, Path]] = [(part, self._folder / (stem + part.suffix)) for part in parts]
        if not self._dry_run:
            self._do(pairs)
        self._here.update(place.name for _, place in pairs)
        self._stems.add(stem)
        return pairs[0][1]

    def _make_ready(self) -> None:
        if self._is_ready:
            return
        if not self._dry_run:
            self._folder.mkdir(exist_ok=True)
            remove_abandoned(self._folder)
        with suppress(FileNotFoundError):
            names = map(os.path.splitext, os.listdir(self._folder))
            self._stems = {stem for stem, suffix in names if suffix.lower() in _PICTURES}
        self._is_ready = True

    def _sidecars(self, photograph: Path) -> Iterator[_Part]:
        paths = {names: sidecar_path(photograph, names) for names in NAMES}
        for names, path in paths.items():
            try:
                mode = os.lstat(path).st_mode
            except FileNotFoundError:
                continue
            if not stat.S_ISREG(mode):
                raise PlaceError(f"its sidecar {path.name} is no regular file")
            middle = photograph.suffix if names == "digikam" else ""
            if names == "digikam" or (path != paths["digikam"] and not self._sharing.has_whole_name(photograph)):
                yield _Part(path, middle + path.suffix, stays=names == "adobe" and bool(self._sharing.of(photograph)))

    def _free_stem(self, photograph: Path, status: os.stat_result, parts: list[_Part]) -> str | None:
        """The stem of the new names: the photograph's, with a number if necessary; None if the photograph is there already."""
        for number in count(1):
            stem = photograph.stem + (f"-{number}" if number > 1 else "")
            place = self._folder / (stem + photograph.suffix)
            if os.path.lexists(place) and place.name not in self._here and self._is_there(photograph, status, place):
                return None
            if self._option == "--move" and _is_same(photograph, place):
                places = [(part.source, self._folder / (stem + part.suffix)) for part in parts]
                if all(_is_same(source, other) or not os.path.lexists(other) for source, other in places):
                    return stem  # an earlier run was killed while the file had both names
            names = [stem + suffix for suffix in (photograph.suffix, f"{photograph.suffix}.xmp", ".xmp")]
            names += [stem + part.suffix for part in parts]
            if any(name in self._here or os.path.lexists(self._folder / name) for name in names):
                continue
            if any(part.suffix.lower() == ".xmp" for part in parts[1:]) and stem in self._stems:
                continue
            return stem
        raise AssertionError

    def _is_there(self, photograph: Path, status: os.stat_result, place: Path) -> bool:
        if self._option == "--link":
            return place.is_symlink() and os.path.realpath(place) == os.path.realpath(photograph)
        if self._option == "--move" or place.is_symlink() or not place.is_file():
            return False
        return place.stat().st_size == status.st_size and same_content(photograph, place)

    def _do(self, pairs: list[tuple[_Part, Path]]) -> None:
        if self._option == "--link":
            (part, place) = pairs[0]
            os.symlink(os.path.realpath(part.source), place)
            return
        made: list[Path] = []
        try:
            for part, place in pairs:
                if self._option == "--move" and _is_same(part.source, place):
                    continue
                if self._option == "--move" and not part.stays:
                    _link_or_copy(part.source, place)
                else:
                    copy_file(part.source, place)
                made.append(place)
            sync_folder(self._folder)
        except BaseException:
            for place in made:
                with suppress(OSError):
                    os.unlink(place)
            raise
        if self._option == "--move":
            for part, _ in pairs:  # the photograph first: if left without sidecars, it could get others
                if not part.stays:
                    os.unlink(part.source)


def _link_or_copy(source: Path, place: Path) -> None:
    """Give the file a second name. Raises FileExistsError if that is taken, or OSError."""
    try:
        os.link(source, place, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:  # another file system, or one without links
        copy_file(source, place, compare=True)


def _is_same(source: Path, place: Path) -> bool:
    """Whether two names lead to one file without a symbolic link."""
    try:
        return os.path.samestat(os.lstat(source), os.lstat(place))
    except FileNotFoundError:
        return False
