"""The operator library `dcnn_fast`: how an operation is registered with torch.

`Library.define` + `impl` + `register_fake` with a thin autograd.Function above costs a third of `custom_op`'s overhead
(docs/design.md#layout) and works under torch.compile and torch.library.opcheck.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from dcnn_fast.ops.torch_tools import Rule

_LIBRARY: Any = torch.library.Library("dcnn_fast", "DEF")  # type: ignore[no-untyped-call]


def register(
    schema: str,
    run: Callable[..., Any],
    fake: Callable[..., Any],
    batched: Callable[[Callable[..., Any]], Rule] | None = None,
) -> None:
    """Define the operator of `schema`; `run` computes it on every device, `fake` gives shapes, dtypes and strides.

    batched: makes the rule for vmap of the operator, such as those of `torch_tools`.
    """
    name = schema.split("(", 1)[0]
    _LIBRARY.define(schema)
    _LIBRARY.impl(name, run, "CompositeExplicitAutograd")
    torch.library.register_fake(f"dcnn_fast::{name}", fake, lib=_LIBRARY)
    if batched is not None:
        operator = getattr(torch.ops.dcnn_fast, name)
        torch.library.register_vmap(f"dcnn_fast::{name}", batched(operator), lib=_LIBRARY)


def require_tensors(**values: Any) -> None:
    """Raise TypeError naming the first of the arguments that is no tensor."""
    for name, value in values.items():
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
