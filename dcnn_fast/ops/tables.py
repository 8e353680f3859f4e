"""Tables between numpy, which names their fields (ops/records.py), and torch, which carries them to devices as matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

Rows = np.ndarray[Any, np.dtype[np.void]]


def zeros(count: int, record: np.dtype[np.void]) -> Rows:
    """[count] records of zeros."""
    return np.zeros(count, record)


def fields(record: np.dtype[np.void]) -> int:
    """How many integers a record is."""
    return len(record.names or ())


def matrix(rows: Rows) -> Tensor:
    """[n, fields]: the records as a matrix of their fields' integers. Shares memory with rows that lie without gaps."""
    fields = rows.dtype.names or ()
    whole = np.ascontiguousarray(rows)
    return torch.from_numpy(whole.view(rows.dtype[0]).reshape(len(rows), len(fields)))


def records(table: Tensor | np.ndarray[Any, Any], record: np.dtype[np.void]) -> Rows:
    """[n]: a matrix of integers as records. Shares memory with a matrix whose rows lie without gaps.

    Raises ValueError where the matrix is not [n, fields] of the fields' integers.
    """
    values = table.numpy() if isinstance(table, Tensor) else table
    fields = record.names or ()
    if values.ndim != 2 or values.shape[1] != len(fields) or values.dtype != record[0]:
        raise ValueError(f"a table must be {record[0]} [n, {len(fields)}], got {values.dtype} {list(values.shape)}")
    return np.ascontiguousarray(values).view(record)[:, 0]
