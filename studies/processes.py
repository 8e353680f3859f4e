"""Spreads work on many photographs over processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def spread(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    chunk: int,
    begin: Callable[..., object] | None = None,
    *arguments: Any,
) -> list[Result]:
    """The results for all items, in order. begin: called with `arguments` once in each process; one worker is this process."""
    if workers == 1:
        if begin is not None:
            begin(*arguments)
        return [function(item) for item in items]
    with ProcessPoolExecutor(workers, get_context("spawn"), begin, arguments) as pool:
        return list(pool.map(function, items, chunksize=chunk))
