"""Checkpoints of training: a safetensors header with our JSON, weights and increments."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from dcnn_fast.training import ConvNetUpdate, Settings
from dcnn_fast.training.checkpoint import CheckpointError, Progress, load_checkpoint, restore, save_checkpoint
from fuzz.headers import changed_header
from fuzz.target import Target, file_of

_ROWS = [{"epoch": epoch, "step": 7 * epoch + 7, "loss": 0.7 - epoch / 10} for epoch in range(2)]


def _run() -> tuple[nn.Module, ConvNetUpdate]:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        net = nn.Linear(3, 2)
    return net, ConvNetUpdate(net.named_parameters())


def _read(data: bytes) -> None:
    checkpoint = load_checkpoint(file_of(data, "checkpoint.safetensors"))
    restore(checkpoint, *_run())


def _seeds() -> Mapping[str, bytes]:
    net, update = _run()
    found = {}
    for name, progress in (("begun", Progress()), ("later", Progress(2, 7, 1.5, 64, history=_ROWS))):
        path = file_of(b"", "seed.safetensors")
        save_checkpoint(path, net, update, progress, Settings(epochs=3).to_dict(), "0" * 64, {"data": "x"})
        found[name] = path.read_bytes()
        net(torch.ones(1, 3)).sum().backward()
        update.step()
    return found


TARGET = Target(_read, (CheckpointError,), _seeds, longest=8192, mutated=changed_header("dcnn_fast_run", "sha256"))
