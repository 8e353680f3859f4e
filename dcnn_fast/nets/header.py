"""The header of a safetensors file, checked before anything else reads the file."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

from dcnn_fast import strict_json
from dcnn_fast.printable import quoted

_LENGTH = struct.Struct("<Q")


def read_header(path: str | Path, most: int) -> dict[str, Any]:
    """The header as a JSON object: each tensor's name, dtype, shape and place, and `__metadata__`, texts by name.

    Raises ValueError where it is larger than `most` bytes or the file, or is not such an object; OSError.
    """
    with open(path, "rb") as file:
        start = file.read(_LENGTH.size)
        if len(start) < _LENGTH.size:
            raise ValueError("not a readable safetensors file: it ends before its header")
        (length,) = _LENGTH.unpack(start)
        if length > os.fstat(file.fileno()).st_size - _LENGTH.size:
            raise ValueError("not a readable safetensors file: its header is longer than the file")
        if length > most:
            raise ValueError(f"its header must have at most {most:,} bytes, got {length:,}")
        content = file.read(length)
    try:
        header = strict_json.loads(content)
    except ValueError as error:
        raise ValueError(f"not a readable safetensors file: its header: {error}") from None
    if not isinstance(header, dict):
        raise ValueError("not a readable safetensors file: its header must be a JSON object")
    return header


def order_metadata(path: str | Path) -> None:
    """Sort a header's texts by name: safetensors writes them in varying order, and equal contents shall give equal files.
    Raises ValueError where the header would not fit its place; OSError.
    """
    with open(path, "r+b") as file:
        (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        content = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        if len(content) > length:
            raise ValueError(f"{path}: a header of {len(content)} bytes does not fit the place of one of {length}")
        file.seek(_LENGTH.size)
        file.write(content.ljust(length))


def metadata_of(header: dict[str, Any]) -> dict[str, Any]:
    """A header's texts beside its tensors."""
    found = header.get("__metadata__", {})
    return found if isinstance(found, dict) else {}


def shapes_of(header: dict[str, Any]) -> dict[str, tuple[tuple[Any, ...], Any]]:
    """Each tensor's shape and dtype as stated in the header. Raises ValueError where one is missing."""
    found = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if not isinstance(entry, dict) or not isinstance(entry.get("shape"), list):
            raise ValueError(f"not a readable safetensors file: its header says no shape of {quoted(name)}")
        found[name] = tuple(entry["shape"]), entry.get("dtype")
    return found
