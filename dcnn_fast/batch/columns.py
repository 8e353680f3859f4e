"""Scores as columns: their names and types, the same in Parquet files and in the batches of every engine. Needs pyarrow."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from dcnn_fast.scoring import CSV_FIELDS, Score

if TYPE_CHECKING:
    import pyarrow

NAMES = (*CSV_FIELDS, "plan", "probs")
OF_COLLECTION = ("collection_percentile", "group", "best_of_group")  # known only for a whole collection
_NUMBERS = ("mean", "std", "percentile", "collection_percentile")
_COUNTS = ("views", "seed", "width", "height")


def require_pyarrow(what: str) -> None:
    """Raise ValueError where pyarrow is not installed. what: the feature that needs it."""
    if find_spec("pyarrow") is None:
        raise ValueError(f"{what} needs pyarrow: pip install 'dcnn-fast[batch]'")


def value_of(score: Score, name: str) -> Any:
    """The value of one column, None where there is none.

    faults are names separated by spaces, "none" where none was found; notes are separated by semicolons; probs is a JSON object
    from label to probability; all else is as in `Score`.
    """
    if name == "probs":
        return json.dumps(score.probs, allow_nan=False) if score.probs else None
    if name in ("faults", "notes"):
        return score.csv_row()[name] or None
    value = score.samples_count if name == "views" else getattr(score, name)
    return text(value) if isinstance(value, str) else value


def schema(names: Iterable[str]) -> pyarrow.Schema:
    """The Arrow schema of columns; columns that no score has are text."""
    import pyarrow as pa  # noqa: PLC0415 - an extra

    types = {**dict.fromkeys(_NUMBERS, pa.float64()), **dict.fromkeys(_COUNTS, pa.int64()), "best_of_group": pa.bool_()}
    return pa.schema([(name, types.get(name, pa.string())) for name in names])


def arrays(
    scores: Iterable[Score], names: Iterable[str], more: Mapping[str, Callable[[Score], str | None]] | None = None
) -> dict[str, pyarrow.Array]:
    """The columns of scores, by name. more: additional text columns."""
    import pyarrow as pa  # noqa: PLC0415 - an extra

    every, besides = list(scores), more or {}
    of = schema([*besides, *names])
    values = {name: [said(score) for score in every] for name, said in besides.items()}
    values |= {name: [value_of(score, name) for score in every] for name in of.names if name not in besides}
    return {field.name: pa.array(values[field.name], field.type) for field in of}


def text(value: str) -> str:
    """A text that Arrow accepts: undecodable bytes of a name become escapes."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
