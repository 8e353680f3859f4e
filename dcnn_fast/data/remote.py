"""Photographs in stores: addresses of fsspec, as s3://bucket/a.jpg, gs://bucket/a.jpg or zip://a.jpg::photos.zip.

An address is followed only by who has asked for it: nothing that reads paths out of files comes here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

EXTRA = "pip install 'dcnn-fast[stores]'"
MOST_BYTES = 2**30  # of a file: it is read into memory
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
# What stores call a digest of a file's content, and the time of its last change.
_CONTENT = ("ETag", "etag", "md5Hash", "Content-MD5", "content_md5", "Digest", "blob_id", "sha", "CRC")
_TIMES = (
    "mtime", "LastModified", "Last-Modified", "last_modified", "modificationTime", "modify", "updated", "created",
)  # fmt: skip
_OF_MACHINE = ("file://", "local://")
_PASSWORD = re.compile(r"://[^/@:]*:[^/@]*@")
_MOST_ARCHIVES = 16  # that are open at a time
_T = TypeVar("_T")


class StoreError(OSError):
    """A store that cannot be asked, or a file that it does not give; the message says why."""


def is_address(path: str) -> bool:
    """Whether the text is an address in a store, and no file or folder of this machine."""
    return _ADDRESS.match(path) is not None and not os.path.lexists(path)


def of_machine(path: str) -> str:
    """The path of a file of this machine that is given by its address (file:///a.jpg); anything else as it is."""
    scheme = next((each for each in _OF_MACHINE if path.lower().startswith(each)), None)
    return path if scheme is None or "::" in path or not is_address(path) else os.path.abspath(path[len(scheme) :])


def placed(folder: str, path: str) -> str:
    """Where a path of a row leads that starts from `folder`: an address stays as it is."""
    return path if is_address(path) else os.path.join(folder, path)


def address_of(path: str) -> str:
    """The address of what is named: of a zip file of this machine that of its content, otherwise the path as it is."""
    is_zip = path.lower().endswith(".zip") and not is_address(path) and os.path.isfile(path)
    return f"zip://::{os.path.abspath(path)}" if is_zip else path


@dataclass(frozen=True)
class Stored:
    """A file in a store, which a scorer takes as an image.

    path: its address. size: in bytes, None where the store does not say. version: of its content, another text where that
    may be another one; None where it was not asked for, or the store has neither a digest nor a time of it.
    """

    path: str
    size: int | None = None
    version: str | None = None
    _system: Any = field(default=None, repr=False, compare=False)
    _inside: str = field(default="", repr=False, compare=False)

    def content(self) -> bytes:
        """All of it. Raises StoreError, also for more than `MOST_BYTES`."""
        with self.opened() as (file, _):
            return file()

    @contextmanager
    def opened(self) -> Iterator[tuple[Callable[[], bytes], int | None]]:
        """What reads all of it, and its size before that, None where the store does not say. Raises StoreError as `content`."""
        _require_regular(self._system, self._inside)
        with closing(_asked(lambda: self._system.open(self._inside, "rb"))) as file:
            said = self.size if self.size is not None else getattr(file, "size", None)
            size = said if isinstance(said, int) else _asked(lambda: self._system.size(self._inside))
            if size is not None and size > MOST_BYTES:
                raise _too_large()
            yield lambda: _all_of(file), size


@dataclass(frozen=True)
class Entry:
    """A file or a folder in a folder of a store. name: the last part of its path. file: None of a folder.

    error: why it cannot be asked for, as its address would mean something else.
    """

    name: str
    path: str
    file: Stored | None
    error: str | None = None

    def is_symlink(self) -> bool:
        """No: stores have no links."""
        return False


class Store:
    """The store that an address is in. Raises StoreError where there is none, or a package for it is not installed, and for an
    address that would lose its host (webhdfs://host/a.jpg) or holds a password: rows and messages hold addresses.

    inside: what the address means there. address: of the same, as it is always written.
    """

    def __init__(self, address: str) -> None:
        self._system, self.inside = _opened(address)
        head, chained, tail = address.partition("::")
        self._scheme, self._tail = head.partition("://")[0], chained + tail
        self.address = self._address_of(self.inside)
        if self.address != address and not self._is_same():
            raise StoreError("addresses with a host of this kind are not supported")

    def other(self, head: str) -> Stored:
        """Another file of the same archive. head: its address without the archive's."""
        inside = self._system._strip_protocol(head)
        return Stored(self._address_of(inside), None, None, self._system, inside)

    def _is_same(self) -> bool:
        try:
            system, inside = _opened(self.address)
        except StoreError:
            return False
        return bool(system == self._system) and inside == self.inside

    def is_folder(self) -> bool:
        """Whether a folder is there, as the store says now. Raises StoreError."""
        try:
            self._system.invalidate_cache()  # what has come since it was listed before
            return self.inside in ("", "/") or bool(self._system.isdir(self.inside))
        except Exception as error:
            raise _said(error) from None

    def exists(self) -> bool:
        """Whether anything is there. Raises StoreError."""
        try:
            self._system.invalidate_cache()  # what another machine has written since
            return bool(self._system.exists(self.inside))
        except Exception as error:
            raise _said(error) from None

    def write(self, content: bytes) -> None:
        """Put a file there, in place of one that is. Raises StoreError."""
        try:
            self._system.makedirs(self.inside.rpartition("/")[0], exist_ok=True)
            self._system.pipe_file(self.inside, content)
        except Exception as error:
            raise _said(error) from None

    def file(self, *, with_version: bool = False) -> Stored:
        """The file there. with_version: ask the store for its size and version, which raises StoreError where it has none."""
        if not with_version:
            return Stored(self.address, None, None, self._system, self.inside)
        try:
            return self._stored(self._system.info(self.inside))
        except Exception as error:
            raise _said(error) from None

    def entries(self, folder: str | None = None) -> Iterator[Entry]:
        """What is in a folder, given by its address; None: in the one that the store was opened for. Raises StoreError."""
        inside = self.inside if folder is None else self._inside_of(folder)
        try:
            found = self._system.ls(inside, detail=True)
        except Exception as error:
            raise _said(error) from None
        for info in found:
            path = str(info["name"]).rstrip("/")
            name = path.rpartition("/")[2]
            if name and path.strip("/") != inside.strip("/"):  # some stores list a folder in itself
                is_folder = info["type"] == "directory"
                yield Entry(name, self._address_of(path), None if is_folder else self._stored(info), self._untold(path))

    def _stored(self, info: dict[str, Any]) -> Stored:
        size = info.get("size")
        return Stored(self._address_of(info["name"]), size, _version(info), self._system, info["name"])

    def _untold(self, inside: str) -> str | None:
        is_web = is_address(self.inside)
        told = inside.partition("://")[2] if is_web else inside
        is_untold = "::" in told or (not is_web and ("://" in told or told.endswith(":")))
        return "a name with :: or :// in it cannot be asked for by an address" if is_untold else None

    def _inside_of(self, address: str) -> str:
        return address if is_address(self.inside) else address.removeprefix(f"{self._scheme}://").removesuffix(self._tail)

    def _address_of(self, inside: str) -> str:
        is_web = is_address(self.inside)  # whose paths are addresses
        return inside if is_web else f"{self._scheme}://{inside}{self._tail}"


def stored(address: str, *, with_version: bool = False) -> Stored:
    """The file of an address. Raises StoreError as `Store` and `Store.file` do.

    Example:
        >>> from dcnn_fast import Scorer
        >>> Scorer().score(stored("s3://bucket/a.jpg")).mean  # doctest: +SKIP
    """
    return Store(address).file(with_version=with_version)


class Stores:
    """Gives files by their addresses; an archive that many of them are in is opened once."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, str], Store] = {}

    def stored(self, address: str) -> Stored:
        """The file of an address. Raises StoreError as `Store` does."""
        head, chained, tail = address.partition("::")
        if not chained:
            return stored(address)
        archive = head.partition("://")[0], tail
        if archive in self._of:
            return self._of[archive].other(head)
        store = Store(address)
        if len(self._of) >= _MOST_ARCHIVES:
            del self._of[next(iter(self._of))]
        self._of[archive] = store
        return store.file()


def version_of_file(path: str) -> str:
    """The version of a file of this machine: its size, and when it was changed last. Raises OSError."""
    status = os.stat(path)
    return f"size {status.st_size}, {status.st_mtime_ns}"


def _asked(work: Callable[[], _T]) -> _T:
    """`work()`, whose failures are the store's: each has exceptions of its own."""
    try:
        return work()
    except MemoryError:
        raise
    except Exception as error:
        raise _said(error) from None


def _all_of(file: Any) -> bytes:
    found: bytes = _asked(lambda: file.read(MOST_BYTES + 1))
    if len(found) > MOST_BYTES:
        raise _too_large()
    return found


def _require_regular(system: Any, inside: str) -> None:
    """Raise StoreError for a pipe or a device of this machine, where a store leads back to it (dir://): it may never end."""
    below = system
    while getattr(below, "fs", None) is not None:
        below = below.fs
    if "file" in _protocols(below) and _asked(lambda: system.info(inside))["type"] not in ("file", "link"):
        raise StoreError("not a regular file")


def _protocols(system: Any) -> tuple[str, ...]:
    named = system.protocol
    return (named,) if isinstance(named, str) else tuple(named)


def _version(info: dict[str, Any]) -> str | None:
    for name in _CONTENT:
        if info.get(name) is not None:
            return f"{name.lower()} {str(info[name]).strip(chr(34))}"
    time = next((info[name] for name in _TIMES if info.get(name) is not None), None)
    return None if time is None else f"size {info.get('size')}, {time}"


def _opened(address: str) -> tuple[Any, str]:
    if _PASSWORD.search(address):
        raise StoreError("an address must not hold a password: rows and messages would")
    try:
        from fsspec.core import url_to_fs  # noqa: PLC0415 - an extra
    except ImportError:
        raise StoreError(f"an address in a store needs fsspec: {EXTRA}") from None
    try:
        system, inside = url_to_fs(address)
    except ImportError as error:
        raise StoreError(f"this kind of store needs a package that is not installed: {_line(error)}") from None
    except Exception as error:
        raise _said(error) from None
    return system, inside


def _said(error: Exception) -> StoreError:
    if isinstance(error, StoreError):
        return error
    if isinstance(error, FileNotFoundError):
        return StoreError("no such file")
    if isinstance(error, PermissionError):
        return StoreError("permission denied")
    return StoreError(f"the store does not give it: {_line(error)}")


def _too_large() -> StoreError:
    return StoreError(f"it has more than {MOST_BYTES} bytes")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
