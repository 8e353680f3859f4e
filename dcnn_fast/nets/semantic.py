"""A network of another task as a column for this one: its layers, more to be learnt, and a label layer (paper III-E)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from dcnn_fast import spec
from dcnn_fast.nets.column import Column
from dcnn_fast.nets.importing import import_torchvision_alexnet, read_state
from dcnn_fast.nets.modelfile import Model, ModelError
from dcnn_fast.nets.network import build
from dcnn_fast.nets.squeezenet import import_squeezenet

_LABELS = ("low", "high")


def import_torchvision(path: str | Path, view: spec.View = "warp", *, fc: tuple[int, ...] = (256,), seed: int = 0) -> Column:
    """A column of torchvision's weights of AlexNet or SqueezeNet v1.0, whichever the file holds, and freshly drawn layers `fc`.

    path: a state dict, .safetensors or what torch.save wrote, of which only tensors are read. Raises ModelError for a file of
    neither.
    """
    state = read_state(Path(path))
    if "features.3.squeeze.weight" in state:
        return import_squeezenet(state, view, fc=fc, seed=seed)
    if "classifier.1.weight" in state and "features.10.weight" in state:
        return import_torchvision_alexnet(state, view, fc=fc, seed=seed)
    raise ModelError(f"{path}: must hold torchvision's weights of AlexNet or of SqueezeNet v1.0")


def for_another_task(
    columns: Iterable[nn.Module],
    fc: Sequence[int] = (),
    *,
    labels: Sequence[str] = _LABELS,
    name: str = "semantic",
    seed: int = 0,
) -> Model:
    """A network of these columns, which all learn: each with layers `fc` above its own, drawn from `seed`."""
    taken = [column for column in columns if isinstance(column, Column)]
    described = tuple(replace(column.spec, fc=(*column.spec.fc, *fc), frozen=False) for column in taken)
    net = build(spec.Network(name, described, tuple(labels)), seed=seed)
    for mine, theirs in zip(net.columns, taken, strict=True):
        mine.load_state_dict(theirs.state_dict(), strict=False)
    return Model(net.eval(), {})
