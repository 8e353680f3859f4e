"""A CUDA graph's stand-in for the PTX simulator: launches and torch's operations, kept with their memory and run anew from it.

As a capture does, recording runs nothing: what writes is left out then, and a value that is asked for (`item`, `tolist`)
ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dcnn_fast.ops.launch import Launch, capability, launch, launched_by
from dcnn_fast.ops.recording import Step, run

_UNWRITTEN = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided")


class _Listening(TorchDispatchMode):
    """Adds what torch does to a tape."""

    def __init__(self, tape: list[Callable[[], object]]) -> None:
        super().__init__()
        self._tape = tape

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "dcnn_fast":  # an operation is what it launches, and what it has torch do
            with self:
                return func._op_dk(torch._C.DispatchKey.CompositeExplicitAutograd, *args, **kwargs)
        name = func._schema.name.removeprefix("aten::")
        if name in ("_local_scalar_dense", "is_nonzero", "nonzero", "equal"):
            raise RuntimeError(f"a step that is recorded must not wait for the device, as {name} does")
        if func._schema.is_mutable:
            self._tape.append(lambda: func(*args, **kwargs))
            return args[0] if func._schema.returns else None
        found = func(*args, **kwargs)
        if name not in _UNWRITTEN and not _memories(found) <= _memories((args, kwargs)):  # a view has nothing of its own
            self._tape.append(lambda: _write(found, func(*args, **kwargs)))
        return found


def _memories(values: Any) -> set[int]:
    """The memory of all tensors in it."""
    return {each.untyped_storage()._cdata for each in tree_leaves(values) if isinstance(each, Tensor)}


def _write(recorded: Any, anew: Any) -> None:
    for target, source in zip(tree_leaves(recorded), tree_leaves(anew), strict=True):
        if isinstance(target, Tensor):
            target.copy_(source)


class Taped:
    """Steps recorded. played: how often they were replayed; launches: how many there are in them."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._tape: list[Callable[[], object]] = []
        self.played, self.launches = 0, 0
        with launched_by(self._add, capability(torch.device("cpu"))), _Listening(self._tape):
            for step in steps:
                run(step)

    def _add(self, what: Launch) -> None:
        self.launches += 1
        self._tape.append(lambda: launch(what))

    def replay(self) -> None:
        """As `Recorded` says."""
        self.played += 1
        with torch.no_grad():
            for again in self._tape:
                again()
