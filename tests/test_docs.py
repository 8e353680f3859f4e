"""The documents: links and citations lead somewhere, public names exist, sentences are plain."""

from __future__ import annotations

import re

import pytest

from devtools.pages import api_page
from devtools.pages.docstrings import linked
from devtools.pages.page_links import ELSEWHERE, ROOT, anchors_of, links_of, origin, target

PAGES = sorted([*(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")), *ELSEWHERE])
SOURCES = ("dcnn_fast", "csrc", "include", "ptxsim/src", "bench", "tools", "devtools", "fuzz", "studies", "tests", "examples")
_CITED = re.compile(r"\bdocs/([\w-]+)\.md(?:#([\w-]+))?")


def _text(page):
    return (ROOT / page).read_text(encoding="utf-8")


def _without_code(text):
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_a_heading(page):
    for link in links_of(_text(page)):
        found = target(link, page)
        if found is None:
            assert not link.startswith("#") or link[1:] in anchors_of(_text(page)), link
            continue
        path, anchor = found
        assert (ROOT / path).is_file(), link
        assert not anchor or anchor[1:] in anchors_of(_text(path)), link


@pytest.mark.parametrize("page", [page for page in PAGES if page not in ("docs/history.md", "tests/seconds.md")])
def test_every_file_that_a_page_names_is_there(page):
    """Paths from the repository's root, in code quotes; they may contain stars."""
    folders = "dcnn_fast|csrc|tests|tools|devtools|bench|include|ptxsim|fuzz|studies|docs"
    named = re.findall(rf"`((?:{folders})/[\w./*-]+)`", _text(page))
    for path in named:
        if path.rsplit("/", 1)[-1].split(".")[0].isupper() and not (ROOT / path).exists():
            continue  # fuzz/targets/NAME.py
        assert any(ROOT.glob(path.rstrip("/"))), path


def test_every_page_and_section_that_a_source_cites_is_there():
    citations = 0
    for folder in SOURCES:
        for file in (ROOT / folder).rglob("*"):
            if file.suffix not in (".py", ".h", ".cpp", ".cu", ".c") or "node_modules" in file.parts:
                continue
            text = re.sub(r"\s*\n(?://| \*)?\s*", " ", file.read_text(encoding="utf-8"))
            for page, anchor in _CITED.findall(text):
                citations += 1
                assert (ROOT / "docs" / f"{page}.md").is_file(), f"{file}: docs/{page}.md"
                assert not anchor or anchor in anchors_of(_text(f"docs/{page}.md")), f"{file}: docs/{page}.md#{anchor}"
            assert "facts" + ".md" not in text, file
    assert citations > 60


def test_every_public_name_is_on_the_page_of_the_api():
    assert api_page.PAGE.read_text(encoding="utf-8") == api_page.page(), "run `python -m devtools.pages.api_page`"


def test_a_docstring_links_the_pages_that_it_cites():
    said = "Blocks (docs/concepts.md).\n\nSource:\n    docs/design.md#blocks"
    assert linked(said) == "Blocks ([docs/concepts.md](concepts.md)).\n\nSource:\n    [docs/design.md#blocks](design.md#blocks)"


def test_the_site_has_every_page():
    listed = re.findall(r"^ +- [^\n]*?([\w-]+\.md)$", _text("mkdocs.yml"), re.MULTILINE)
    assert sorted(origin(name) for name in listed) == PAGES


def test_the_readme_takes_two_screens():
    assert len(_text("README.md").splitlines()) <= 110


@pytest.mark.parametrize("page", [page for page in PAGES if "CHANGELOG" not in page])
def test_no_sentence_begins_with_of(page):
    found = re.search(r"(?:^|[.:!?]\s+|^[-*|] +)Of (?!the Lite)[^.|]{0,60}", _without_code(_text(page)), re.MULTILINE)
    assert found is None, found and found[0]


def test_no_page_names_the_place_where_it_was_written():
    for page in PAGES:
        assert not re.search(r"\.\./shared|(?<![\w/])/(?:work|home|root|tmp)/", _text(page)), page


def test_a_page_is_found_by_its_links_from_the_readme():
    """Every page can be reached from the README."""
    reached, waiting = set(), ["README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page not in PAGES:
            continue
        reached.add(page)
        waiting += [found[0] for link in links_of(_text(page)) if (found := target(link, page)) is not None]
    assert sorted(set(PAGES) - reached) == []
