"""One HTML file that needs nothing from elsewhere; what it holds is a list that can be read without its script."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from dcnn_fast.data import reading
from dcnn_fast.viz.culling.heat import Heat
from dcnn_fast.viz.culling.thumbnails import BUDGET, thumbnails
from dcnn_fast.viz.heat_map import HIGH, LOW, STRENGTH

_DIRECTIONS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_KEY_DIGITS = 16


class Rated(Protocol):
    """What the page needs of a score."""

    @property
    def path(self) -> str | None: ...
    @property
    def mean(self) -> float | None: ...
    @property
    def std(self) -> float | None: ...
    @property
    def percentile(self) -> float | None: ...
    @property
    def label(self) -> str | None: ...
    @property
    def error(self) -> str | None: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def width(self) -> int | None: ...
    @property
    def height(self) -> int | None: ...
    @property
    def taken(self) -> str | None: ...
    @property
    def camera(self) -> str | None: ...
    @property
    def group(self) -> str | None: ...
    @property
    def best_of_group(self) -> bool | None: ...
    @property
    def faults(self) -> tuple[str, ...] | None: ...


@dataclass(frozen=True)
class Entry:
    """A score on the page.

    Args:
        score: The score, as `Score` has it.
        stars: One to five stars that the collection's shares give it, None for none.
        heat: Its heat map, if there is one.
    """

    score: Rated
    stars: int | None = None
    heat: Heat | None = None


@dataclass(frozen=True)
class _Card:
    """An entry as the template takes it: texts, and numbers as texts."""

    rank: int
    path: str
    name: str
    href: str
    image: str
    value: str
    bar: str
    stars: int
    group: str
    best: bool
    faults: str
    about: str
    mean: str
    taken: str
    heat: Heat | None


def culling_page(
    best: Sequence[Entry],
    failed: Sequence[Rated],
    total: int,
    *,
    folder: Path,
    max_pixels: int = reading.MAX_PIXELS,
    caution: str | None = None,
    live: bool = False,
) -> bytes:
    """The culling page, one HTML file.

    Photographs are read again for their thumbnails, by their paths.

    Args:
        best: The photographs that the page shows, in this order.
        failed: Those that could not be scored; the page lists them with their reasons.
        total: The number of photographs from which these come.
        folder: The folder where the page will be; links to photographs are relative to it.
        max_pixels: The most pixels that a photograph may have; larger ones get no thumbnail.
        caution: A caution about the scores in the page's first lines, None for none.
        live: Whether a server hands the page out, which tells the photographs' ratings at `choices` and takes new ones at
            `choice`.

    Returns:
        The page's bytes, in UTF-8.
    """
    scores = [entry.score for entry in best]
    heats = [entry.heat for entry in best if entry.heat is not None]
    room = BUDGET - sum(len(heat.cells) + len(heat.said) for heat in heats)
    images = thumbnails([score.path for score in scores], max_pixels, budget=room)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(score.group for score in scores if score.group), 1)}
    cards = [
        _card(rank, entry, image, folder, numbers) for rank, (entry, image) in enumerate(zip(best, images, strict=True), 1)
    ]
    key = hashlib.sha256("\0".join(f"{card.path}\0{card.mean}" for card in cards).encode(errors="surrogateescape")).hexdigest()
    scripts = ("heat.js", "live.js", "page.js") if live else ("heat.js", "page.js")
    page = _template().render(
        cards=cards, total=total, caution=caution, live=live, key=key[:_KEY_DIGITS],
        faults=sorted({fault for score in scores for fault in score.faults or ()}), has_groups=bool(numbers),
        failed=[(_shown(score.path or ""), _shown(score.error or "")) for score in failed],
        abouts={heat.kind: heat.about for heat in heats}, low=LOW, high=HIGH, strength=STRENGTH,
        style=Markup(_resource("page.css")), script=Markup("".join(map(_resource, scripts))),
    )  # fmt: skip
    return page.encode(errors="backslashreplace")


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("dcnn_fast.viz.culling", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("page.html.jinja")


def _resource(name: str) -> str:
    """A file of this package, which no name of a photograph gets into."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _card(rank: int, entry: Entry, image: str, folder: Path, groups: dict[str, int]) -> _Card:
    score = entry.score
    path = score.path or ""
    size = f"{score.width} x {score.height}" if score.width and score.height else ""
    about = [size, score.taken or "", score.camera or "", *score.notes]
    return _Card(
        rank=rank, path=_shown(path), name=_shown(os.path.basename(path)), href=_link(path, folder), image=image,
        value=_value(score), bar=_bar(score.mean, score.std), stars=entry.stars or 0,
        group=str(groups[score.group]) if score.group else "", best=bool(score.best_of_group),
        faults=" ".join(score.faults or ()), about=_shown(" · ".join(part for part in about if part)),
        mean="" if score.mean is None else f"{score.mean:.6f}", taken=_shown(score.taken or ""), heat=entry.heat,
    )  # fmt: skip


def _shown(text: str) -> str:
    """As the page has it: what would reverse the letters that follow, and so show another name, is written out."""
    return _DIRECTIONS.sub(lambda found: repr(found[0])[1:-1], text)


def _value(score: Rated) -> str:
    if score.mean is None:
        return _shown(score.label or "")
    return f"{score.mean:.3f}" + ("" if score.percentile is None else f" · percentile {score.percentile:.0f}")


def _link(path: str, folder: Path) -> str:
    return quote(os.path.relpath(path, folder or "."), errors="surrogateescape")


def _bar(mean: float | None, std: float | None) -> str:
    """The score as a bar's style, and its deviation over the samples."""
    if mean is None:
        return ""
    left, right = max(0.0, mean - (std or 0)), min(1.0, mean + (std or 0))
    return f"--mean:{mean:.1%};--left:{left:.1%};--width:{right - left:.1%}"
