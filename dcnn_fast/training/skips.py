"""The photographs that could not be read when they were last tried, by all processes of a run."""

from __future__ import annotations

from collections.abc import Iterable

from dcnn_fast.training.distributed import World


class Skips:
    """Keeps `skipped`, the reasons by key, a part of the run's progress; what is read again is no longer in it."""

    def __init__(self) -> None:
        self._readable: set[str] = set()  # skipped before, and read since the processes last met

    def read(self, skipped: dict[str, str], keys: Iterable[str]) -> None:
        """Note photographs that are read now: a drive that was away for a while is back."""
        for key in keys:
            if skipped.pop(key, None) is not None:
                self._readable.add(key)

    def gather(self, skipped: dict[str, str], world: World) -> None:
        """Add all that the other processes skipped, but for what one of them has read since."""
        everyones = world.gather((skipped, self._readable))
        read = set().union(*(readable for _, readable in everyones))
        for theirs, _ in everyones:
            skipped.update(theirs)
        self.read(skipped, read)
        self._readable = set()
