"""A contact sheet: one HTML file, photographs best first, thumbnails inside it."""

from __future__ import annotations

import base64
import html
import io
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from string import Template
from typing import Protocol
from urllib.parse import quote

from PIL import Image

from dcnn_fast.data import reading

_THUMBNAIL = 320  # pixels on the longer side

_DIRECTIONS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")

_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="dcnn-fast">
<title>$title</title>
<style>
:root { color-scheme: light dark; --line: #8883; --dim: #777; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1240px; padding: 0 1rem; }
h1 { font-size: 1.35rem; margin: 0; } p { color: var(--dim); margin: .3rem 0 1.4rem; max-width: 70ch; }
ol { list-style: none; padding: 0; display: grid; gap: 1.2rem; grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); }
figure { margin: 0; } img { width: 100%; height: 190px; object-fit: contain; background: #8881; border-radius: 4px; }
figcaption { display: grid; grid-template-columns: auto 1fr auto; gap: 0 .6rem; font-variant-numeric: tabular-nums; }
.rank { color: var(--dim); } .name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.bar { grid-column: 1 / -1; height: 5px; border-radius: 3px; background: var(--line); position: relative; margin-top: .25rem; }
.bar i { position: absolute; inset: 0 auto 0 0; border-radius: 3px; background: #3b82c4; }
.bar b { position: absolute; top: -2px; bottom: -2px; background: #c47a3b99; border-radius: 2px; }
.caution { color: inherit; border-left: 4px solid #c47a3b; padding-left: .7rem; margin: .6rem 0; }
.failed { border-top: 1px solid var(--line); padding-top: .6rem; } .failed li { overflow-wrap: anywhere; }
</style></head><body>
<h1>$title</h1>
$caution<p>$about The number is P(high), the mean over the views; the orange band is one standard deviation over the views to
either side. It ranks pictures of one collection; it is no verdict on any of them.</p>
<ol>$photos</ol>
$failed
</body></html>
""")

_PHOTO = Template("""<li><figure><a href="$href"><img loading="lazy" alt="$name" src="$source"></a>
<figcaption><span class="rank">$rank</span><span class="name" title="$path">$name</span><span>$value</span>
<span class="bar">$bar</span></figcaption></figure></li>
""")


class Rated(Protocol):
    """What the sheet needs of a score."""

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
    def views(self) -> int: ...
    @property
    def error(self) -> str | None: ...


def contact_sheet(
    best: Sequence[Rated],
    failed: Sequence[Rated],
    total: int,
    *,
    folder: Path,
    max_pixels: int = reading.MAX_PIXELS,
    caution: str | None = None,
) -> bytes:
    """The page of `best`, in that order, and the list of `failed` with their reasons, out of `total` images.

    folder: where the page will be; links to photographs are relative to it. Photographs are read again for their thumbnails,
    by their paths. caution: what its first lines say about the scores, if anything.
    """
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        sources = list(pool.map(lambda rated: _thumbnail(rated.path, max_pixels), best))
    photos = "".join(
        _photo(rank, rated, source, folder) for rank, (rated, source) in enumerate(zip(best, sources, strict=True), 1)
    )
    views = best[0].views if best else 0
    about = f"{total} images, {views} views each" + (f"; the {len(best)} best are shown." if len(best) < total else ".")
    said = f'<p class="caution">{html.escape(caution)}</p>\n' if caution else ""
    page = _PAGE.substitute(title="Contact sheet", caution=said, about=about, photos=photos, failed=_failures(failed))
    return page.encode(errors="backslashreplace")


def _thumbnail(path: str | None, max_pixels: int) -> str:
    """A JPEG data address of the photograph, or an empty one when it cannot be read any more."""
    try:
        image = Image.fromarray(reading.read(path, max_pixels=max_pixels).pixels)
        image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    except (reading.ReadError, MemoryError):
        return "data:,"
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _photo(rank: int, rated: Rated, source: str, folder: Path) -> str:
    name = rated.path or ""
    return _PHOTO.substitute(
        rank=rank,
        path=_escaped(name),
        name=_escaped(os.path.basename(name)),
        href=html.escape(_link(name, folder)),
        source=source,
        value=_escaped(_value(rated)),
        bar=_bar(rated.mean, rated.std),
    )


def _escaped(text: str) -> str:
    """As the page has it: what would reverse the letters that follow, and so show another name, is written out."""
    return html.escape(_DIRECTIONS.sub(lambda found: repr(found[0])[1:-1], text))


def _value(rated: Rated) -> str:
    if rated.mean is None:
        return rated.label or ""
    return f"{rated.mean:.3f}" + ("" if rated.percentile is None else f" · percentile {rated.percentile:.0f}")


def _link(path: str, folder: Path) -> str:
    return quote(os.path.relpath(path, folder or "."), errors="surrogateescape")


def _bar(mean: float | None, std: float | None) -> str:
    if mean is None:
        return ""
    left, right = max(0.0, mean - (std or 0)), min(1.0, mean + (std or 0))
    band = f'<b style="left:{left:.1%};width:{right - left:.1%}"></b>'
    return f'<i style="width:{mean:.1%}"></i>{band}'


def _failures(failed: Sequence[Rated]) -> str:
    if not failed:
        return ""
    rows = "".join(f"<li>{_escaped(rated.path or '')}: {_escaped(rated.error or '')}</li>" for rated in failed)
    return f'<div class="failed"><h1>Not scored</h1><ul>{rows}</ul></div>'
