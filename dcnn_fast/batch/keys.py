"""Keys of rows: equal for the same photograph with the same content, scored by the same model with the same settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from dcnn_fast.scoring import Scorer
from dcnn_fast.scoring.settings import option_of, settings_of


def deciding(scorer: Scorer) -> dict[str, str]:
    """Everything that determines a row's scores: the settings, and where results are rounded between blocks, the kind of
    device.
    """
    device = {} if scorer.dtype == "float32" else {"--device": scorer.device.partition(":")[0]}
    return settings_of(scorer) | device


def differing(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The settings that differ, each as text."""
    values = {name: (then.get(name, "off"), now.get(name, "off")) for name in (*then, *now)}
    return [f"{option_of(name)} {one[:12]} (here {other[:12]})" for name, (one, other) in values.items() if one != other]


def key_of(path: str, version: str | None, settings: Mapping[str, str]) -> str:
    """The key of one row: 32 hexadecimal digits.

    path: the photograph's address or path. version: a text that changes with its content (`Listed.version`). settings:
    everything that determines a score (`deciding`), with the model's digest.
    """
    said = json.dumps([1, path, version, sorted(settings.items())])
    return hashlib.blake2b(said.encode(), digest_size=16).hexdigest()


def shard_of(path: str, shards: int) -> int:
    """The shard that a photograph belongs to. It follows from the path alone, whatever else is in the collection."""
    return int.from_bytes(hashlib.blake2b(path.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "little") % shards
