"""An extension of griffe: the pages that docstrings cite become links on the site's API page."""

from __future__ import annotations

import re

import griffe

_CITED = re.compile(r"docs/([\w-]+)\.md(#[\w-]+)?")


class Docstrings(griffe.Extension):
    """Links the citations of functions and classes."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Rewrite an object's docstring after it was read."""
        if obj.docstring is not None:
            obj.docstring.value = linked(obj.docstring.value)


def linked(text: str) -> str:
    """A docstring with each cited page or section as a link in Markdown."""
    return _CITED.sub(lambda found: f"[{found[0]}]({found[1]}.md{found[2] or ''})", text)
