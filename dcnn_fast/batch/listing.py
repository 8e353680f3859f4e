"""The photographs of a collection and their content versions, from directory and object store listings; no file is opened."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dcnn_fast.batch.errors import BatchError
from dcnn_fast.data.folders import Found, Search
from dcnn_fast.data.remote import StoreError, is_address, stored, version_of_file


@dataclass(frozen=True)
class Listed:
    """A photograph of a collection.

    Args:
        path: Its absolute path, or its address in a store.
        version: Its ETag, or its size and time; None where there is none.
    """

    path: str
    version: str | None = None


def listing(
    places: Iterable[str | os.PathLike[str]], *, recursive: bool = True, exclude: Sequence[str] = ()
) -> Iterator[Listed]:  # fmt: skip
    """List the photographs below folders, zip files and addresses in stores, found as `dcnn-fast score -r` does, in order.

    Args:
        places: Folders, files, zip files and addresses.
        recursive: Search subfolders, too.
        exclude: Patterns of paths to skip, as `--exclude` takes them.

    Returns:
        The photographs, one by one.

    Raises:
        BatchError: A place cannot be listed; or, at the end, photographs need the extra `photos` where it is not installed:
            nobody would notice the missing ones later, and a new deal would drop their rows from earlier runs.

    Example:
        >>> listing(["s3://bucket/photos", "/mnt/archive"])  # doctest: +SKIP
    """
    search = Search(recursive=recursive, exclude=exclude, stores=True)
    for found in search.files(os.fspath(place) for place in places):
        yield _listed(found)
    if search.passed.with_extra:
        counts = ", ".join(f"{count} {suffix}" for suffix, count in sorted(search.passed.with_extra.items()))
        raise BatchError(f"{counts}: these need pip install 'dcnn-fast[photos]', or leave them out (exclude=[\"*.heic\"])")


def _listed(found: Found) -> Listed:
    if found.error is not None:
        raise BatchError(f"{found.path}: {found.error}")
    try:
        if not is_address(found.path):
            return Listed(os.path.abspath(found.path), version_of_file(found.path))
        known = found.stored if found.stored is not None and found.stored.version else stored(found.path, with_version=True)
    except StoreError as error:
        raise BatchError(f"{found.path}: {error}") from None
    except OSError as error:
        raise BatchError(f"{found.path}: {error.strerror or error}") from None
    if known.version is None:
        raise BatchError(f"{known.path}: its store tells neither a digest of it nor when it was changed")
    return Listed(known.path, known.version)
