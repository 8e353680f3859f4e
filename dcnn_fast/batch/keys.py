"""Keys of rows: equal for the same photograph, of the same content, scored by the same model with the same settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping


def key_of(path: str, version: str | None, settings: Mapping[str, str]) -> str:
    """The key of one row: 32 hexadecimal digits.

    path: the photograph's address or path. version: what tells its content from another one (`Listed.version`). settings: all
    that decides a score (`scoring.settings.settings_of`), with the model's digest.
    """
    said = json.dumps([1, path, version, sorted(settings.items())])
    return hashlib.blake2b(said.encode(), digest_size=16).hexdigest()


def shard_of(path: str, shards: int) -> int:
    """The shard that a photograph belongs to, by its path alone: the same whatever else is in the collection."""
    return int.from_bytes(hashlib.blake2b(path.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "little") % shards
