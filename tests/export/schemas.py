"""The package's JSON schemas, as a consumer of its JSON uses them."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema

import dcnn_fast

FOLDER = Path(dcnn_fast.__file__).parent / "schemas"


def require_valid(name, value):
    """Raise jsonschema.ValidationError unless `value` satisfies the schema of that name."""
    schema = json.loads((FOLDER / f"{name}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(value)
