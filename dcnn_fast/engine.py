"""The C++ engine.

Where it was not built, everything runs on torch operations; the log says so once, at first use.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

ISA_VARIABLE = "DCNN_FAST_CPU_ISA"

_refusal: ImportError | None = None
try:  # at import: a fork during a thread's first use would leave the import locked in the child
    import dcnn_fast._engine as native
except ImportError as error:
    _refusal = error

_threads: ContextVar[int | None] = ContextVar("dcnn_fast_threads", default=None)


class EngineError(RuntimeError):
    """The engine or the requested instruction set is not available; the message says why."""


@lru_cache(maxsize=1)
def reason() -> str | None:
    """Why the engine is not available, in one sentence; None where it is."""
    if _refusal is None:
        return None
    why = "the C++ engine was not built: install again with a C++ compiler at hand"
    if not isinstance(_refusal, ModuleNotFoundError):
        why = f"the C++ engine does not load: {' '.join(str(_refusal).split())}"
    logging.getLogger(__name__).warning("%s; torch operations are used, which are slower", why)
    return why


def load() -> ModuleType:
    """The engine's module, also importable as `native` for its types (_engine.pyi). Raises EngineError with `reason()` when it
    is not available.
    """
    if why := reason():
        raise EngineError(why)
    return native


def __getattr__(name: str) -> Any:
    """Without the engine, `native` raises as `load` does."""
    if name == "native":
        load()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@lru_cache(maxsize=1)
def isas() -> tuple[str, ...]:
    """The engine's instruction sets that run on this processor, best first; empty without the engine."""
    return () if reason() else tuple(native.isas())


def refusals() -> dict[str, str]:
    """Why the engine's other instruction sets do not run here, one sentence for each; empty without the engine."""
    return {} if reason() else dict(native.refusals())


@lru_cache(maxsize=1)
def emulated_isas() -> tuple[str, ...]:
    """Instruction sets emulated in software: slow, for tests; only DCNN_FAST_CPU_ISA selects one."""
    return () if reason() else tuple(native.emulated_isas())


def isa() -> str:
    """The instruction set in use: the best, or the one DCNN_FAST_CPU_ISA names.

    Raises EngineError when it is not available.
    """
    wanted = os.environ.get(ISA_VARIABLE, "").strip()
    available = isas()
    if not available:
        raise EngineError(reason())
    if wanted and wanted not in (*available, *emulated_isas()):
        why = refusals().get(wanted)
        raise EngineError(
            f"{ISA_VARIABLE} must be one of {', '.join(available)} on this processor; got {wanted!r}{f': {why}' if why else ''}"
        )
    return wanted or available[0]


def has_tile_unit() -> bool:
    """Whether the instruction set in use multiplies bfloat16 in a tile unit; False without the engine."""
    return reason() is None and native.has_tiles(isa())


def threads() -> int:
    """The number of threads that one call may use: set by the enclosing `use_threads`, otherwise torch.get_num_threads()."""
    count = _threads.get()
    return torch.get_num_threads() if count is None else count


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """A context in which this thread's calls of the engine use `count` threads; torch's own setting does not change."""
    token = _threads.set(count)
    try:
        yield
    finally:
        _threads.reset(token)


def array_of(tensor: Tensor) -> np.ndarray[Any, Any]:
    """The memory of a cpu tensor in the engine's form: numpy's view of it, for bfloat16 of the bits as int16.

    Raises ValueError for one that repeats its memory so often that its bytes cannot be counted.
    """
    plain = tensor.detach() if tensor.requires_grad else tensor
    plain = plain.view(torch.int16) if plain.dtype == torch.bfloat16 else plain
    try:
        return plain.numpy()
    except ValueError as error:  # numpy's message has no size
        raise ValueError(f"a tensor must take fewer than 2**63 bytes, got {list(tensor.shape)} of {tensor.dtype}") from error


def features() -> dict[str, bool]:
    """Features of the processor and the operating system, by name; empty without the engine."""
    return {} if reason() else dict(native.features())


def describe() -> str:
    """One line about the engine, for reports."""
    if why := reason():
        return f"none ({why}); torch operations are used"
    offered = ", ".join(name for name, there in features().items() if there) or "nothing it knows"
    return f"{isa()} of {', '.join(isas())}; processor: {offered}; compiler {native.compiler}"


__all__ = [
    "ISA_VARIABLE",
    "EngineError",
    "array_of",
    "describe",
    "emulated_isas",
    "features",
    "has_tile_unit",
    "isa",
    "isas",
    "load",
    "native",
    "reason",
    "refusals",
    "threads",
    "use_threads",
]
