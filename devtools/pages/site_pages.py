"""A mkdocs hook that adds pages outside docs/ and rewrites the repository's links.

A link to a page becomes a link to that page of the site, a link to another file one to its copy below `source/`. A link to a
folder or a missing file is a warning, which `--strict` refuses.
"""

from __future__ import annotations

import logging
from typing import Any

from mkdocs.structure.files import File

from devtools.pages.page_links import ELSEWHERE, ROOT, links_of, map_links, name_on_site, origin, target

_LOG = logging.getLogger("mkdocs.plugins.site_pages")


def rewritten(markdown: str, page: str) -> str:
    """The text of `page` (its path in the repository) with the site's links."""

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
    """Add the pages outside docs/, and every other file linked from a page."""
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
    """The page's text with the site's links."""
    return rewritten(markdown, origin(page.file.src_uri))
