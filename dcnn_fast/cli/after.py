"""What `score` does with the photographs once all are scored: the options, and which may be combined."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from dcnn_fast.cli.stars import SHARES, Shares, Thresholds, shares_of, thresholds_of
from dcnn_fast.xmp import NAMES, require

EXIFTOOL = "exiftool"

_STARS = "Stars, once all photographs are scored"
_BEST = "The best photographs, once all are scored"


class AfterError(ValueError):
    """Options that cannot be combined or carried out; the message says which and why."""


@dataclass(frozen=True)
class After:
    """The command-line options for work after all photographs are scored."""

    xmp: Annotated[
        bool,
        typer.Option(
            "--xmp", rich_help_panel=_STARS,
            help="Write one to five stars (xmp:Rating) into a sidecar beside each photograph, at the end of the run. A "
            "person's rating and all other content of a sidecar are kept.",
        ),
    ] = False  # fmt: skip
    xmp_names: Annotated[
        str | None,
        typer.Option(
            metavar="digikam|adobe", rich_help_panel=_STARS,
            help="Names of the new sidecars that --xmp writes: digikam, photo.jpg.xmp (digiKam, darktable, Immich; the "
            "default), or adobe, photo.xmp. A photograph that already has a sidecar by the other name keeps it.",
        ),
    ] = None  # fmt: skip
    embed: Annotated[
        bool,
        typer.Option(
            "--embed", rich_help_panel=_STARS,
            help="Write the stars into the JPEG files themselves, with the program exiftool, which must be installed. Pixels "
            "do not change, and the original file is kept as photo.jpg_original. Photographs in other formats are not changed.",
        ),
    ] = False  # fmt: skip
    stars: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C,D,E", rich_help_panel=_STARS,
            help="With --xmp or --embed, the percentages of the run's photographs that get five, four, three, two stars "
            f"and one; default {SHARES}. Photographs of equal score get the stars of the middle of their ranks.",
        ),
    ] = None  # fmt: skip
    stars_at: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C,D", rich_help_panel=_STARS,
            help="With --xmp or --embed, the lowest scores (P(high), 0 to 1) for five, four, three and two stars, instead of "
            "shares; a photograph below the last gets one star.",
        ),
    ] = None  # fmt: skip
    copy: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", rich_help_panel=_BEST,
            help="Copy the photographs that --best or --above selects, and their sidecars, into the folder DIR. No file is "
            "replaced: a second photo.jpg becomes photo-2.jpg.",
        ),
    ] = None  # fmt: skip
    link: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", rich_help_panel=_BEST,
            help="Make symbolic links in the folder DIR to the photographs that --best or --above selects, without sidecars.",
        ),
    ] = None  # fmt: skip
    move: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", rich_help_panel=_BEST,
            help="Move the photographs that --best or --above selects, and their sidecars, into the folder DIR, named as by "
            "--copy. Between file systems a photograph is copied, read back, and only then removed.",
        ),
    ] = None  # fmt: skip
    best: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, rich_help_panel=_BEST,
            help="With --copy, --link or --move, take the N best photographs; ties are broken by the order of their "
            "paths.",
        ),
    ] = None  # fmt: skip
    above: Annotated[
        float | None,
        typer.Option(
            metavar="P", min=0, max=1, rich_help_panel=_BEST,
            help="With --copy, --link or --move, take the photographs whose score, P(high), is greater than P.",
        ),
    ] = None  # fmt: skip
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print what --xmp, --embed, --copy, --link and --move would do, a line per action, and do none of it; "
            "photographs are still scored, and --csv, --jsonl and --html written.",
        ),
    ] = False  # fmt: skip

    @property
    def gives_stars(self) -> bool:
        """Whether photographs get stars."""
        return self.xmp or self.embed

    @property
    def names(self) -> str:
        """The naming of new sidecars."""
        return NAMES[0] if self.xmp_names is None else self.xmp_names

    @property
    def placings(self) -> tuple[tuple[str, str | None], ...]:
        """The options that copy, link or move the best photographs, with their folders."""
        return ("--copy", self.copy), ("--link", self.link), ("--move", self.move)

    @property
    def placing(self) -> tuple[str, Path] | None:
        """The placing option that was given, with its folder."""
        return next(((option, Path(folder)) for option, folder in self.placings if folder is not None), None)

    @property
    def rule(self) -> Shares | Thresholds:
        """The rule that gives stars to scores. Raises StarsError."""
        return shares_of(self.stars or SHARES) if self.stars_at is None else thresholds_of(self.stars_at)

    @property
    def wanted(self) -> bool:
        """Whether there is anything to do."""
        return self.gives_stars or self.placing is not None

    def require_sense(self, *, sheet: bool) -> None:
        """Require options that fit together and can be carried out. sheet: --html is given. Raises AfterError, StarsError."""
        _require_stars_make_sense(self)
        _require_placing_makes_sense(self, sheet)
        if self.dry_run and not self.wanted:
            raise AfterError("--dry-run needs --xmp, --embed, --copy, --link or --move: it is of what they do")
        if self.gives_stars:
            require("--xmp" if self.xmp else "--embed")
        if self.embed and shutil.which(EXIFTOOL) is None:
            raise AfterError(f"--embed needs the program {EXIFTOOL}, which is not installed; --xmp writes sidecars without it")
        if self.placing is not None:
            _require_folder(*self.placing)


def _require_stars_make_sense(after: After) -> None:
    for option, value in (("--stars", after.stars), ("--stars-at", after.stars_at)):
        if value is not None and not after.gives_stars:
            raise AfterError(f"{option} needs --xmp or --embed: it says what they write")
    if after.stars is not None and after.stars_at is not None:
        raise AfterError("--stars gives shares and --stars-at scores: only one of them can be meant")
    if after.xmp_names is not None and not after.xmp:
        raise AfterError("--xmp-names needs --xmp: it is of the sidecars' names")
    if after.names not in NAMES:
        raise AfterError(f"--xmp-names must be {' or '.join(NAMES)}, got {after.names!r}")
    _ = after.rule  # raises StarsError for a bad rule


def _require_placing_makes_sense(after: After, sheet: bool) -> None:
    folders = [option for option, folder in after.placings if folder is not None]
    chosen = [option for option, value in (("--best", after.best), ("--above", after.above)) if value is not None]
    if any(folder == "" for _, folder in after.placings):
        raise AfterError(f"{folders[0]} must name a folder; . is the current one")
    if len(folders) > 1:
        raise AfterError(f"{' and '.join(folders)}: only one of them can be meant")
    if len(chosen) > 1:
        raise AfterError("--best gives a number and --above a score: only one of them can be meant")
    if folders and not chosen:
        raise AfterError(f"{folders[0]} needs --best or --above: they say which photographs are meant")
    if chosen and not folders:
        raise AfterError(f"{chosen[0]} needs --copy, --link or --move: it says which photographs they take")
    if after.move is not None and sheet:
        raise AfterError(
            "--move takes photographs away from where the page of --html has its links: only one of them can be meant"
        )


def _require_folder(option: str, folder: Path) -> None:
    """Require a folder that can be written to, or one that can be made."""
    place = folder if os.path.lexists(folder) else folder.absolute().parent
    if not place.is_dir():
        raise AfterError(f"{option}: {folder} is no folder" if place == folder else f"{option}: no such folder: {place}")
    if not os.access(place, os.W_OK | os.X_OK):
        raise AfterError(f"{option}: {folder}: {'it' if place == folder else 'its folder'} cannot be written to")
