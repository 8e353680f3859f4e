"""Options that are whole numbers in a range: other values are refused in one line, with the option, before any reading."""

from __future__ import annotations

from collections.abc import Callable

from dcnn_fast.cli.console import fail

MOST_SEED = 2**63 - 1  # of our own random generators
MOST_SPLIT_SEED = 2**32 - 1  # scikit-learn's
MOST_WORKERS = 256


def within(option: str, least: int, most: int) -> Callable[[int | None], int | None]:
    """A callback of an option: passes a valid value on, otherwise exits with status 2, naming `option` and its range."""

    def checked(value: int | None) -> int | None:
        if value is not None and not least <= value <= most:
            fail(f"{option} must be an integer from {least} to {most}, got {value}")
        return value

    return checked


SEED = within("--seed", 0, MOST_SEED)
SPLIT_SEED = within("--split-seed", 0, MOST_SPLIT_SEED)
THREADS = within("--workers", 1, MOST_WORKERS)
PROCESSES = within("--workers", 0, MOST_WORKERS)
