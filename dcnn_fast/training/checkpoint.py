"""A run on disk: one safetensors file with weights and increments, and a JSON header with everything else. No pickle.

Nothing random is kept: the order, the windows and the dropout are functions of the seed and of where the run stands.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from dcnn_fast.data import DataSet, Example
from dcnn_fast.training.update_rule import ConvNetUpdate

FORMAT = 1
_KEY = "dcnn_fast_run"


class CheckpointError(ValueError):
    """A checkpoint that cannot be used, or not with what the caller asks for; the message names what is wrong."""


@dataclass
class Progress:
    """Where a run stands: `step` mini-batches of epoch `epoch` are done, both counting from 0.

    loss, cases: the sum of the losses and the number of the examples since the epoch began. history: a row for each epoch that
    is over. best: the row of the best one. skipped: the photographs that could not be read, each with the reason. scaler: the
    state of the loss scale in fp16. means: what is taken off each column's pixels, None where the network says.
    """

    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    cases: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] | None = None
    skipped: dict[str, str] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)
    means: list[list[float]] | None = None


@dataclass(frozen=True)
class Checkpoint:
    """What a file held: tensors by name ("net.*" and "increment.*"), the progress, and what the run was started with."""

    tensors: dict[str, Tensor]
    progress: Progress
    settings: dict[str, Any]
    fingerprint: str
    identity: dict[str, str]


def save_checkpoint(
    path: Path, net: nn.Module, update: ConvNetUpdate, progress: Progress, settings: dict[str, Any], fingerprint: str,
    identity: Mapping[str, str],
) -> None:  # fmt: skip
    """Write a run's state to `path`."""
    tensors = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
    for name, parameter in net.named_parameters():
        increment = update.state[parameter].get("increment") if parameter in update.state else None
        if increment is not None:
            tensors[f"increment.{name}"] = increment
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {
        "format": FORMAT, "settings": settings, "fingerprint": fingerprint, "identity": dict(identity),
        "progress": asdict(progress),
    }  # fmt: skip
    save_file(plain, str(path), metadata={_KEY: json.dumps(header)})


def load_checkpoint(path: Path) -> Checkpoint:
    """The run's state in `path`. Raises CheckpointError naming the file when it is not one."""
    try:
        with safe_open(str(path), framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not a readable checkpoint: {error}") from None
    if header.get("format") != FORMAT:
        raise CheckpointError(f"{path}: format must be {FORMAT}, got {header.get('format')!r}")
    identity = header.get("identity", {})  # versions before 0.2 did not say
    return Checkpoint(tensors, Progress(**header["progress"]), header["settings"], header["fingerprint"], identity)


@torch.no_grad()
def restore(checkpoint: Checkpoint, net: nn.Module, update: ConvNetUpdate) -> None:
    """Give a network and its update rule a checkpoint's weights and increments.

    Raises CheckpointError when their names or shapes are not the network's.
    """
    state = net.state_dict()
    parameters = dict(net.named_parameters())
    wanted = {f"net.{name}": tensor for name, tensor in state.items()}
    allowed = {**wanted, **{f"increment.{name}": parameter for name, parameter in parameters.items()}}
    wrong = [name for name, tensor in checkpoint.tensors.items() if name not in allowed or tensor.shape != allowed[name].shape]
    missing = [name for name in wanted if name not in checkpoint.tensors]
    if wrong or missing:
        raise CheckpointError(f"the checkpoint must be of the same network; missing {missing[:3]}, different {wrong[:3]}")
    for name, tensor in state.items():
        tensor.copy_(checkpoint.tensors[f"net.{name}"])
    for name, parameter in parameters.items():
        stored = checkpoint.tensors.get(f"increment.{name}")
        if stored is not None:
            update.state[parameter]["increment"] = torch.empty_like(parameter, requires_grad=False).copy_(stored)


def fingerprint_of(data: DataSet, inputs: Any, architecture: Any) -> str:
    """A digest of what a run learns from and with: labels, keys, targets, the network's inputs and spec; not the pixels."""
    state = hashlib.sha256(repr((data.labels, data.attributes, tuple(inputs), architecture)).encode("utf-8", "surrogateescape"))
    for part in (data.train, data.test):
        for example in part:
            text = repr((example.key, example.label, example.attribute, example.truth))
            state.update(text.encode("utf-8", "surrogateescape"))
        state.update(b"|")
    return state.hexdigest()


def identity_of(data: DataSet, inputs: Any, architecture: Any, origin: str = "") -> dict[str, str]:
    """What a run learns from and with, by name, so that a difference can be named; not the pixels.

    origin: what the network starts from, "" where nobody says.
    """
    return {
        "labels": ", ".join(data.labels), "attributes": ", ".join(data.attributes) or "none",
        "columns": _digest((tuple(inputs), architecture)), "starting weights": origin,
        "training photographs": _listed(data.train), "held-out photographs": _listed(data.test),
    }  # fmt: skip


def identity_differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What keeps a run from going on: one text for each part of `identity_of` that differs, none where it may."""
    return [
        f"{name}: {before[name]} before, {value} now"
        for name, value in now.items()
        if before.get(name) and value and before[name] != value
    ]


def _listed(examples: Iterable[Example]) -> str:
    listed = [(example.key, example.label, example.attribute, example.truth) for example in examples]
    return f"{len(listed)} ({_digest(listed)})"


def _digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode("utf-8", "surrogateescape")).hexdigest()[:12]
