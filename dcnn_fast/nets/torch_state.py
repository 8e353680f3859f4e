"""Reads state dicts by torch.save, in both of its formats, without torch's unpickler, whose cost is unbounded.

The pickle is interpreted (`pickle_machine`), and only the names that plain tensors need are known. A tensor is made only from
its bytes in the file.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from dcnn_fast.nets import zipped
from dcnn_fast.nets.pickle_machine import Machine, Name, PickleError, as_bytes, pairs
from dcnn_fast.printable import quoted

_ZIP, _OLD = b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # files' first bytes; the second before torch 1.6
_MOST_AXES = 64
_COUNT = struct.Struct("<q")
_DTYPES = {
    f"torch.{name}Storage": getattr(torch, dtype)
    for name, dtype in (
        ("Double", "float64"), ("Float", "float32"), ("Half", "float16"), ("BFloat16", "bfloat16"), ("Long", "int64"),
        ("Int", "int32"), ("Short", "int16"), ("Char", "int8"), ("Byte", "uint8"), ("Bool", "bool"),
    )
}  # fmt: skip


@dataclass(frozen=True)
class _Storage:
    """The storage of tensors' values; the bytes may follow later."""

    key: str
    dtype: torch.dtype
    count: int

    @property
    def bytes(self) -> int:
        return self.count * self.dtype.itemsize


@dataclass(frozen=True)
class _View:
    """A tensor as the pickle describes it."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.size) > _MOST_AXES or len(self.size) != len(self.stride):
            raise PickleError("damaged: a tensor's size or stride")
        numbers = (self.offset, *self.size, *self.stride)
        if any(type(number) is not int or number < 0 for number in numbers):
            raise PickleError("a tensor's offset, size and stride must be whole numbers, none negative")
        end = self.offset + sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True)) + 1
        if all(self.size) and end > self.storage.count:
            raise PickleError(f"a tensor must lie in its storage of {self.storage.count} values, got one that ends at {end}")


class _Storages:
    """The storages that a pickle names. size: the unpacked file's, an upper bound for all of them together."""

    def __init__(self, size: int) -> None:
        self.found: dict[str, _Storage] = {}
        self._left = size

    def named(self, identifier: Any) -> _Storage:
        """The storage with an identifier."""
        if not isinstance(identifier, tuple) or len(identifier) not in (5, 6) or identifier[0] != "storage":
            raise PickleError("damaged: a storage's identifier")
        kind, key, count, part = identifier[1], identifier[2], identifier[4], identifier[5:]
        dtype = _DTYPES.get(kind.text) if isinstance(kind, Name) else None
        if dtype is None or not isinstance(key, str) or type(count) is not int or count < 0 or part not in ((), (None,)):
            raise PickleError("damaged: a storage's identifier")
        wanted = _Storage(key, dtype, count)
        if key not in self.found:
            self.found[key] = wanted
            self._left -= wanted.bytes
        if self.found[key] != wanted or self._left < 0:
            raise PickleError(f"the storage {quoted(key)} must be in the file, as large as it is said to be")
        return wanted


def read_torch_state(path: Path) -> dict[Any, Any]:
    """The dict stored by torch.save: tensors, and plain data beside them. Raises ValueError naming the fault; OSError."""
    with open(path, "rb") as file:
        start = file.read(len(_OLD))
        if start.startswith(_ZIP):
            return _of_zip(path)
        if start == _OLD:
            return _of_old(file, path.stat().st_size)
    raise ValueError("it is not what torch.save writes")


def _of_zip(path: Path) -> dict[Any, Any]:
    with zipped.opened(path) as archive:
        found = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(found) != 1:
            raise ValueError("it is not what torch.save writes: it must have one member data.pkl")
        folder = found[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist() and zipped.contents(archive, f"{folder}byteorder").tobytes() != b"little":
            raise ValueError("its numbers must be little-endian")
        program = zipped.contents(archive, found[0]).tobytes()
        storages = _Storages(sum(member.file_size for member in archive.infolist()))
        state = _value(program, len(program), storages)
        return _filled(state, storages, lambda storage: zipped.contents(archive, f"{folder}data/{storage.key}"))


def _of_old(file: BinaryIO, size: int) -> dict[Any, Any]:
    storages = _Storages(size)
    _, machine, state, keys = (_value(file, size, storages) for _ in range(4))
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise ValueError("its numbers must be little-endian")
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(storages.found):
        raise PickleError("damaged: the list of storages")
    content = {}
    for key in keys:
        storage = storages.found[key]
        (count,) = _COUNT.unpack(file.read(_COUNT.size).ljust(_COUNT.size, b"\xff"))
        if count != storage.count:
            raise PickleError(f"damaged: the storage {quoted(key)}")
        content[key] = np.empty(storage.bytes, np.uint8)
        if file.readinto(content[key].data) != storage.bytes:  # type: ignore[attr-defined]
            raise PickleError(f"the storage {quoted(key)} must have {storage.bytes} bytes, and the file ends")
    return _filled(state, storages, lambda storage: content[storage.key])


def _value(program: bytes | BinaryIO, size: int, storages: _Storages) -> Any:
    """The contents of the next pickle."""
    return Machine(size, _named, _build, storages.named).result(pickletools.genops(program))


def _filled(state: Any, storages: _Storages, content: Callable[[_Storage], np.ndarray]) -> dict[Any, Any]:
    """The dict with tensors in place of their descriptions."""
    if not isinstance(state, dict):
        raise ValueError(f"must hold a state dict, got {type(state).__name__}")
    flat = {}
    for storage in storages.found.values():
        values = content(storage)
        if len(values) != storage.bytes:
            raise PickleError(f"the storage {quoted(storage.key)} must have {storage.bytes} bytes, got {len(values)}")
        flat[storage.key] = (
            torch.from_numpy(values).view(storage.dtype) if storage.count else torch.empty(0, dtype=storage.dtype)
        )
    return {key: _tensor(value, flat) if isinstance(value, _View) else value for key, value in state.items()}


def _tensor(view: _View, flat: Mapping[str, Tensor]) -> Tensor:
    try:
        return flat[view.storage.key].as_strided(view.size, view.stride, view.offset)
    except RuntimeError as error:
        raise PickleError(f"a tensor's size: {str(error).splitlines()[0][:200]}") from None


def _rebuilt(
    machine: Machine,
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    gradient: Any = False,
    hooks: Any = None,
    more: Any = None,
) -> _View:
    del machine, gradient, hooks
    if not isinstance(storage, _Storage) or not isinstance(size, tuple) or not isinstance(stride, tuple):
        raise PickleError("damaged: a tensor")
    if more:
        raise PickleError("a tensor that is conjugated or negative by a mark alone cannot be read")
    return _View(storage, offset, size, stride)


def _parameter(machine: Machine, view: Any, *more: Any) -> Any:
    del machine, more
    if not isinstance(view, _View):
        raise PickleError("damaged: a parameter")
    return view


def _size(machine: Machine, numbers: Any = ()) -> tuple[Any, ...]:
    del machine
    if not isinstance(numbers, (list, tuple)) or len(numbers) > _MOST_AXES:
        raise PickleError("damaged: a size")
    return tuple(numbers)


def _encoded(machine: Machine, text: Any, encoding: Any = "latin1") -> bytes:
    if encoding != "latin1":
        raise PickleError("bytes must be encoded as latin1")
    return as_bytes(machine, text)


def _kept_as_text(text: str) -> Callable[..., str]:
    return lambda machine, *arguments: text


_KNOWN: Mapping[str, Callable[..., Any]] = {
    "collections.OrderedDict": pairs, "collections.Counter": pairs, "torch._utils._rebuild_tensor": _rebuilt,
    "torch._utils._rebuild_tensor_v2": _rebuilt, "torch._utils._rebuild_parameter": _parameter, "torch.Size": _size,
    "_codecs.encode": _encoded, **{name: _kept_as_text(name) for name in ("torch.device", *_DTYPES)},
    **{name: _kept_as_text(name) for name in map(str, _DTYPES.values())},
}  # fmt: skip


def _named(text: str) -> Name:
    if text not in _KNOWN:
        raise PickleError(f"the name {text[:80]!r} is not one that a state dict of plain tensors has")
    return Name(text, _KNOWN[text])


def _build(machine: Machine, target: Any, state: Any) -> None:
    """Ignore an ordered dict's attributes."""
    del machine
    if not isinstance(target, dict) or not isinstance(state, dict):
        raise PickleError("damaged: a state for what has none")
