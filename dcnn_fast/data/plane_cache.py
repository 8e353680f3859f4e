"""Planes of photographs kept on disk from run to run, so that a photograph is decoded once and not in each epoch of each run.

A cache is a folder of files, one for each plane, named by a digest of everything that determines its pixels: the photograph's
path, size and times, the view, the plane's size, the size that photographs are reduced to, the versions of all libraries, and
the package's own sources for reading and its engine. A file gets its name once it is complete, and begins with its size and a
checksum: a plane that fails them is made again. Planes are kept only for photographs whose file is some seconds old: a file
still being written may keep its size and time.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import resource
import struct
import time
import warnings
import weakref
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import PIL
from PIL import features

from dcnn_fast import engine
from dcnn_fast.data import raw
from dcnn_fast.locking import InUseError, lock_file
from dcnn_fast.partials import new_file, remove_abandoned
from dcnn_fast.version import version

Wanted = tuple[str, int]
"""A view and the side of its plane; ("photo", 0) is the photograph itself."""
PHOTO: Wanted = ("photo", 0)

_TAG, _LOCK, _SUFFIX = "CACHEDIR.TAG", ".lock", ".plane"
_SIGNATURE = (
    "Signature: 8a477f597d28d172789f06886806bc55\n# Planes of photographs, which dcnn-fast makes anew where they are gone.\n"
)
_HEAD = struct.Struct("<8sQQII")  # mark, height, width, checksum, padding
_MARK = b"dcnnpln1"
_BLOCK = 4096
_TICK = 3.0  # seconds: no file system's times are coarser (vfat: 2)
_PACKAGE = Path(__file__).parent.parent
_SOURCES = ("data/*.py", "ops/views/*.py")  # files of the package that decode, reduce and make planes
_MAPPED = 2**17  # bytes: smaller planes are read, which is as fast as mapping
_maps: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()  # each holds a file descriptor while in use


def _warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=2)


class PlaneCache:
    """A folder of planes that holds at most `megabytes`, shared by any number of processes.

    Planes are added only inside `filling`, by one process at a time; other processes decode what the cache lacks. A full cache
    drops the planes unused for the longest time, but none that this run has used. folder: a new or empty folder, or such a
    cache. warn: called once for each reason why planes cannot be added.

    Raises ValueError for a folder that holds anything else, or room for less than a megabyte.

    Example:
        >>> cache = PlaneCache(Path("planes"), 512)
        >>> train(net, data, settings, out, cache=cache)
    """

    def __init__(self, folder: Path, megabytes: int = 4096, warn: Callable[[str], None] = _warn) -> None:
        if megabytes < 1:
            raise ValueError(f"megabytes must be at least 1, got {megabytes}")
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"a cache of planes must be a folder, got {folder}")
        if folder.is_dir() and any(folder.iterdir()) and not _is_ours(folder):
            raise ValueError(f"a cache of planes must be a new or an empty folder, or such a cache, got {folder}")
        self.folder, self.warn = folder, warn
        self._limit, self._total = megabytes * 2**20, 0
        self._made_by = makers()  # computed once: it takes as long as making a plane
        self._lock = Lock()  # guards the counts; taken only within `filling`, before worker processes exist
        self._used: set[str] = set()
        self._right: set[str] = set()  # names of planes with a verified checksum
        self._old: dict[str, int] = {}  # planes not yet used in this run, with their bytes; the longest unused last
        self._told: set[str] = set()
        self.stores = False

    def entry(self, source: Any, wanted: Sequence[Wanted], long_side: int | None) -> Entry | None:
        """The entry for a photograph's planes, stored or not; None for a source that is no existing file."""
        if not isinstance(source, (str, os.PathLike)):
            return None
        try:
            path, now = os.path.realpath(source), time.time()
            mark, changed = _mark(path)
        except (OSError, ValueError):
            return None
        names = tuple(_digest(self._made_by, path, mark, each, long_side) for each in wanted)
        return Entry(self, path, mark, names, abs(now - changed) > _TICK)

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Within it, planes are added (`stores`), unless another process is filling the cache or it cannot be written."""
        with ExitStack() as stack:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                if not (self.folder / _TAG).exists():
                    with new_file(self.folder / _TAG) as partial:  # with half a tag the folder would never be taken for a cache
                        partial.write_text(_SIGNATURE, encoding="utf-8")
                        os.replace(partial, self.folder / _TAG)
                stack.enter_context(lock_file(self.folder / _LOCK))
                self._count()
                self.stores = True
            except InUseError:
                self._tell("is being filled by another run: what it does not hold yet is decoded as it comes")
            except OSError as error:
                self._failed(error)
            try:
                yield
            finally:
                self.stores = False

    def load(self, name: str) -> np.ndarray | None:
        """The plane of that name, [h, w, 3] uint8, read-only; None where it is missing or damaged."""
        path = self._path(name)
        try:
            number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            found = _read(number)
            if found is None or (name not in self._right and zlib.crc32(found[0].data) != found[1]):
                return None
            self._right.add(name)
            if self.stores and name not in self._used:
                with suppress(OSError):
                    os.utime(path)  # the time of last use decides which planes are dropped first
            self._used.add(name)
            return found[0]
        finally:
            os.close(number)

    def store(self, name: str, plane: np.ndarray) -> bool:
        """Store a plane under that name; returns whether it is stored. A full cache or a failure warns and ends filling."""
        path, size = self._path(name), _HEAD.size + plane.nbytes
        try:
            self._remove(name)  # a damaged one
            if not self._has_room(size):
                self.stores = False
                self._tell(
                    f"is full with {self._limit // 2**20} MB: photographs that it does not hold are decoded as they come"
                )
                return False
            path.parent.mkdir(exist_ok=True)
            with new_file(path) as partial, open(partial, "wb", buffering=0) as file:
                pixels = np.ascontiguousarray(plane)
                _write(file.fileno(), _HEAD.pack(_MARK, plane.shape[0], plane.shape[1], zlib.crc32(pixels.data), 0))
                _write(file.fileno(), pixels.reshape(-1).data)
                os.replace(partial, path)
        except OSError as error:
            self._failed(error)
            return False
        self._used.add(name)
        self._right.add(name)
        return True

    def _remove(self, name: str) -> None:
        path = self._path(name)
        with suppress(FileNotFoundError):
            size = path.stat().st_size
            path.unlink()
            with self._lock:
                self._total -= self._old.pop(name, _blocks(size))

    def _has_room(self, size: int) -> bool:
        with self._lock:
            blocks = _blocks(size)
            while self._total + blocks > self._limit and self._old:
                name, freed = self._old.popitem()
                if name not in self._used and _is_gone(self._path(name)):
                    self._total -= freed
            fits = self._total + blocks <= self._limit
            self._total += blocks if fits else 0
            return fits

    def _count(self) -> None:
        """Count the stored planes, and remove the partial files of killed runs."""
        found: list[tuple[float, str, int]] = []
        for folder in self.folder.iterdir():
            if folder.is_dir() and len(folder.name) == 2:
                remove_abandoned(folder)
                for entry in os.scandir(folder):
                    if entry.name.endswith(_SUFFIX) and entry.is_file(follow_symlinks=False):
                        status = entry.stat(follow_symlinks=False)
                        found.append((status.st_mtime, entry.name.removesuffix(_SUFFIX), _blocks(status.st_size)))
        self._old = {name: size for _, name, size in sorted(found, reverse=True)}
        self._total = sum(size for _, _, size in found)

    def _failed(self, error: OSError) -> None:
        self.stores = False
        self._tell(f"cannot be written: {error.strerror or error}; photographs that it does not hold are decoded as they come")

    def _tell(self, what: str) -> None:
        with self._lock:
            told = what in self._told
            self._told.add(what)
        if not told:
            self.warn(f"the cache of planes {self.folder} {what}")

    def _path(self, name: str) -> Path:
        return self.folder / name[:2] / f"{name}{_SUFFIX}"


@dataclass(frozen=True)
class Entry:
    """The planes of one photograph in a cache, by their names there.

    path: the photograph's file with links resolved, from which its planes must be decoded. mark: the file's identity at lookup.
    settled: whether it was old enough at lookup that any later change would change its time.
    """

    cache: PlaneCache
    path: str
    mark: tuple[int, ...]
    names: tuple[str, ...]
    settled: bool = True

    def load(self) -> list[np.ndarray] | None:
        """All planes, [h, w, 3] uint8, read-only; None where one is missing."""
        found: list[np.ndarray] = []
        for name in self.names:
            plane = self.cache.load(name)
            if plane is None:
                return None
            found.append(plane)
        return found

    def store(self, planes: Sequence[np.ndarray]) -> bool:
        """Store the planes, unless the photograph's file has changed, perhaps unnoticed; returns whether all are stored."""
        with suppress(OSError):
            if self.settled and _mark(self.path)[0] == self.mark:
                stored = [self.cache.store(name, plane) for name, plane in zip(self.names, planes, strict=True)]
                return all(stored)
        return False


def _blocks(size: int) -> int:
    """The bytes that a file takes on the disk."""
    return -(-size // _BLOCK) * _BLOCK


def _is_ours(folder: Path) -> bool:
    try:
        return (folder / _TAG).read_text(encoding="utf-8") == _SIGNATURE
    except (OSError, UnicodeDecodeError):
        return False


def _mark(path: str) -> tuple[tuple[int, ...], float]:
    """A mark that differs for a changed or replaced file, and the time of the last change in seconds."""
    status = os.stat(path)
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns), status.st_mtime


def _is_gone(path: Path) -> bool:
    """Remove a file; returns whether it is gone."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def makers() -> tuple[object, ...]:
    """All that determines the pixels of a decoded photograph: versions of libraries, our sources and the engine's binary."""
    named = sorted({*features.get_supported_modules(), *features.get_supported_codecs(), *features.get_supported_features()})
    codecs = tuple((name, features.version(name)) for name in named)
    packages = tuple((name, _installed(name)) for name in ("simplejpeg", "rawpy", "pi-heif", "pillow-heif", "numpy"))
    return version(), PIL.__version__, codecs, packages, raw.libraw_version(), _own_digest()


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _own_digest() -> str:
    """A digest of the package's sources for reading, reduction and views, and of the engine where there is one."""
    digest = hashlib.sha256()
    paths = [path for pattern in _SOURCES for path in sorted(_PACKAGE.glob(pattern))]
    paths += [] if engine.reason() else [Path(str(engine.load().__file__))]
    for path in paths:
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _digest(*key: object) -> str:
    return hashlib.sha256(repr((_MARK, *key)).encode("utf-8", "surrogateescape")).hexdigest()


def _read(number: int) -> tuple[np.ndarray, int] | None:
    """The plane in an open file, and its checksum; None where the head or the file's length is wrong."""
    head = os.pread(number, _HEAD.size, 0)
    if len(head) < _HEAD.size:
        return None
    mark, height, width, checksum, _ = _HEAD.unpack(head)
    size = height * width * 3
    if mark != _MARK or not size or os.fstat(number).st_size != _HEAD.size + size:
        return None
    return _pixels(number, size).reshape(height, width, 3), checksum


def _pixels(number: int, size: int) -> np.ndarray:
    """The pixels behind the head; a large plane is mapped, so that only the rows of a window are read."""
    if size >= _MAPPED and len(_maps) < resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4:
        with suppress(OSError):  # no file descriptor is left for a map
            memory = mmap.mmap(number, 0, access=mmap.ACCESS_READ)
            _maps.add(memory)
            return np.frombuffer(memory, np.uint8, size, _HEAD.size)
    found, done = np.empty(size, np.uint8), 0
    while done < size and (count := os.preadv(number, [found.data[done:]], _HEAD.size + done)):
        done += count
    found.flags.writeable = False
    return found


def _write(number: int, content: bytes | memoryview) -> None:
    """Write all of `content`, in as many calls as the system needs."""
    rest = memoryview(content).cast("B")
    while rest:
        rest = rest[os.write(number, rest) :]
