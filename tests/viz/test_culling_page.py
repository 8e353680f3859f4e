"""The culling page as a file: it needs no other file, and describes its photographs, whatever their names."""

from __future__ import annotations

import base64
import io
import os
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from dcnn_fast.scoring import Score
from dcnn_fast.viz.culling import Entry, Heat, culling_page
from dcnn_fast.viz.culling.thumbnails import BUDGET, thumbnails

NAMES = ["plain.jpg", 'quote".png', "<script>alert(1)</script>.png", "ümlaut & 100%.png", "new\nline.png", "{{ 7 * 7 }}.png"]


def write(path, best, failed, total, **options):
    entries = [each if isinstance(each, Entry) else Entry(each) for each in best]
    path.write_bytes(culling_page(entries, failed, total, folder=path.parent, **options))


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

    def cards(self):
        return [attributes for name, attributes in self.tags if attributes.get("class") == "photo"]


@pytest.fixture
def rated(tmp_path):
    scores = []
    for i, name in enumerate(NAMES):
        path = tmp_path / "photos" / name.replace("/", "_")
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (400 + i, 300), (40 * i, 0, 0)).save(path, "PNG")
        scores.append(Score(path=str(path), mean=0.9 - 0.1 * i, std=0.05, label="high", samples_count=50))
    return scores


def test_every_photograph_is_shown_in_order_and_linked(rated, tmp_path):
    sheet = tmp_path / "out" / "sheet.html"
    sheet.parent.mkdir()
    write(sheet, rated, [], len(rated))
    page = Page(sheet.read_text(encoding="utf-8"))
    links = page.all("a", "href")
    assert [os.path.normpath(sheet.parent / unquote(link)) for link in links] == [score.path for score in rated]
    assert [card["data-name"] for card in page.cards()] == [os.path.basename(score.path) for score in rated]
    assert [tag for tag, _ in page.tags].count("script") == 1 and "49.png" not in page.text
    for i, (alt, source) in enumerate(zip(page.all("img", "alt"), page.all("img", "src"), strict=True)):
        assert alt == f"{os.path.basename(rated[i].path)}, {rated[i].mean:.3f}"
        image = Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/webp;base64,"))))
        assert max(image.size) <= 360
        assert abs(image.convert("RGB").getpixel((5, 5))[0] - 40 * i) < 8


def test_the_page_needs_nothing_from_elsewhere(rated, tmp_path):
    write(tmp_path / "s.html", rated, [], len(rated))
    text = (tmp_path / "s.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|<link|@import|url\(|fetch\(|XMLHttpRequest", text)
    assert "default-src 'none'" in text


def test_bars_stay_inside_their_frame(rated, tmp_path):
    write(tmp_path / "s.html", [Score(path=rated[0].path, mean=0.98, std=0.1, samples_count=50)], [], 1)
    styles = Page((tmp_path / "s.html").read_text()).all("span", "style")
    assert [style for style in styles if style] == ["--mean:98.0%;--left:88.0%;--width:12.0%"]


def test_what_failed_and_what_is_left_out_is_said(rated, tmp_path):
    failed = [Score(path="bad<b>.jpg", error="truncated & gone")]
    write(tmp_path / "s.html", rated[:2], failed, 7)
    page = Page((tmp_path / "s.html").read_text())
    assert "7 images; the 2 best are shown." in page.text
    assert "bad<b>.jpg: truncated & gone" in page.text


def test_labels_stand_where_there_is_no_mean(rated, tmp_path):
    style = Score(path=rated[0].path, probs={"silhouettes": 0.7, "macro": 0.3}, label="silhouettes", samples_count=50)
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
    assert text.index("higher for") < text.index("The number is P(high)")
    assert ("generator", "dcnn-fast") in [(a.get("name"), a.get("content")) for tag, a in Page(text).tags if tag == "meta"]
    write(tmp_path / "s.html", rated, [], len(rated))
    assert 'class="caution"' not in (tmp_path / "s.html").read_text()


def test_stars_groups_and_faults_stand_at_their_photographs(rated, tmp_path):
    first = rated[0].path
    scores = [
        Score(path=rated[0].path, mean=0.9, group=first, best_of_group=True, faults=(), percentile=75.0),
        Score(path=rated[1].path, mean=0.8, group=first, best_of_group=False, faults=("blurred", "noisy"), width=40, height=30),
        Score(path=rated[2].path, mean=0.7),
    ]
    write(tmp_path / "s.html", [Entry(scores[0], 5), Entry(scores[1], 2), Entry(scores[2])], [], 3)
    page = Page((tmp_path / "s.html").read_text(encoding="utf-8"))
    cards = page.cards()
    assert [(card["data-group"], card["data-best"], card["data-suggested"]) for card in cards] == [
        ("1", "yes", "5"), ("1", "", "2"), ("", "", "0"),
    ]  # fmt: skip
    assert [card["data-faults"] for card in cards] == ["", "blurred noisy", ""]
    assert "★★★★★" in page.text and "group 1, the one to keep" in page.text and "0.900 · percentile 75" in page.text
    assert any(title and title.endswith("· 40 x 30") for title in page.all("span", "title"))


def test_a_page_without_groups_or_faults_has_no_such_filters(rated, tmp_path):
    write(tmp_path / "s.html", rated, [], len(rated))
    selects = Page((tmp_path / "s.html").read_text()).all("select", "id")
    assert "group" not in selects and "fault" not in selects and "sort" in selects


def test_choices_are_kept_for_the_same_photographs_whenever_the_page_was_written(rated, tmp_path):
    keys = []
    for best in (rated, rated, rated[1:]):
        write(tmp_path / "s.html", best, [], len(best))
        keys += Page((tmp_path / "s.html").read_text(encoding="utf-8")).all("body", "data-key")
    assert keys[0] == keys[1] != keys[2]


def test_an_empty_page_is_a_page(tmp_path):
    write(tmp_path / "s.html", [], [], 0)
    assert "0 images" in (tmp_path / "s.html").read_text()
    assert sorted(os.listdir(tmp_path)) == ["s.html"]


def test_a_name_that_turns_letters_around_is_written_out(rated, tmp_path):
    write(tmp_path / "s.html", [Score(path="a\u202egpj.exe", mean=0.5)], [], 1)
    text = (tmp_path / "s.html").read_text(encoding="utf-8")
    assert "\u202e" not in text and "\\u202e" in text


def test_thumbnails_stay_within_their_budget(tmp_path):
    """Photographs that hardly compress get smaller thumbnails."""
    random = np.random.default_rng(0)
    paths = []
    for i in range(40):
        path = tmp_path / f"{i}.jpg"
        Image.fromarray(random.integers(0, 256, (300, 400, 3)).astype(np.uint8)).save(path, quality=80)
        paths.append(str(path))
    sides = []
    for budget in (10**7, 400_000, 200_000):
        found = thumbnails(paths, 10**8, budget=budget)
        assert sum(map(len, found)) <= budget
        image = Image.open(io.BytesIO(base64.b64decode(found[0].split(",")[1])))
        sides.append(max(image.size))
    assert sides[0] == 360 and sides[0] > sides[1] > sides[2]


def test_heat_maps_stand_at_their_photographs(rated, tmp_path):
    heat = Heat(((0.25, None), (-0.5, 0.0)), "occlusion", 0.0, "about <it>", 40, 30)
    write(tmp_path / "s.html", [Entry(rated[0], heat=heat), Entry(rated[1])], [], 2)
    text = (tmp_path / "s.html").read_text(encoding="utf-8")
    first, second = Page(text).cards()
    assert (first["data-heat"], first["data-kind"], first["data-middle"]) == ("[[0.25,null],[-0.5,0.0]]", "occlusion", "0.0")
    assert first["data-size"] == "40 30" and "data-heat" not in second
    assert heat.said in Page(text).all("span", "title") and "about &lt;it&gt;" in text
    write(tmp_path / "s.html", rated[:2], [], 2)
    assert 'id="heat"' not in (tmp_path / "s.html").read_text(encoding="utf-8")


def test_two_thousand_heat_maps_leave_the_page_within_its_bounds(rated, tmp_path):
    """Also when the thumbnails take all their budget."""
    heat = Heat(((-0.1234,) * 8,) * 8, "occlusion", 0.0, "about it", 40, 30)
    path = tmp_path / "s.html"
    write(path, [Entry(rated[0], heat=heat)] * 2000, [], 2000)
    images = sum(map(len, Page(path.read_text(encoding="utf-8")).all("img", "src")))
    room = BUDGET - 2000 * (len(heat.cells) + len(heat.said))
    assert images <= room and path.stat().st_size - images + room <= 15_000_000
