"""The work of `After`: keeps each score, then gives stars and takes the best photographs to a folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from rich.progress import track

from dcnn_fast.cli.after import After
from dcnn_fast.cli.console import note, stderr
from dcnn_fast.cli.placing import PlaceError, Placing
from dcnn_fast.cli.stars import counted
from dcnn_fast.cli.stopping import Stop
from dcnn_fast.cli.targets import reason
from dcnn_fast.data.tables import is_file
from dcnn_fast.printable import printable
from dcnn_fast.scoring import Score

_DONE = {"--copy": "copied", "--link": "linked", "--move": "moved"}
_WORDS = ("one", "two", "three", "four", "five")

Item = TypeVar("Item")
Rated = Sequence[tuple[Path, int]]  # photographs and their stars


class AfterRun:
    """The work after one run. say: prints one line of a dry run's plan."""

    def __init__(self, after: After, stop: Stop, say: Callable[[str], None]) -> None:
        self._after, self._stop, self._say = after, stop, say
        self._scored: list[tuple[str, float]] = []
        self._has_failed = False

    def add(self, score: Score) -> None:
        """Keep the score of a photograph that has one."""
        if self._after.wanted and score.mean is not None and score.error is None:
            self._scored.append((score.path or "", counted(score.mean)))

    def finish(self, *, complete: bool) -> bool:
        """Do all the work; returns whether all of it succeeded. Failures are named on standard error.

        complete: every photograph of the run has been tried. Otherwise nothing is done but a note. Raises KeyboardInterrupt
        between two photographs.
        """
        if not self._after.wanted:
            return True
        if not complete:
            note("not all has been scored: no stars were written, and no photograph was copied, linked or moved")
            return True
        self._scored.sort(key=lambda each: (-each[1], each[0]))
        if self._after.gives_stars:
            self._give_stars()
        if self._after.placing is not None:
            self._place(*self._after.placing)
        return not self._has_failed

    def _give_stars(self) -> None:
        given = self._after.rule.stars([score for _, score in self._scored])
        counts = Counter(given)
        note(f"stars: {', '.join(f'{_WORDS[stars - 1]} {counts[stars]}' for stars in range(5, 0, -1))}")
        rated = [(Path(path), stars) for (path, _), stars in zip(self._scored, given, strict=True)]
        if self._after.embed:
            self._embed(rated)
        if self._after.xmp:
            self._write_sidecars(rated)

    def _write_sidecars(self, rated: Rated) -> None:
        from dcnn_fast.cli.star_sidecars import StarSidecars  # noqa: PLC0415 - needs an extra
        from dcnn_fast.xmp import XmpError  # noqa: PLC0415

        writer = StarSidecars(self._after.names, dry_run=self._after.dry_run)
        outcomes: Counter[str] = Counter()
        for photograph, stars in self._each(rated, "sidecars", outcomes):
            if not self._is_there(photograph):
                continue
            try:
                outcome, files = writer.write(photograph, stars)
            except XmpError as error:  # its message names the file
                self._fail(str(error))
            except OSError as error:
                self._fail(f"{os.fspath(error.filename or photograph)}: {reason(error)}")
            else:
                outcomes[outcome.value] += 1
                for file in files:
                    self._would(f"{file}: {stars} of five stars")

    def _embed(self, rated: Rated) -> None:
        from dcnn_fast.cli.star_jpegs import BATCH, StarJpegs  # noqa: PLC0415 - needs an extra
        from dcnn_fast.cli.star_sidecars import Outcome  # noqa: PLC0415

        writer = StarJpegs(dry_run=self._after.dry_run)
        outcomes: Counter[str] = Counter()
        batches = [rated[start : start + BATCH] for start in range(0, len(rated), BATCH)]
        for batch in self._each(batches, "stars in photographs", outcomes):
            stars = {photograph: given for photograph, given in batch if self._is_there(photograph)}
            for photograph, outcome in writer.write(list(stars.items())):
                if isinstance(outcome, str):
                    self._fail(f"{photograph}: {outcome}")
                    continue
                outcomes[outcome.value] += 1
                if outcome is Outcome.WRITTEN:
                    self._would(f"{photograph}: {stars[photograph]} of five stars, in the file")

    def _place(self, option: str, folder: Path) -> None:
        placing = Placing(option, folder, dry_run=self._after.dry_run)
        best, above = self._after.best, self._after.above
        chosen = [Path(path) for path, score in self._scored if above is None or score > above][:best]
        outcomes: Counter[str] = Counter()
        for photograph in self._each(chosen, f"photographs for {folder}", outcomes):
            if not self._is_there(photograph):
                continue
            try:
                place = placing.place(photograph)
            except PlaceError as error:
                self._fail(f"{photograph}: {error}")
            except OSError as error:
                self._fail(f"{photograph}: {reason(error)}{f': {error.filename}' if error.filename else ''}")
            else:
                outcomes[_DONE[option] if place else "there already"] += 1
                if place is not None:
                    self._would(f"{photograph}: {_DONE[option]} to {place}")

    def _each(self, items: Sequence[Item], what: str, outcomes: Counter[str]) -> Iterator[Item]:
        """Yield the items under a progress bar; signals are raised between items. The outcomes are always noted at the end."""
        console = stderr()
        try:
            for item in track(items, what, console=console, disable=not console.is_terminal, transient=True):
                with self._stop.shielded():
                    yield item
        finally:
            told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())) or "none"
            note(f"{'dry run, nothing was written: ' if self._after.dry_run else ''}{what}: {told}")

    def _is_there(self, photograph: Path) -> bool:
        there = is_file(photograph)
        if not there:
            self._fail(f"{photograph}: the photograph is not there any more")
        return there

    def _would(self, line: str) -> None:
        if self._after.dry_run:
            self._say(printable(line))

    def _fail(self, said: str) -> None:
        self._has_failed = True
        note(f"error: {said}")
