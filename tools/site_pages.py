"""A hook of mkdocs: pages that lie outside docs/, and links as they are in the repository.

Links of every page are paths in the repository, so that they work where the files are read. Here a link to a page becomes that
page of the site, and a link to another file a copy of it below `source/`. A link to nothing or to a folder is a warning, which
`--strict` refuses.
"""

from __future__ import annotations

import logging
import posixpath
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

_LOG = logging.getLogger("mkdocs.plugins.site_pages")
ROOT = Path(__file__).resolve().parents[1]
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


def rewritten(markdown: str, page: str) -> str:
    """The text of `page` (its path in the repository) with links as the site has them."""

    def change(link: str) -> str:
        found = target(link, page)
        if found is None:
            return link
        if not (ROOT / found[0]).is_file():
            _LOG.warning("%s links to %s, which is no file of the repository", page, link)
            return link
        return name_on_site(found[0]) + found[1]

    return map_links(markdown, change)


def on_files(files: Any, *, config: Any) -> Any:
    """Add the pages that lie elsewhere, and every other file that a page links to."""
    for path, name in ELSEWHERE.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / path)))
    for page in [file.src_uri for file in files.documentation_pages()]:
        for link in links_of((ROOT / origin(page)).read_text(encoding="utf-8")):
            found = target(link, origin(page))
            if found is None or not (ROOT / found[0]).is_file():
                continue
            name = name_on_site(found[0])
            if files.get_file_from_path(name) is None:
                files.append(File.generated(config, name, abs_src_path=str(ROOT / found[0])))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """The links as the site has them."""
    return rewritten(markdown, origin(page.file.src_uri))
