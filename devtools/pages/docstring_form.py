"""This project's docstrings in one rendered form, for the site's API page.

Public docstrings have sections (Args, Returns, Raises, Example, Source), which the site's own parser reads; here a cited page
becomes a link. Others describe arguments as `name: meaning.`, several on a line, and errors and sources in sentences: arguments
become a list; "Returns", "Raises" and "Source" stand out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_CITED = re.compile(r"docs/([\w-]+)\.md(#[\w-]+)?")
_SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Example|Source):$", re.MULTILINE)
_SENTENCE = re.compile(r"(?:(?<=[.:;] )|(?<=\n)|^)(Returns|Raises|Source:|Example:)(?= )")


def rendered(text: str, names: Iterable[str]) -> str:
    """A docstring as Markdown. names: the arguments or fields that it may describe."""
    if _SECTION.search(text):
        return _cited(text)
    summary, gap, rest = text.strip().partition("\n\n")
    return _cited(summary + gap + "\n\n".join(_paragraph(part, set(names)) for part in rest.split("\n\n")))


def _paragraph(text: str, names: set[str]) -> str:
    flat = text if ">>>" in text else " ".join(line.strip() for line in text.splitlines())
    word = r"`?\*{0,2}\w+`?"
    starts = [
        found
        for found in re.finditer(rf"(?:^|(?<=[.)\]] ))({word}(?:, {word})*): ", flat)
        if all(name.strip("`* ") in names for name in found[1].split(","))
    ]
    if not starts:
        return _labelled(flat)
    ends = [found.start() for found in starts[1:]] + [len(flat)]
    items = [f"- **{found[1]}**: {flat[found.end() : end].strip()}" for found, end in zip(starts, ends, strict=True)]
    last, *tail = _SENTENCE.split(items[-1], maxsplit=1)
    items[-1] = last.rstrip()
    closing = _labelled("".join(tail)) if tail else ""
    return "\n\n".join(part for part in (flat[: starts[0].start()].strip(), "\n".join(items), closing) if part)


def _labelled(text: str) -> str:
    return re.sub(r" +\n", "\n", _SENTENCE.sub(lambda found: f"\n\n**{found[1]}**", text)).strip()


def _cited(text: str) -> str:
    return _CITED.sub(lambda found: f"[{found[0]}]({found[1]}.md{found[2] or ''})", text)
