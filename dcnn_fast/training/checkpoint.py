"""A run on disk: one safetensors file with the weights and the update rule's state, the rest in a JSON header. No pickle.

No generator's state is kept: the order, the windows and the dropout are functions of the seed and the run's progress.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from dcnn_fast import strict_json
from dcnn_fast.data import DataSet, Example
from dcnn_fast.nets.header import metadata_of, order_metadata, read_header
from dcnn_fast.printable import quoted, shortened
from dcnn_fast.training.optimisers import memory_like, remember, remembered
from dcnn_fast.training.progress import Progress, progress_from_dict, timeless_dict
from dcnn_fast.training.settings import Settings, settings_from_dict

FORMAT = 1
_KEY, _DIGEST = "dcnn_fast_run", "sha256"
_LARGEST_HEADER = 100_000_000  # bytes, safetensors' own limit: the header names every skipped photograph


class CheckpointError(ValueError):
    """A checkpoint that cannot be used, or not with the caller's settings; the message names the fault."""


@dataclass(frozen=True)
class Checkpoint:
    """A file's content: the progress, the settings of the run, and tensors by name ("net.*", and "increment.*" or AdamW's
    "exp_avg.*" and the like)."""

    tensors: dict[str, Tensor]
    progress: Progress
    settings: Settings
    fingerprint: str
    identity: dict[str, str]


def save_checkpoint(
    path: Path, net: nn.Module, update: torch.optim.Optimizer, progress: Progress, settings: dict[str, Any], fingerprint: str,
    identity: Mapping[str, str],
) -> None:  # fmt: skip
    """Write a run's state to `path`."""
    tensors = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
    tensors |= remembered(update, dict(net.named_parameters()))
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {
        "format": FORMAT, "settings": settings, "fingerprint": fingerprint, "identity": dict(identity),
        "progress": timeless_dict(progress),
    }  # fmt: skip
    text = json.dumps(header)
    save_file(plain, str(path), metadata={_KEY: text, _DIGEST: hashlib.sha256(text.encode()).hexdigest()})
    order_metadata(path)


def load_checkpoint(path: Path) -> Checkpoint:
    """The run's state in `path`. Raises CheckpointError naming the file when it is damaged or no checkpoint."""
    try:
        header = _header(metadata_of(read_header(path, _LARGEST_HEADER)))
        progress, settings = progress_from_dict(header.get("progress")), _settings(header.get("settings"))
        fingerprint, identity = header.get("fingerprint"), header.get("identity", {})  # versions before 0.2 had no identity
        if not isinstance(fingerprint, str) or not isinstance(identity, dict):
            raise ValueError("it must say what the run learns from")
        if not all(isinstance(text, str) for text in identity.values()):
            raise ValueError("it must say what the run learns from")
        with safe_open(str(path), framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, ValueError, MemoryError) as error:
        raise CheckpointError(f"{path}: not a readable checkpoint: {error or 'there is not enough memory'}") from None
    return Checkpoint(tensors, progress, settings, fingerprint, identity)


def _header(texts: Mapping[str, Any]) -> dict[str, Any]:
    text, digest = texts.get(_KEY), texts.get(_DIGEST)  # older files have no digest
    if not isinstance(text, str):
        raise ValueError(f"its header has no entry {_KEY!r}")
    if digest is not None and digest != hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest():
        raise ValueError("its header is damaged")
    header = strict_json.loads(text)
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        found = header.get("format") if isinstance(header, dict) else header
        raise ValueError(f"format must be {FORMAT}, got {quoted(found)}")
    return header


def _settings(data: Any) -> Settings:
    try:
        return settings_from_dict(data)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"its settings cannot be: {shortened([str(error)], longest=200)}") from None


@torch.no_grad()
def restore(checkpoint: Checkpoint, net: nn.Module, update: torch.optim.Optimizer) -> None:
    """Load a checkpoint's weights into a network, and its increments or other state into the update rule.

    Raises CheckpointError when their names, shapes or dtypes are not the network's, or a number is not finite.
    """
    state = net.state_dict()
    parameters = dict(net.named_parameters())
    wanted = {f"net.{name}": tensor for name, tensor in state.items()}
    allowed = {**wanted, **memory_like(update, parameters)}
    wrong = [name for name, tensor in checkpoint.tensors.items() if name not in allowed or _differ(tensor, allowed[name])]
    missing = [name for name in wanted if name not in checkpoint.tensors]
    if wrong or missing:
        texts = quoted(missing[:3]), quoted(wrong[:3])
        raise CheckpointError(f"the checkpoint must be of the same network; missing {texts[0]}, different {texts[1]}")
    for name, tensor in checkpoint.tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(f"the checkpoint's {name} must be finite, got NaN or infinity")
    for name, tensor in state.items():
        tensor.copy_(checkpoint.tensors[f"net.{name}"])
    try:
        remember(update, parameters, checkpoint.tensors)
    except ValueError as error:
        raise CheckpointError(f"the checkpoint {error}") from None


def _differ(tensor: Tensor, wanted: Tensor) -> bool:
    return tensor.shape != wanted.shape or tensor.dtype != wanted.dtype


def fingerprint_of(data: DataSet, inputs: Any, architecture: Any) -> str:
    """A digest of a run's data and network: labels, keys, targets, the network's inputs and spec; not the pixels."""
    state = hashlib.sha256(repr((data.labels, data.attributes, tuple(inputs), architecture)).encode("utf-8", "surrogateescape"))
    for part in (data.train, data.test):
        for example in part:
            text = repr((example.key, example.label, example.attribute, example.truth))
            state.update(text.encode("utf-8", "surrogateescape"))
        state.update(b"|")
    return state.hexdigest()


def identity_of(data: DataSet, inputs: Any, architecture: Any, origin: str = "") -> dict[str, str]:
    """Digests of a run's data and network, by name, so that a difference can be named; not of the pixels.

    origin: the initial weights' origin, "" where unknown.
    """
    return {
        "labels": ", ".join(data.labels), "attributes": ", ".join(data.attributes) or "none",
        "columns": _digest((tuple(inputs), architecture)), "starting weights": origin,
        "training photographs": _listed(data.train), "held-out photographs": _listed(data.test),
        **({"validation photographs": _listed(data.val)} if data.val else {}),
    }  # fmt: skip


def identity_differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The reasons why a run may not be resumed: one text for each part of `identity_of` that differs."""
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
