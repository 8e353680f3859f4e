"""Culling pages for the tests in a browser, and the means to open them."""

from __future__ import annotations

from PIL import Image

from dcnn_fast.scoring import Score
from dcnn_fast.viz.culling import Entry, culling_page


def photographs(folder, count):
    """The entries of photographs, best first; every third is in its neighbour's group, every fifth has a fault."""
    entries = []
    for i in range(count):
        path = folder / f"p{i:04d}.jpg"
        Image.new("RGB", (60, 40), (i % 256, 90, 120)).save(path)
        more = {"group": str(folder / f"p{i - i % 3:04d}.jpg"), "best_of_group": i % 3 == 0} if i < 6 else {}
        faults = ("blurred",) if i % 5 == 1 else ()
        entries.append(Entry(Score(path=str(path), mean=1 - i / (count + 1), faults=faults, **more), max(1, 5 - i)))
    return entries


def written(folder, entries, failed=()):
    path = folder / "page.html"
    path.write_bytes(culling_page(entries, failed, len(entries) + len(failed), folder=folder))
    return path.as_uri()


def opened(context, address):
    """The opened page, and a list of its errors and of its requests to a network."""
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("request", lambda asked: None if asked.url.startswith(("file:", "data:", "blob:")) else wrong.append(asked.url))
    page.goto(address)
    page.locator("#p1").focus()
    return page, wrong
