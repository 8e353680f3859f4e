"""The package's JSON schemas, by name."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any


@cache
def schema(name: str) -> dict[str, Any]:
    """The schema in `dcnn_fast/schemas/NAME.json`, without the keywords that belong only in separate files."""
    found: dict[str, Any] = json.loads((resources.files("dcnn_fast") / "schemas" / f"{name}.json").read_text())
    found.pop("$schema")
    return found
