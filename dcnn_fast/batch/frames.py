"""The engines' batches (Arrow table, pandas frame or mapping of arrays) behind one interface that reads and adds columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from dcnn_fast.batch.errors import BatchError

if TYPE_CHECKING:
    import pyarrow


class Frame(Protocol):
    """A batch. It is never changed."""

    names: list[str]

    def values(self, name: str) -> list[Any]:
        """A column's values as Python's, None where there is none."""

    def extended(self, new: Mapping[str, pyarrow.Array], without: str | None) -> Any:
        """A batch of the same kind with columns appended and the column `without` dropped."""


class _Table:
    def __init__(self, table: pyarrow.Table) -> None:
        self._table, self.names = table, list(table.column_names)

    def values(self, name: str) -> list[Any]:
        return [_plain(value) for value in self._table.column(name).to_pylist()]

    def extended(self, new: Mapping[str, pyarrow.Array], without: str | None) -> Any:
        table = self._table if without is None else self._table.drop_columns([without])
        for name, array in new.items():
            table = table.append_column(name, array)
        return table


class _Pandas:
    def __init__(self, frame: Any) -> None:
        self._frame, self.names = frame, [str(name) for name in frame.columns]

    def values(self, name: str) -> list[Any]:
        return [_plain(value) for value in self._frame[name]]

    def extended(self, new: Mapping[str, pyarrow.Array], without: str | None) -> Any:
        frame = self._frame if without is None else self._frame.drop(columns=[without])
        return frame.assign(**{name: array.to_pandas().to_numpy() for name, array in new.items()})


class _Mapping:
    def __init__(self, columns: Mapping[str, Any]) -> None:
        self._columns, self.names = columns, list(columns)

    def values(self, name: str) -> list[Any]:
        return [_plain(value) for value in self._columns[name]]

    def extended(self, new: Mapping[str, pyarrow.Array], without: str | None) -> Any:
        kept = {name: values for name, values in self._columns.items() if name != without}
        return kept | {name: array.to_numpy(zero_copy_only=False) for name, array in new.items()}


def frame_of(batch: Any) -> Frame:
    """The frame for a batch of any kind. Raises BatchError for anything that is not a batch."""
    if type(batch).__module__.partition(".")[0] == "pyarrow" and hasattr(batch, "column_names"):
        return _Table(batch)
    if type(batch).__module__.partition(".")[0] == "pandas" and hasattr(batch, "columns"):
        return _Pandas(batch)
    if isinstance(batch, Mapping):
        return _Mapping(batch)
    raise BatchError(f"a batch must be an Arrow table, a pandas frame or a mapping of arrays, got {type(batch).__name__}")


def _plain(value: Any) -> Any:
    """None for a missing value: pandas writes NaN, NA or NaT, in columns of texts too."""
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    return None if isinstance(value, (float, np.floating, np.datetime64)) and value != value else value  # noqa: PLR0124
