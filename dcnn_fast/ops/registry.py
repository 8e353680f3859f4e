"""The operator library `dcnn_fast`: registers operations with torch.

`Library.define` + `impl` + `register_fake` with a thin autograd.Function above costs a third of `custom_op`'s overhead
(docs/design.md#layout) and works under torch.compile and torch.library.opcheck.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from dcnn_fast.ops.torch_tools import Rule

_LIBRARY: Any = torch.library.Library("dcnn_fast", "DEF")  # type: ignore[no-untyped-call]
_RUNS: dict[str, Callable[..., Any]] = {}
_INCLUDED = torch._C._dispatch_tls_local_include_set().raw_repr()  # dispatch keys of a thread without modes and tracing


def _keys(tensor: torch.Tensor) -> int:
    return torch._C._dispatch_keys(tensor).raw_repr()


with torch.inference_mode():
    _PLAIN = {_keys(torch.empty(0, device="cpu"))}
with torch.inference_mode(False):
    _PLAIN.add(_keys(torch.empty(0, device="cpu")))


def register(
    schema: str,
    run: Callable[..., Any],
    fake: Callable[..., Any],
    batched: Callable[[Callable[..., Any]], Rule] | None = None,
) -> None:
    """Define the operator `schema`; `run` computes it on every device, `fake` gives its results' shapes, dtypes and strides.

    batched: makes the vmap rule from the operator, as those in `torch_tools` do.
    """
    name = schema.split("(", 1)[0]
    _LIBRARY.define(schema)
    _LIBRARY.impl(name, run, "CompositeExplicitAutograd")
    _RUNS[name] = run
    torch.library.register_fake(f"dcnn_fast::{name}", fake, lib=_LIBRARY)
    if batched is not None:
        operator = getattr(torch.ops.dcnn_fast, name)
        torch.library.register_vmap(f"dcnn_fast::{name}", batched(operator), lib=_LIBRARY)


def call(name: str, *arguments: Any) -> Any:
    """Call an operator.

    torch's dispatcher takes 20 to 30 µs to convert the arguments and pass them to `run`, a multiple of a small kernel's time.
    It is skipped where it has nothing else to do: plain cpu tensors, and no compiler, trace, mode or profiler.
    """
    if not torch.compiler.is_compiling() and _nothing_to_dispatch(arguments):
        return _RUNS[name](*arguments)
    return getattr(torch.ops.dcnn_fast, name)(*arguments)


def _nothing_to_dispatch(arguments: tuple[Any, ...]) -> bool:
    return (
        torch._C._dispatch_tls_local_include_set().raw_repr() == _INCLUDED
        and not torch._C._len_torch_function_stack()
        and not torch._C._autograd._profiler_enabled()
        and all(_keys(a) in _PLAIN for a in arguments if isinstance(a, torch.Tensor))
    )


def require_tensors(**values: Any) -> None:
    """Raise TypeError naming the first argument that is not a tensor."""
    for name, value in values.items():
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
