"""Photographs in stores, by fsspec's addresses, such as s3://bucket/a.jpg, gs://bucket/a.jpg or zip://a.jpg::photos.zip.

Only callers that ask for addresses follow them: code that reads paths from files does not use this module.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

EXTRA = "pip install 'dcnn-fast[stores]'"
MOST_BYTES = 2**30  # largest file, as it is read into memory
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
# Stores' names for a digest of a file's content, and for the time of its last change.
_CONTENT = ("ETag", "etag", "md5Hash", "Content-MD5", "content_md5", "Digest", "blob_id", "sha", "CRC")
_TIMES = (
    "mtime", "LastModified", "Last-Modified", "last_modified", "modificationTime", "modify", "updated", "created",
)  # fmt: skip
_OF_MACHINE = ("file://", "local://")
_PASSWORD = re.compile(r"://[^/@:]*:[^/@]*@")
_MOST_ARCHIVES = 16  # archives open at a time
_T = TypeVar("_T")


class StoreError(OSError):
    """A store cannot be reached, or does not give a file; the message says why."""


def is_address(path: str) -> bool:
    """Whether the text is an address in a store, and not a local file or folder."""
    return _ADDRESS.match(path) is not None and not os.path.lexists(path)


def of_machine(path: str) -> str:
    """The path of a local file given by its address (file:///a.jpg); any other text is returned unchanged."""
    scheme = next((each for each in _OF_MACHINE if path.lower().startswith(each)), None)
    return path if scheme is None or "::" in path or not is_address(path) else os.path.abspath(path[len(scheme) :])


def placed(folder: str, path: str) -> str:
    """A row's path, relative to `folder`, joined to it; an address is returned unchanged."""
    return path if is_address(path) else os.path.join(folder, path)


def address_of(path: str) -> str:
    """The address of a local zip file's content; any other path is returned unchanged."""
    is_zip = path.lower().endswith(".zip") and not is_address(path) and os.path.isfile(path)
    return f"zip://::{os.path.abspath(path)}" if is_zip else path


@dataclass(frozen=True)
class Stored:
    """A file in a store, which a scorer takes as an image.

    path: its address. size: in bytes, None if the store does not state it. version: a text that differs where the content may;
    None if it was not asked for, or the store has neither a digest nor a time.
    """

    path: str
    size: int | None = None
    version: str | None = None
    _system: Any = field(default=None, repr=False, compare=False)
    _inside: str = field(default="", repr=False, compare=False)

    def content(self) -> bytes:
        """The file's content. Raises StoreError, also for more than `MOST_BYTES`."""
        with self.opened() as (file, _):
            return file()

    @contextmanager
    def opened(self) -> Iterator[tuple[Callable[[], bytes], int | None]]:
        """A function that reads the content, and its size, None if the store states none. Raises StoreError as `content`."""
        _require_regular(self._system, self._inside)
        with closing(_asked(lambda: self._system.open(self._inside, "rb"))) as file:
            said = self.size if self.size is not None else getattr(file, "size", None)
            size = said if isinstance(said, int) else _asked(lambda: self._system.size(self._inside))
            if size is not None and size > MOST_BYTES:
                raise _too_large()
            yield lambda: _all_of(file), size


@dataclass(frozen=True)
class Entry:
    """A file or a folder in a folder of a store. name: the last part of its path. file: None for a folder.

    error: why it cannot be addressed: its address would mean something else.
    """

    name: str
    path: str
    file: Stored | None
    error: str | None = None

    def is_symlink(self) -> bool:
        """False: stores have no links."""
        return False


class Store:
    """The store of an address. Raises StoreError where there is none, or its package is not installed, and for an address that
    would lose its host (webhdfs://host/a.jpg) or holds a password, as addresses appear in rows and messages.

    inside: the path within the store. address: its address in canonical form.
    """

    def __init__(self, address: str) -> None:
        self._system, self.inside = _opened(address)
        head, chained, tail = address.partition("::")
        self._scheme, self._tail = head.partition("://")[0], chained + tail
        self.address = self._address_of(self.inside)
        if self.address != address and not self._is_same():
            raise StoreError("addresses with a host of this kind are not supported")

    def other(self, head: str) -> Stored:
        """Another file of the same archive. head: its address without the archive's part."""
        inside = self._system._strip_protocol(head)
        return Stored(self._address_of(inside), None, None, self._system, inside)

    def _is_same(self) -> bool:
        try:
            system, inside = _opened(self.address)
        except StoreError:
            return False
        return bool(system == self._system) and inside == self.inside

    def is_folder(self) -> bool:
        """Whether the address is a folder at present. Raises StoreError."""
        try:
            self._system.invalidate_cache()  # files may have come since the last listing
            return self.inside in ("", "/") or bool(self._system.isdir(self.inside))
        except Exception as error:
            raise _said(error) from None

    def exists(self) -> bool:
        """Whether the address exists. Raises StoreError."""
        try:
            self._system.invalidate_cache()  # another machine may have written meanwhile
            return bool(self._system.exists(self.inside))
        except Exception as error:
            raise _said(error) from None

    def write(self, content: bytes) -> None:
        """Write the file at the address, replacing an existing one. Raises StoreError."""
        try:
            self._system.makedirs(self.inside.rpartition("/")[0], exist_ok=True)
            self._system.pipe_file(self.inside, content)
        except Exception as error:
            raise _said(error) from None

    def file(self, *, with_version: bool = False) -> Stored:
        """The file at the address. with_version: ask the store for size and version; raises StoreError for a missing file."""
        if not with_version:
            return Stored(self.address, None, None, self._system, self.inside)
        try:
            return self._stored(self._system.info(self.inside))
        except Exception as error:
            raise _said(error) from None

    def entries(self, folder: str | None = None) -> Iterator[Entry]:
        """The entries of a folder, given by its address; None: the store's own address. Raises StoreError."""
        inside = self.inside if folder is None else self._inside_of(folder)
        try:
            found = self._system.ls(inside, detail=True)
        except Exception as error:
            raise _said(error) from None
        for info in found:
            path = str(info["name"]).rstrip("/")
            name = path.rpartition("/")[2]
            if name and path.strip("/") != inside.strip("/"):  # some stores list a folder within itself
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
        is_web = is_address(self.inside)  # web paths are full addresses
        return inside if is_web else f"{self._scheme}://{inside}{self._tail}"


def stored(address: str, *, with_version: bool = False) -> Stored:
    """The file at an address. Raises StoreError as `Store` and `Store.file` do.

    Example:
        >>> from dcnn_fast import Scorer
        >>> Scorer().score(stored("s3://bucket/a.jpg")).mean  # doctest: +SKIP
    """
    return Store(address).file(with_version=with_version)


class Stores:
    """Gives files by their addresses; an archive that holds several is opened once."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, str], Store] = {}

    def stored(self, address: str) -> Stored:
        """The file at an address. Raises StoreError as `Store` does."""
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
    """The version of a local file: its size and the time of its last change. Raises OSError."""
    status = os.stat(path)
    return f"size {status.st_size}, {status.st_mtime_ns}"


def _asked(work: Callable[[], _T]) -> _T:
    """Run `work`, turning any exception, as stores have their own, into a StoreError."""
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
    """Raise StoreError for a local pipe or device behind a store (dir://): reading it may never end."""
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
