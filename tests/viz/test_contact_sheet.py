"""The contact sheet: a page that stands alone and says what it shows, whatever the files are called."""

from __future__ import annotations

import base64
import io
import os
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from PIL import Image

from dcnn_fast.scoring import Score
from dcnn_fast.viz.contact_sheet import contact_sheet

NAMES = ["plain.jpg", 'quote".png', "<script>alert(1)</script>.png", "ümlaut & 100%.png", "new\nline.png", "$name.png"]


def write(path, best, failed, total, **options):
    path.write_bytes(contact_sheet(best, failed, total, folder=path.parent, **options))


class Page(HTMLParser):
    """Start tags with their attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag, attribute):
        return [attributes.get(attribute) for name, attributes in self.tags if name == tag]


@pytest.fixture
def rated(tmp_path):
    scores = []
    for i, name in enumerate(NAMES):
        path = tmp_path / "photos" / name.replace("/", "_")
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (400 + i, 300), (40 * i, 0, 0)).save(path, "PNG")
        scores.append(Score(path=str(path), mean=0.9 - 0.1 * i, std=0.05, label="high", views=50))
    return scores


def test_every_photograph_is_shown_in_order_and_linked(rated, tmp_path):
    sheet = tmp_path / "out" / "sheet.html"
    sheet.parent.mkdir()
    write(sheet, rated, [], len(rated))
    page = Page(sheet.read_text(encoding="utf-8"))
    links = page.all("a", "href")
    assert [os.path.normpath(sheet.parent / unquote(link)) for link in links] == [score.path for score in rated]
    assert page.all("img", "alt") == [os.path.basename(score.path) for score in rated]
    assert "script" not in [tag for tag, _ in page.tags]
    for i, source in enumerate(page.all("img", "src")):
        data = base64.b64decode(source.removeprefix("data:image/jpeg;base64,"))
        image = Image.open(io.BytesIO(data))
        assert max(image.size) <= 320
        assert abs(image.convert("RGB").getpixel((5, 5))[0] - 40 * i) < 6
    assert [f"{score.mean:.3f}" in page.text for score in rated] == [True] * len(rated)


def test_the_page_needs_nothing_from_elsewhere(rated, tmp_path):
    write(tmp_path / "s.html", rated, [], len(rated))
    text = (tmp_path / "s.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|<link|@import|url\(", text)


def test_bars_stay_inside_their_frame(rated, tmp_path):
    write(tmp_path / "s.html", [Score(path=rated[0].path, mean=0.98, std=0.1, views=50)], [], 1)
    styles = Page((tmp_path / "s.html").read_text()).all("b", "style")
    assert styles == ["left:88.0%;width:12.0%"]


def test_what_failed_and_what_is_left_out_is_said(rated, tmp_path):
    failed = [Score(path="bad<b>.jpg", error="truncated & gone")]
    write(tmp_path / "s.html", rated[:2], failed, 7)
    page = Page((tmp_path / "s.html").read_text())
    assert "7 images, 50 views each; the 2 best are shown." in page.text
    assert "bad<b>.jpg: truncated & gone" in page.text


def test_labels_stand_where_there_is_no_mean(rated, tmp_path):
    style = Score(path=rated[0].path, probs={"silhouettes": 0.7, "macro": 0.3}, label="silhouettes", views=50)
    write(tmp_path / "s.html", [style], [], 1)
    assert "silhouettes" in Page((tmp_path / "s.html").read_text()).text


def test_a_photograph_that_has_gone_since_leaves_a_gap(rated, tmp_path):
    os.remove(rated[0].path)
    write(tmp_path / "s.html", rated, [], len(rated))
    assert Page((tmp_path / "s.html").read_text()).all("img", "src")[0] == "data:,"


def test_a_caution_stands_before_the_photographs_and_what_made_the_page_is_said(rated, tmp_path):
    write(tmp_path / "s.html", rated, [], len(rated), caution="higher for <blurred> pictures")
    text = (tmp_path / "s.html").read_text()
    assert text.index("higher for &lt;blurred&gt; pictures") < text.index("<figure>")
    assert text.index("higher for") < text.index("images, 50 views each")
    assert ("generator", "dcnn-fast") in [(a.get("name"), a.get("content")) for tag, a in Page(text).tags if tag == "meta"]
    write(tmp_path / "s.html", rated, [], len(rated))
    assert 'class="caution"' not in (tmp_path / "s.html").read_text()


def test_an_empty_sheet_is_a_page(tmp_path):
    write(tmp_path / "s.html", [], [], 0)
    assert "0 images" in (tmp_path / "s.html").read_text()
    assert sorted(os.listdir(tmp_path)) == ["s.html"]
