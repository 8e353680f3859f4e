"""Finds the image files that a command line names."""

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
"""Suffixes of the files that are taken from a folder."""

UNREADABLE = frozenset((
    ".heic", ".heif", ".hif", ".avci", ".avcs", ".jxl", ".jxr", ".wdp", ".hdp", ".exr", ".hdr", ".psb", ".xcf", ".kra",
    ".ora", ".clip", ".afphoto", ".svg", ".svgz", ".ai", ".eps", ".3fr", ".ari", ".arw", ".bay", ".braw", ".cap", ".cr2",
    ".cr3", ".crw", ".dcr", ".dcs", ".dng", ".drf", ".eip", ".erf", ".fff", ".gpr", ".iiq", ".k25", ".kdc", ".mdc", ".mef",
    ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".ptx", ".pxn", ".r3d", ".raf", ".raw", ".rw2", ".rwl", ".rwz", ".sr2",
    ".srf", ".srw", ".x3f", ".3gp", ".avi", ".insp", ".insv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg",
    ".mts", ".ogv", ".webm", ".wmv", ".psd", ".tga", ".ico", ".icns", ".pcx", ".ppm", ".pgm", ".pbm", ".pnm", ".dds", ".sgi",
    ".dib", ".dcx", ".qoi", ".xbm",
))  # fmt: skip
"""Suffixes of pictures, raw files and films that cannot be read, some of them only without the extra `photos`: a user may miss
them in the result. Other files are no pictures.
"""

WHEN_NAMED = frozenset((".mpo", ".apng"))
"""Suffixes of pictures that are read only when named, as they are rarely photographs."""

_OF_EXTRA = heif.SUFFIXES | raw.SUFFIXES  # suffixes that the extra `photos` reads

_SYSTEM = (
    "@eadir", "@tmp", "@recycle", "@recently-snapshot", "@syno*", "@__thumb", "#recycle", "#snapshot", "$recycle.bin",
    "recycler", "system volume information", "lost+found", "lost.dir", "found.[0-9][0-9][0-9]", ".trash*", "__macosx",
    "*.lrdata", "network trash folder", "temporary items", "_gsdata_", "recycled", "~snapshot",
)  # fmt: skip
_LIBRARIES = ("*.photoslibrary", "*.photolibrary", "*.aplibrary", "*.migratedphotolibrary", "*.migratedaplibrary")
_ORIGINALS = ("originals", "masters")  # folders of a macOS library; its other folders hold copies in other sizes


def named_photographs(folder: Path) -> Iterator[tuple[str, str]]:
    """Folder and name of each photograph below `folder`, in one walk that opens no file and follows no link to a folder.

    Hidden and system folders (names that begin with `.`, `@` or `#`) are passed over.
    """
    for at, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if not each.startswith((".", "@", "#")))
        yield from ((at, name) for name in names if os.path.splitext(name)[1].lower() in SUFFIXES)


class PatternError(ValueError):
    """A pattern of files to exclude names nothing; the message quotes it."""


@dataclass(frozen=True)
class Found:
    """One path to read. error: why reading is known to fail; None promises no success. stored: the file at an address."""

    path: str
    error: str | None = None
    stored: Stored | None = None


@dataclass
class Passed:
    """Counts of the files and folders that a search has passed over."""

    unreadable: Counter[str] = field(default_factory=Counter)  # by suffix
    with_extra: Counter[str] = field(default_factory=Counter)  # by suffix: readable with the extra `photos`
    raw_files: int = 0  # raw files beside a picture of the same name
    when_named: Counter[str] = field(default_factory=Counter)
    hidden_files: int = 0
    hidden_folders: int = 0
    system_folders: int = 0
    linked_folders: int = 0
    subfolders: int = 0
    excluded: int = 0


class Search:
    """Finds the image files that paths name; files and folders that it passes over are counted in `passed`.

    recursive: search subfolders, too. hidden: include files and folders whose names begin with a dot, and folders in which
    systems and programs keep thumbnails and deleted files (@eaDir, $RECYCLE.BIN, lost+found, __MACOSX, *.lrdata and the like;
    in a *.photoslibrary all but the originals).
    follow: follow links to folders, too; each folder is searched once. exclude: patterns of files and folders to pass over,
    with *, ?, [...], and ** for any folders. A pattern without a slash matches names of files and folders; with a slash, the
    end of the path; with a slash at the start, the whole path from the named folder, or the absolute path. A slash at the end
    restricts it to folders; ./ at the start is ignored. Raises PatternError for an empty pattern.
    stores: follow addresses in stores (`data.remote`); a named zip file then stands for its content.
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
        """The files that `paths` name, in order; a folder's files by name, raw ones last, then subfolders, then links.

        A folder gives its files with a suffix of `suffixes_read`, whatever the case; a raw file beside a picture of the same
        name is the same photograph, and passed over. Any other path is given unchanged, whether or not it exists or looks like
        an image: reading it will show that. A folder that cannot be listed is given with the reason.
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
        while waiting:  # no recursion: a tree may be deeper than Python's stack
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
        """The file at an address, or the files below it where it is a folder."""
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
        """pictures: the stems of the names already taken from the same folder; a taken file's stem is added."""
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
            path, root = path.partition("::")[0], root.partition("::")[0]  # without the address of their archive
        return any(_matches(pattern, path, root) for pattern in self._exclude if is_folder or not pattern.endswith("/"))


def suffixes_read() -> frozenset[str]:
    """Suffixes of the files that are taken from a folder: `SUFFIXES`, and those that installed libraries read besides."""
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
    """Whether the folder belongs to a photo library and is not its folder of originals."""
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
    """Append the entries of `folder` to `entries`. Returns the reason if the listing failed, else None."""
    try:
        with os.scandir(folder) as listing:
            entries.extend(listing)
    except OSError as error:
        return f"the folder cannot be listed: {_reason(error)}"
    return None


def _is_folder(entry: os.DirEntry[str]) -> tuple[bool, str | None]:
    """Whether an entry is a folder or a link to one; then the reason if that cannot be known, as for a link to itself."""
    try:
        return entry.is_dir(), None
    except OSError as error:
        return False, _reason(error)


def _enter(folder: str, entered: set[tuple[int, int]]) -> bool:
    """Whether the folder has not been entered before."""
    try:
        status = os.stat(folder)
    except OSError:
        return True  # listing it will state the reason
    identity = status.st_dev, status.st_ino
    new = identity not in entered
    entered.add(identity)
    return new


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return "a name cannot hold a zero byte"
