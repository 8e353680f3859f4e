"""The C++ engine.

Where it was not built everything runs on torch operations; a line of the log says so, once, when it is first asked for.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import lru_cache
from types import ModuleType

import torch

ISA_VARIABLE = "DCNN_FAST_CPU_ISA"

with suppress(ImportError):  # now: a fork while a thread first asks for it would leave its import locked in the child
    importlib.import_module("dcnn_fast._engine")


_threads: ContextVar[int | None] = ContextVar("dcnn_fast_threads", default=None)


class EngineError(RuntimeError):
    """The engine, or the instruction set asked for, is not to be had; the message says why."""


@lru_cache(maxsize=1)
def _loaded() -> tuple[ModuleType | None, str | None]:
    try:
        return importlib.import_module("dcnn_fast._engine"), None
    except ModuleNotFoundError:
        why = "the C++ engine was not built: install again with a C++ compiler at hand"
    except ImportError as error:
        why = f"the C++ engine does not load: {' '.join(str(error).split())}"
    logging.getLogger(__name__).warning("%s; torch operations are used, which are slower", why)
    return None, why


def reason() -> str | None:
    """None when the engine is there, else one sentence that says why not."""
    return _loaded()[1]


def load() -> ModuleType:
    """The engine's module. Raises EngineError with `reason()` when there is none."""
    module, why = _loaded()
    if module is None:
        raise EngineError(why)
    return module


def isas() -> tuple[str, ...]:
    """The instruction sets this processor can run the engine with, best first; empty without the engine."""
    return () if reason() else tuple(load().isas())


def refusals() -> dict[str, str]:
    """Why the engine's other instruction sets do not run here, one sentence for each; empty without the engine."""
    return {} if reason() else dict(load().refusals())


def emulated_isas() -> tuple[str, ...]:
    """Instruction sets that run here in software: slow, for tests; only DCNN_FAST_CPU_ISA chooses one."""
    return () if reason() else tuple(load().emulated_isas())


def isa() -> str:
    """The instruction set in use: the best, or the one DCNN_FAST_CPU_ISA names.

    Raises EngineError when that is not to be had.
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
    return reason() is None and bool(load().has_tiles(isa()))


def threads() -> int:
    """Threads that one call may use: what `use_threads` says around it, otherwise torch.get_num_threads()."""
    count = _threads.get()
    return torch.get_num_threads() if count is None else count


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Inside, and in this thread only, a call of the engine uses `count` threads; torch's own setting stays as it is."""
    token = _threads.set(count)
    try:
        yield
    finally:
        _threads.reset(token)


def features() -> dict[str, bool]:
    """What the processor and the operating system offer, by name; empty without the engine."""
    return {} if reason() else dict(load().features())


def describe() -> str:
    """One line about the engine, for reports."""
    if why := reason():
        return f"none ({why}); torch operations are used"
    module = load()
    offered = ", ".join(name for name, there in features().items() if there) or "nothing it knows"
    return f"{isa()} of {', '.join(isas())}; processor: {offered}; compiler {module.compiler}"
