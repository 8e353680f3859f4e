"""Links between the pages of the repository, and where the pages are on the site.

Links of every page are paths in the repository, so that they work where the files are read.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE: Mapping[str, str] = {  # a page's path in the repository: its name on the site
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "bench/README.md": "bench.md",
    "csrc/cuda/README.md": "cuda-kernels.md",
    "examples/README.md": "examples.md",
    "dcnn_fast/models/README.md": "model-card.md",
    "fuzz/README.md": "fuzz.md",
    "ptxsim/CHANGELOG.md": "ptxsim-changelog.md",
    "ptxsim/README.md": "ptxsim.md",
    "ptxsim/tutorial/README.md": "ptxsim-tutorial.md",
    "tests/seconds.md": "seconds.md",
}
_ORIGIN = {name: path for path, name in ELSEWHERE.items()}
_LINK = re.compile(r"(!?\[[^\]\n]*(?:\n[^\]\n]+)?\]\()([^)\s]+)(\))")
_FENCE = re.compile(r"(^```.*?^```[^\n]*$)", re.DOTALL | re.MULTILINE)


def origin(name: str) -> str:
    """Where the page of the site called `name` lies in the repository."""
    return _ORIGIN.get(name, f"docs/{name}")


def target(link: str, page: str) -> tuple[str, str] | None:
    """The file in the repository that a link of `page` (its path there) names, and the anchor; None for other links."""
    path, hash_, anchor = link.partition("#")
    if "://" in link or link.startswith("mailto:") or not path:
        return None
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), path)), hash_ + anchor


def name_on_site(path: str) -> str:
    """The name on the site of a file of the repository."""
    if path in ELSEWHERE:
        return ELSEWHERE[path]
    return path.removeprefix("docs/") if path.startswith("docs/") else f"source/{path}"


def map_links(markdown: str, change: Callable[[str], str]) -> str:
    """The text with every link outside fenced code replaced by what `change` makes of it."""
    parts = _FENCE.split(markdown)
    parts[::2] = [_LINK.sub(lambda found: found[1] + change(found[2]) + found[3], part) for part in parts[::2]]
    return "".join(parts)


def links_of(markdown: str) -> list[str]:
    """Every link outside fenced code."""
    found: list[str] = []
    map_links(markdown, lambda link: found.append(link) or link)  # type: ignore[func-returns-value]
    return found


def anchors_of(markdown: str) -> set[str]:
    """The anchors of a page's headings, as the site and usual readers of Markdown make them."""
    headings = re.findall(r"^#{1,6} +(.+?) *$", "".join(_FENCE.split(markdown)[::2]), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in plain}
