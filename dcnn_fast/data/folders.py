"""Which files a command line means."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from dcnn_fast.data import heif, raw
from dcnn_fast.data.remote import Entry, Store, Stored, StoreError, address_of, is_address, of_machine

SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".gif", ".bmp", ".jp2", ".j2k", ".j2c", ".jpf",
    ".jpx", ".avif",
))  # fmt: skip
"""Of the files that are taken from a folder."""

UNREADABLE = frozenset((
    ".heic", ".heif", ".hif", ".avci", ".avcs", ".jxl", ".jxr", ".wdp", ".hdp", ".exr", ".hdr", ".psb", ".xcf", ".kra",
    ".ora", ".clip", ".afphoto", ".svg", ".svgz", ".ai", ".eps", ".3fr", ".ari", ".arw", ".bay", ".braw", ".cap", ".cr2",
    ".cr3", ".crw", ".dcr", ".dcs", ".dng", ".drf", ".eip", ".erf", ".fff", ".gpr", ".iiq", ".k25", ".kdc", ".mdc", ".mef",
    ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".ptx", ".pxn", ".r3d", ".raf", ".raw", ".rw2", ".rwl", ".rwz", ".sr2",
    ".srf", ".srw", ".x3f", ".3gp", ".avi", ".insp", ".insv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg",
    ".mts", ".ogv", ".webm", ".wmv", ".psd", ".tga", ".ico", ".icns", ".pcx", ".ppm", ".pgm", ".pbm", ".pnm", ".dds", ".sgi",
    ".dib", ".dcx", ".qoi", ".xbm",
))  # fmt: skip
"""Pictures, raw files and films that cannot be read, some of them without the extra `photos` alone: what a user may miss in the
result. Other files are no pictures.
"""

WHEN_NAMED = frozenset((".mpo", ".apng"))
"""Pictures that are read when they are named, and are rarely photographs."""

_OF_EXTRA = heif.SUFFIXES | raw.SUFFIXES  # what the extra `photos` reads

_SYSTEM = (
    "@eadir", "@tmp", "@recycle", "@recently-snapshot", "@syno*", "@__thumb", "#recycle", "#snapshot", "$recycle.bin",
    "recycler", "system volume information", "lost+found", "lost.dir", "found.[0-9][0-9][0-9]", ".trash*", "__macosx",
    "*.lrdata", "network trash folder", "temporary items", "_gsdata_", "recycled", "~snapshot",
)  # fmt: skip
_LIBRARIES = ("*.photoslibrary", "*.photolibrary", "*.aplibrary", "*.migratedphotolibrary", "*.migratedaplibrary")
_ORIGINALS = ("originals", "masters")  # in a library of macOS; its other folders hold copies of them in other sizes


def named_photographs(folder: Path) -> Iterator[tuple[str, str]]:
    """The folder and the name of every photograph below `folder`; one walk, no look at any file, links to folders not followed.

    Folders that systems hide, of thumbnails and of what was deleted, are passed over.
    """
    for at, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if not each.startswith((".", "@", "#")))
        yield from ((at, name) for name in names if os.path.splitext(name)[1].lower() in SUFFIXES)


class PatternError(ValueError):
    """A pattern of files to exclude that means nothing; the message names it."""


@dataclass(frozen=True)
class Found:
    """One path to read. error: why that is known to fail; it may fail without. stored: that of an address."""

    path: str
    error: str | None = None
    stored: Stored | None = None


@dataclass
class Passed:
    """What a search has passed over, counted."""

    unreadable: Counter[str] = field(default_factory=Counter)  # by suffix
    with_extra: Counter[str] = field(default_factory=Counter)  # what would be read if the extra `photos` were installed
    raw_files: int = 0  # beside a picture of the same name
    when_named: Counter[str] = field(default_factory=Counter)
    hidden_files: int = 0
    hidden_folders: int = 0
    system_folders: int = 0
    linked_folders: int = 0
    subfolders: int = 0
    excluded: int = 0


class Search:
    """Finds the image files that paths name; what it passes over in folders is counted in `passed`.

    recursive: subfolders too. hidden: also files and folders whose names begin with a dot, and the folders in which systems
    and programs keep thumbnails and what was deleted (@eaDir, $RECYCLE.BIN, lost+found, __MACOSX, *.lrdata and the like; in a
    *.photoslibrary all but the originals).
    follow: links to folders too; each folder is searched once. exclude: patterns of what is passed over in folders, with *, ?,
    [...], and ** for any folders: one without a slash is matched with names of files and folders, one with a slash with the end
    of the path, one that begins with a slash with the whole path from the folder that was named, or the absolute path; one that
    ends with a slash means folders only; ./ at the start means nothing. Raises PatternError for an empty one.
    stores: addresses in stores (`data.remote`) are followed, and a zip file that is named stands for what is in it.
    """

    def __init__(
        self, *, recursive: bool = False, hidden: bool = False, follow: bool = False, exclude: Sequence[str] = (),
        stores: bool = False,
    ) -> None:  # fmt: skip
        meant = tuple(re.sub(r"^(\./+)+", "", pattern) for pattern in exclude)
        for pattern, typed in zip(meant, exclude, strict=True):
            if not pattern.strip("/") or pattern == ".":
                raise PatternError(f"a pattern must name something, got {typed!r}")
        self._recursive, self._hidden, self._follow = recursive, hidden, follow
        self._exclude, self._stores = meant, stores
        self.passed = Passed()

    def files(self, paths: Iterable[str]) -> Iterator[Found]:
        """The files that `paths` name, in order; a folder's in order of their names, its subfolders after them, links last.

        A folder gives its files with a suffix of `suffixes_read`, whatever the case; a raw file beside a picture of the same
        name is the same photograph, and passed over. Anything else is given as it is, whether or not
        it exists or looks like an image: reading it will tell. A folder that cannot be listed is given with the reason.
        """
        for named in paths:
            path = of_machine(named) if self._stores else named
            if self._stores and is_address(address := address_of(path)):
                yield from self._stored(address)
                continue
            try:
                is_folder = stat.S_ISDIR(os.stat(path).st_mode)
            except FileNotFoundError:
                is_folder = False
            except (OSError, ValueError) as error:
                yield Found(path, _reason(error))
                continue
            if is_folder:
                yield from self._under(path)
            else:
                yield Found(path)

    def _under(self, root: str) -> Iterator[Found]:
        entered: set[tuple[int, int]] = set()
        waiting = [root]
        while waiting:  # a tree may be deeper than Python's stack
            folder = waiting.pop()
            if self._follow and not _enter(folder, entered):
                continue
            entries: list[os.DirEntry[str]] = []
            failure = _list(folder, entries)
            folders: list[str] = []
            links: list[str] = []
            pictures: set[str] = set()
            for entry in sorted(entries, key=lambda entry: (_is_raw(entry.name), entry.name)):
                path = os.path.join(folder, entry.name)
                is_folder, error = _is_folder(entry)
                if not is_folder:
                    yield from self._file(path, entry.name, root, error, pictures)
                elif self._enters(path, entry, root):
                    (links if entry.is_symlink() else folders).append(path)
            if failure is not None:
                yield Found(folder, failure)
            waiting += [*reversed(links), *reversed(folders)]

    def _stored(self, address: str) -> Iterator[Found]:
        """What an address means: a file, or a folder's files."""
        try:
            store = Store(address)
            if not store.is_folder():
                yield Found(store.address, None, store.file())
                return
        except StoreError as error:
            yield Found(address, str(error))
            return
        waiting = [store.address]
        while waiting:
            folder = waiting.pop()
            try:
                entries = sorted(store.entries(folder), key=lambda entry: (_is_raw(entry.name), entry.name))
            except StoreError as error:
                yield Found(folder, f"the folder cannot be listed: {error}")
                continue
            folders: list[str] = []
            pictures: set[str] = set()
            for entry in entries:
                if entry.file is not None:
                    yield from self._file(entry.path, entry.name, store.address, entry.error, pictures, entry.file)
                elif not self._enters(entry.path, entry, store.address):
                    continue
                elif entry.error is not None:
                    yield Found(entry.path, entry.error)
                else:
                    folders.append(entry.path)
            waiting += reversed(folders)

    def _file(
        self, path: str, name: str, root: str, error: str | None, pictures: set[str], stored: Stored | None = None
    ) -> Iterator[Found]:  # fmt: skip
        """pictures: the names, without suffixes, of those of the folder that were taken."""
        stem, suffix = os.path.splitext(name.lower())
        if suffix not in SUFFIXES | UNREADABLE | WHEN_NAMED:
            return
        if name.startswith(".") and not self._hidden:
            self.passed.hidden_files += 1
        elif self._excludes(path, root, is_folder=False):
            self.passed.excluded += 1
        elif suffix in raw.SUFFIXES and stem in pictures:
            self.passed.raw_files += 1
        elif suffix in suffixes_read():
            pictures.add(stem)
            yield Found(path, error, stored)
        elif suffix in WHEN_NAMED:
            self.passed.when_named[suffix] += 1
        elif suffix in _OF_EXTRA:
            self.passed.with_extra[suffix] += 1
        else:
            self.passed.unreadable[suffix] += 1

    def _enters(self, path: str, entry: os.DirEntry[str] | Entry, root: str) -> bool:
        name = entry.name.lower()
        system = _is_system(name) or _is_in_library(path, name)
        if not self._recursive:
            self.passed.subfolders += not (name.startswith(".") or system)
        elif not self._hidden and system:
            self.passed.system_folders += 1
        elif not self._hidden and name.startswith("."):
            self.passed.hidden_folders += 1
        elif self._excludes(path, root, is_folder=True):
            self.passed.excluded += 1
        elif entry.is_symlink() and not self._follow:
            self.passed.linked_folders += 1
        else:
            return True
        return False

    def _excludes(self, path: str, root: str, *, is_folder: bool) -> bool:
        if is_address(root):
            path, root = path.partition("::")[0], root.partition("::")[0]  # without the archive that they are in
        return any(_matches(pattern, path, root) for pattern in self._exclude if is_folder or not pattern.endswith("/"))


def suffixes_read() -> frozenset[str]:
    """Of the files that are taken from a folder: `SUFFIXES`, and what installed libraries read besides."""
    more = (heif.SUFFIXES if heif.can_read() else frozenset()) | (raw.SUFFIXES if raw.can_read() else frozenset())
    return SUFFIXES | more


def find_images(paths: Iterable[str | os.PathLike[str]], recursive: bool = False) -> Iterator[Path]:
    """Find the image files that `paths` name, in order, as `Search` finds them: no hidden ones, no links to folders.

    Args:
        paths: Files and folders; a path that is no folder is given as it is, whether or not it exists.
        recursive: Search subfolders, too.

    Returns:
        The files' paths, one by one.
    """
    for found in Search(recursive=recursive).files(os.fspath(path) for path in paths):
        yield Path(found.path)


def _is_raw(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in raw.SUFFIXES


def _is_system(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in _SYSTEM)


def _is_in_library(path: str, name: str) -> bool:
    """Whether the folder is one of a library of photographs, and not that of its originals."""
    library = os.path.basename(os.path.dirname(os.path.abspath(path))).lower()
    return name not in _ORIGINALS and any(fnmatchcase(library, pattern) for pattern in _LIBRARIES)


def _matches(pattern: str, path: str, root: str) -> bool:
    parts = [part for part in pattern.split("/") if part]
    if not pattern.startswith("/"):
        named = [part for part in path.split("/") if part]
        return _fits(named, ["**", *parts])
    inside = [part for part in path[len(root) :].split("/") if part]
    return _fits(inside, parts) or _fits([part for part in os.path.abspath(path).split("/") if part], parts)


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_fits(parts[skipped:], pattern[1:]) for skipped in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])


def _list(folder: str, entries: list[os.DirEntry[str]]) -> str | None:
    """Add what is in `folder` to `entries`; why that ended early, or None."""
    try:
        with os.scandir(folder) as listing:
            entries.extend(listing)
    except OSError as error:
        return f"the folder cannot be listed: {_reason(error)}"
    return None


def _is_folder(entry: os.DirEntry[str]) -> tuple[bool, str | None]:
    """Whether a link leads to a folder, too; and why that cannot be known, as of a link to itself."""
    try:
        return entry.is_dir(), None
    except OSError as error:
        return False, _reason(error)


def _enter(folder: str, entered: set[tuple[int, int]]) -> bool:
    """Whether the folder has not been entered before."""
    try:
        status = os.stat(folder)
    except OSError:
        return True  # listing it will say why
    identity = status.st_dev, status.st_ino
    new = identity not in entered
    entered.add(identity)
    return new


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return "a name cannot hold a zero byte"
