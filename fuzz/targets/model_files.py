"""Model files: a safetensors header with our JSON, and the tensors."""

from __future__ import annotations

from collections.abc import Mapping

from dcnn_fast.nets import Model, ModelError, build, load_model, save_model
from dcnn_fast.networks import Block, Column, CrossMapNorm, Network, Pool, View
from fuzz.headers import changed_header
from fuzz.target import Target, file_of


def _read(data: bytes) -> None:
    load_model(file_of(data, "m.safetensors"))


def _tiny(views: tuple[View, ...]) -> Model:
    """A model whose file consists mostly of the header."""
    blocks = (Block(2, 5, stride=2, pool=Pool(), norm=CrossMapNorm()), Block(2, 3, padding=1, groups=2))
    columns = tuple(Column(view, blocks, (3, 2), plane=16, window=12, mean=(120.5, 110.0, 100.0)) for view in views)
    return Model(build(Network("tiny", columns, ("low", "high")), seed=1).eval(), {"trained on": "nothing"})


def _seeds() -> Mapping[str, bytes]:
    found = {}
    path = file_of(b"", "seed.safetensors")
    views: tuple[View, ...]
    for views in (("warp",), ("local", "warp")):
        save_model(_tiny(views), path)
        found[f"{len(views)} columns"] = path.read_bytes()
        save_model(_tiny(views), path, fc_storage="int8", block_storage="float16")
        found[f"{len(views)} columns, compact"] = path.read_bytes()
    return found


TARGET = Target(_read, (ModelError,), _seeds, longest=1 << 14, mutated=changed_header("dcnn_fast"))
