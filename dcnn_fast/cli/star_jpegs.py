"""Stars into copies of JPEG files, by exiftool; a copy replaces its photograph only if nothing but the XMP differs."""

from __future__ import annotations

import os
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dcnn_fast.cli.after import EXIFTOOL
from dcnn_fast.cli.star_sidecars import Outcome
from dcnn_fast.data.photo_ratings import PhotoRatings, embedded_packet
from dcnn_fast.printable import printable
from dcnn_fast.whole_files import copy_file, replace_file
from dcnn_fast.xmp import XmpError
from dcnn_fast.xmp.jpeg import but_xmp, packet_in
from dcnn_fast.xmp.packet import Rating, rating_in, with_rating

BATCH = 32
"""Photographs for each start of exiftool, which takes a fifth of a second to start."""

_MOST_PACKET = 65_000  # bytes, slightly less than a JPEG segment can hold
_SECONDS = 600  # most time for a batch


@dataclass(frozen=True)
class _Job:
    photograph: Path
    stars: int
    packet: bytes
    status: os.stat_result


Result = tuple[Path, Outcome | str]


class StarJpegs:
    """Writes stars. dry_run: neither write nor start exiftool."""

    def __init__(self, *, dry_run: bool) -> None:
        self._dry_run = dry_run
        self._ratings = PhotoRatings()

    def write(self, rated: Sequence[tuple[Path, int]]) -> list[Result]:
        """Give each photograph its 1 to 5 stars; returns each one's outcome, or a sentence on why it failed."""
        results: list[Result] = []
        jobs = []
        for photograph, stars in rated:
            try:
                planned = self._planned(photograph, stars)
            except (XmpError, OSError) as error:
                results.append((photograph, _said(error)))
                continue
            if isinstance(planned, _Job):
                jobs.append(planned)
            else:
                results.append((photograph, planned))
        if self._dry_run:
            return [*results, *((job.photograph, Outcome.WRITTEN) for job in jobs)]
        return [*results, *(self._written(jobs) if jobs else ())]

    def _planned(self, photograph: Path, stars: int) -> _Job | Outcome:
        status = os.lstat(photograph)
        if not stat.S_ISREG(status.st_mode):
            raise XmpError("it is a link; the file that it leads to was not named")
        with photograph.open("rb") as file:
            if file.read(3) != b"\xff\xd8\xff":
                return Outcome.OTHER
        if any(said.rating.by_a_person for said in self._ratings.of(photograph)):
            return Outcome.PERSONS
        packet = embedded_packet(photograph)
        if packet is not None and rating_in(packet) == Rating(float(stars), stars):
            return Outcome.SAME
        if packet is not None and b"HasExtendedXMP" in packet:
            raise XmpError("its XMP goes on in other segments, which would be lost")
        packet = with_rating(packet, stars)
        if len(packet) > _MOST_PACKET:
            raise XmpError("its XMP has no room for a rating")
        return _Job(photograph, stars, packet, status)

    def _written(self, jobs: Sequence[_Job]) -> list[Result]:
        with tempfile.TemporaryDirectory(prefix="dcnn-fast-") as made:
            folder = Path(made)
            for number, job in enumerate(jobs):
                (folder / f"{number}.jpg").write_bytes(job.photograph.read_bytes())
                (folder / f"{number}.xmp").write_bytes(job.packet)
            why = self._run(folder)
            results: list[Result] = []
            for number, job in enumerate(jobs):
                try:
                    _take(job, (folder / f"{number}.jpg").read_bytes(), why)
                    results.append((job.photograph, Outcome.WRITTEN))
                except (XmpError, OSError) as error:
                    results.append((job.photograph, _said(error)))
            return results

    def _run(self, folder: Path) -> str:
        """Have exiftool put each packet into its photograph; returns its error messages."""
        command = [EXIFTOOL, "-config", "", "-q", "-overwrite_original", "-XMP<=%f.xmp", "-ext", "jpg", "."]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, stdin=subprocess.DEVNULL, timeout=_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return f"it took more than {_SECONDS} seconds"
        except OSError as error:
            return error.strerror or str(error)
        return printable(done.stderr.decode(errors="replace").strip())[:200]


def _take(job: _Job, content: bytes, why: str) -> None:
    """Replace the photograph by the copy if only the XMP differs; the original file is kept."""
    before = job.photograph.read_bytes()
    packet = packet_in(content)
    if packet is None or rating_in(packet) != Rating(float(job.stars), job.stars):
        raise XmpError(f"{EXIFTOOL} has not written its rating{': ' if why else ''}{why}")
    if but_xmp(content) != but_xmp(before):
        raise XmpError(f"{EXIFTOOL} would change more than its XMP")
    _keep(job.photograph)
    replace_file(job.photograph, content, job.status)


def _keep(photograph: Path) -> None:
    """Keep the original under exiftool's name for it; an existing one is older and stays."""
    kept = photograph.with_name(f"{photograph.name}_original")
    if os.path.lexists(kept):
        return
    try:
        os.link(photograph, kept, follow_symlinks=False)
    except OSError:  # a file system without links
        copy_file(photograph, kept, compare=True)


def _said(error: XmpError | OSError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
