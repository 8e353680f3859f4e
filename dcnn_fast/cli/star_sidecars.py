"""Stars into sidecars: merged into an existing one, never over a person's rating."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path

from dcnn_fast.data.photo_ratings import PhotoRatings, Said
from dcnn_fast.partials import remove_abandoned
from dcnn_fast.printable import shortened
from dcnn_fast.whole_files import create_file, replace_file
from dcnn_fast.xmp import XmpError
from dcnn_fast.xmp.packet import Rating, with_choice, with_rating
from dcnn_fast.xmp.sidecars import sidecar_path


class Outcome(Enum):
    """The outcome for one photograph, in words that follow a count."""

    WRITTEN = "written"
    SAME = "as they were"
    PERSONS = "left alone: rated by a person"
    OTHER = "left alone: no JPEG files"


class StarSidecars:
    """Writes stars. names: the naming of new sidecars, one of `xmp.NAMES`. dry_run: do everything except writing."""

    def __init__(self, names: str, *, dry_run: bool) -> None:
        self._names, self._dry_run = names, dry_run
        self._ratings = PhotoRatings()
        self._tidied: set[Path] = set()  # folders

    def write(self, photograph: Path, stars: int) -> tuple[Outcome, list[Path]]:
        """Give the photograph 1 to 5 stars; returns the outcome and the files that were (or would be) written.

        The stars are merged into its sidecar by the wanted name, else into the one by the other name if no other photograph
        shares it; else a new one is made. A further sidecar with an older rating of ours is updated. Raises XmpError, which
        names the file in the way, and OSError.
        """
        self._tidy(photograph.parent)
        found = self._ratings.of(photograph)
        if any(said.rating.by_a_person for said in found):
            return Outcome.PERSONS, []
        sidecars = {said.file: said for said in found if said.sidecar is not None}
        own = sidecar_path(photograph, "digikam")
        ours = (file for file, said in sidecars.items() if said.rating.written is not None)
        files = [self._file(photograph, sidecars), *(file for file in ours if file == own or not self._is_shared(photograph))]
        written = []
        for file in dict.fromkeys(files):
            said = sidecars.get(file)
            if said is None or said.rating != Rating(float(stars), stars):
                self._write(file, said, stars)
                written.append(file)
        return (Outcome.WRITTEN if written else Outcome.SAME), written

    def chosen(self, photograph: Path) -> int:
        """The rating that a person gave, in the form of `choose`; 0 for none. Raises XmpError and OSError."""
        for said in self._ratings.of(photograph):
            if said.sidecar is not None and said.rating.stars is not None:
                return round(said.rating.stars) if said.rating.by_a_person else 0
        stars = [said.rating.stars for said in self._ratings.of(photograph) if said.rating.by_a_person]
        return round(stars[0] or 0) if stars else 0

    def _file(self, photograph: Path, sidecars: Mapping[Path, Said]) -> Path:
        own, adobes = (sidecar_path(photograph, names) for names in ("digikam", "adobe"))
        if self._names == "digikam":
            return adobes if own not in sidecars and adobes in sidecars and not self._is_shared(photograph) else own
        others = self._ratings.photographs_sharing(photograph)
        if self._ratings.is_anothers(photograph):
            others = (*others, photograph.stem)
        if own in sidecars and (adobes not in sidecars or others):
            return own
        if others:
            raise XmpError(
                f"{photograph}: {adobes.name} would be the sidecar of {shortened(others)} as well; --xmp-names digikam has a "
                "name for each"
            )
        return adobes

    def _tidy(self, folder: Path) -> None:
        """Remove the temporary files of killed runs from the folder, once."""
        if not self._dry_run and folder not in self._tidied:
            remove_abandoned(folder)
            self._tidied.add(folder)

    def _is_shared(self, photograph: Path) -> bool:
        return bool(self._ratings.pictures_sharing(photograph))

    def choose(self, photograph: Path, rating: int) -> list[Path]:
        """Write a person's rating of the photograph in place of any other: 1 to 5 stars, 0 for none, -1 for rejected.

        It goes into the sidecar that `write` would choose, and into a further one that disagrees and is not shared with another
        photograph. A rating of 0 makes no new sidecar, unless there are stars in the photograph. Returns the files that were
        written. Raises XmpError, which names the file in the way, and OSError.
        """
        self._tidy(photograph.parent)
        found = self._ratings.of(photograph)
        sidecars = {said.file: said for said in found if said.sidecar is not None}
        inside = any(said.sidecar is None and said.rating.stars for said in found)
        own, first = sidecar_path(photograph, "digikam"), self._file(photograph, sidecars)
        others = [file for file in sidecars if file == own or not self._is_shared(photograph)]
        written = []
        for file in dict.fromkeys((first, *others)):
            said = sidecars.get(file)
            now = Rating() if said is None else said.rating
            is_ours = now.written is not None and not now.by_a_person
            if (now.stars or 0) != rating or is_ours or (said is None and inside):
                self._write(file, said, rating, with_choice)
                written.append(file)
        return written

    def _write(
        self, file: Path, said: Said | None, stars: int, made: Callable[[bytes | None, int], bytes] = with_rating
    ) -> None:  # fmt: skip
        sidecar = None if said is None else said.sidecar
        try:
            content = made(sidecar.content or None if sidecar else None, stars)
        except XmpError as error:
            raise XmpError(f"{os.fspath(file)}: {error}") from None
        if self._dry_run:
            return
        if sidecar is None:
            create_file(file, content)
        else:
            replace_file(file, content, sidecar.status)
