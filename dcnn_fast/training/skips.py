"""The photographs that could not be read when last tried, over all processes of a run."""

from __future__ import annotations

from collections.abc import Iterable

from dcnn_fast.training.distributed import World


class Skips:
    """Keeps `skipped`, the reasons by key in the run's progress; a photograph that is read again leaves it."""

    def __init__(self) -> None:
        self._readable: set[str] = set()  # skipped before, and read since the processes last met

    def read(self, skipped: dict[str, str], keys: Iterable[str]) -> None:
        """Remove photographs that could be read this time, as when a drive is connected again."""
        for key in keys:
            if skipped.pop(key, None) is not None:
                self._readable.add(key)

    def gather(self, skipped: dict[str, str], world: World) -> None:
        """Add the photographs that other processes skipped, except those that one of them has read since."""
        everyones = world.gather((skipped, self._readable))
        read = set().union(*(readable for _, readable in everyones))
        for theirs, _ in everyones:
            skipped.update(theirs)
        self.read(skipped, read)
        self._readable = set()
