"""Files by torch.save, and safetensors files of other projects, as read for `convert`."""

from __future__ import annotations

import io
from collections.abc import Mapping

import torch
from safetensors.torch import save

from dcnn_fast.nets import ModelError
from dcnn_fast.nets.importing import read_state
from fuzz.target import FoundError, Target, file_of


def _read(data: bytes) -> None:
    ours = data[8:9] == b"{"
    state = read_state(file_of(data, "state.safetensors" if ours else "state.pth"))
    if not isinstance(state, Mapping):
        raise FoundError(f"a state dict must be a mapping, got {type(state).__name__}")


def _seeds() -> Mapping[str, bytes]:
    tensors = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.zeros(2)}
    new, old, nested = io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save(tensors, new)
    torch.save(tensors, old, _use_new_zipfile_serialization=False)
    torch.save({"state_dict": tensors, "epoch": 3}, nested)
    return {"new": new.getvalue(), "old": old.getvalue(), "nested": nested.getvalue(), "safetensors": save(tensors)}


TARGET = Target(_read, (ModelError,), _seeds, longest=8192)
