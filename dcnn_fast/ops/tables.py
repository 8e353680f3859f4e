"""Tables as numpy records, with named fields (ops/records.py), and as torch matrices, which go to devices."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

Rows = np.ndarray[Any, np.dtype[np.void]]


def zeros(count: int, record: np.dtype[np.void]) -> Rows:
    """[count] records, all zero."""
    return np.zeros(count, record)


def fields(record: np.dtype[np.void]) -> int:
    """The number of integers in a record."""
    return len(record.names or ())


def matrix(rows: Rows) -> Tensor:
    """[n, fields]: the records as a matrix of their fields' integers. Shares the memory of contiguous rows."""
    fields = rows.dtype.names or ()
    whole = np.ascontiguousarray(rows)
    return torch.from_numpy(whole.view(rows.dtype[0]).reshape(len(rows), len(fields)))


def records(table: Tensor | np.ndarray[Any, Any], record: np.dtype[np.void]) -> Rows:
    """[n]: a matrix of integers as records. Shares the memory of a matrix with contiguous rows.

    Raises ValueError unless the matrix is [n, fields] of the fields' integer type.
    """
    values = table.numpy() if isinstance(table, Tensor) else table
    fields = record.names or ()
    if values.ndim != 2 or values.shape[1] != len(fields) or values.dtype != record[0]:
        raise ValueError(f"a table must be {record[0]} [n, {len(fields)}], got {values.dtype} {list(values.shape)}")
    return np.ascontiguousarray(values).view(record)[:, 0]
