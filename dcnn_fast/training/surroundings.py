"""What a host program may have set around a run, and is to be neither asked nor changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch

from dcnn_fast.ops.plain_torch import plain_torch

_MATMUL = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
_PRECISE = ("ieee", "none")  # none: not set


@contextmanager
def own_surroundings(*, gradients: bool) -> Iterator[None]:
    """The modes of this thread as they are by default, for as long as the context lasts; other threads keep theirs.

    gradients: whether they are recorded. Inference mode and autocast are off, new tensors lie on the cpu unless they say
    otherwise, and numpy raises nothing. The default dtype, which is every thread's, is not touched: what is computed here
    names its own.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(gradients))
        stack.enter_context(np.errstate(all="ignore"))
        if torch.get_default_device() != torch.device("cpu"):
            stack.enter_context(torch.device("cpu"))
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield


@contextmanager
def plain_products(device: torch.device) -> Iterator[None]:
    """Inside, torch computes on the cpu as by default (`plain_torch`), layers that torch multiplies itself included."""
    if device.type != "cpu":
        yield
        return
    with plain_torch():
        before = str(_MATMUL.fp32_precision)
        if before in _PRECISE:
            yield
            return
        _MATMUL.fp32_precision = "ieee"
        try:
            yield
        finally:
            _MATMUL.fp32_precision = before


def generator_of(device: torch.device) -> torch.Generator:
    """The generator that torch's operations on `device` draw from by default; no other device's."""
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        found: torch.Generator = torch.cuda.default_generators[index]
        return found
    return torch.default_generator
