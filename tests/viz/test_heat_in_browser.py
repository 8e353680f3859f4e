"""Heat maps on the culling page as a person asks for them, in Chromium: by key and button, over one photograph and over two."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from dcnn_fast.viz.culling import Heat
from dcnn_fast.viz.heat_map import HIGH, LOW, STRENGTH
from tests.viz.browsing import opened, photographs, written

VALUES = ((0.2, 0.0, -0.1), (None, 0.05, 0.1))
ABOUT = "what <b>it</b> says"


def heated(folder):
    """Four photographs; the first two have heat maps."""
    entries = photographs(folder, 4)
    maps = [
        Heat(VALUES, "occlusion", 0.0, ABOUT, 60, 40),
        Heat(((0.4, 0.6), (0.5, None)), "samples", 0.5, "of samples", 60, 40),
    ]
    return [*(replace(entry, heat=heat) for entry, heat in zip(entries, maps, strict=False)), *entries[2:]]


@pytest.fixture
def found(context, tmp_path):
    page, wrong = opened(context, written(tmp_path, heated(tmp_path)))
    yield page
    assert wrong == []


def cells(page):
    """The color and strength of each cell."""
    return page.eval_on_selector_all(
        "#shown rect", "all => all.map(each => [each.getAttribute('fill'), Number(each.getAttribute('fill-opacity'))])"
    )


def test_the_key_shows_the_map_over_the_photograph_and_takes_it_away(found):
    found.keyboard.press("h")
    assert found.is_visible("#large") and found.locator("#shown img").count() == 1
    shown = cells(found)
    assert len(shown) == 6
    assert [color for color, _ in shown] == [f"rgb{HIGH}", "none", f"rgb{LOW}", "none", f"rgb{HIGH}", f"rgb{HIGH}"]
    assert [strength for _, strength in shown] == pytest.approx([STRENGTH * share for share in (1, 0, 0.5, 0, 0.25, 0.5)])
    titles = found.locator("#shown rect title").all_text_contents()
    assert titles[0] == "row 1, column 1: 0.2000" and titles[3] == "row 2, column 1: no window looked"
    found.keyboard.press("h")
    assert found.is_visible("#large") and cells(found) == [] and found.text_content("#read") == ""
    assert not found.is_visible(".about >> nth=0")


def test_the_map_lies_where_the_photograph_is(found):
    """The photograph of 60 x 40 fills its frame as far as it can, centred; so do the cells."""
    found.keyboard.press("h")
    frame, first, last = (found.locator(each).bounding_box() for each in (".frame", "rect >> nth=0", "rect >> nth=5"))
    scale = min(frame["width"] / 60, frame["height"] / 40)
    assert first["width"] == pytest.approx(scale * 20, abs=1) and first["height"] == pytest.approx(scale * 20, abs=1)
    assert first["x"] == pytest.approx(frame["x"] + (frame["width"] - scale * 60) / 2, abs=1)
    assert last["y"] + last["height"] == pytest.approx(frame["y"] + (frame["height"] + scale * 40) / 2, abs=1)


def test_the_button_does_what_the_key_does_and_says_whether_it_is_pressed(found):
    from playwright.sync_api import expect  # noqa: PLC0415 - the program decides whether it is wanted

    found.keyboard.press("Enter")
    button = found.get_by_role("button", name="Heat map")
    expect(button).to_be_focused()
    expect(button).to_have_attribute("aria-pressed", "false")
    assert cells(found) == []
    for key in ("Space", "Enter"):
        found.keyboard.press(key)
        pressed = key == "Space"
        expect(button).to_have_attribute("aria-pressed", str(pressed).lower())
        assert len(cells(found)) == (6 if pressed else 0)
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    found.keyboard.press("Escape")
    expect(found.locator("#p1")).to_be_focused()
    found.keyboard.press("Enter")  # shows the photograph itself again
    assert cells(found) == []


def test_it_is_there_in_words(found):
    found.keyboard.press("h")
    said = found.text_content("#read")
    assert "the largest value is 0.2000 (at row 1 of 2, column 1 of 3)" in said and "smallest -0.1000" in said
    assert found.get_by_role("img", name=said, exact=True).count() == 1
    assert found.get_attribute("#p1 .heat", "title") == said
    assert found.locator(".about:not([hidden])").all_text_contents() == [ABOUT]
    found.keyboard.press("ArrowRight")
    assert "0.5 has no color" in found.text_content("#read")
    assert [color for color, _ in cells(found)] == [f"rgb{LOW}", f"rgb{HIGH}", "none", "none"]
    assert found.locator(".about:not([hidden])").all_text_contents() == ["of samples"]


def test_a_photograph_without_a_map_says_so_and_has_no_button(found):
    for _ in range(2):
        found.keyboard.press("ArrowRight")
    found.keyboard.press("h")
    assert found.text_content("#read").startswith("no heat map") and cells(found) == []
    assert not found.is_visible("#heat") and found.locator("#p3 .heat").count() == 0
    found.keyboard.press("ArrowLeft")
    assert found.is_visible("#heat") and len(cells(found)) == 4


def test_two_beside_each_other_have_a_map_each(found):
    for key in ("c", "ArrowRight", "ArrowRight", "c", "h"):
        found.keyboard.press(key)
    frames = found.locator(".frame")
    assert [frames.nth(at).locator("rect").count() for at in range(2)] == [6, 0]
    assert re.fullmatch(r"p0000\.jpg: Heat map by .*   \|   p0002\.jpg: no heat map.*", found.text_content("#read"))


def test_the_keys_are_listed_where_there_are_maps_and_do_nothing_where_there_are_none(context, found, tmp_path):
    found.click("#help")
    assert "heat map" in found.text_content("#keys")
    other = tmp_path / "other"
    other.mkdir()
    page, wrong = opened(context, written(other, photographs(other, 2)))
    page.keyboard.press("h")
    assert not page.is_visible("#large") and "heat map" not in page.text_content("#keys") and wrong == []


def test_a_map_on_which_all_cells_are_one_has_no_color(context, tmp_path):
    entries = photographs(tmp_path, 1)
    page, wrong = opened(
        context, written(tmp_path, [replace(entries[0], heat=Heat(((0.0, None),), "occlusion", 0.0, "", 6, 4))])
    )
    page.keyboard.press("h")
    assert cells(page) == [["none", 0], ["none", 0]] and wrong == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_button_can_be_read_in_light_and_dark(browser, tmp_path, scheme):
    address = written(tmp_path, heated(tmp_path))
    with browser.new_context(color_scheme=scheme) as context:
        page, _ = opened(context, address)
        page.keyboard.press("Enter")
        style = "getComputedStyle(document.getElementById('heat'))"
        assert page.evaluate(f"[{style}.color, {style}.backgroundColor]") == ["rgb(221, 221, 221)", "rgb(42, 42, 42)"]
