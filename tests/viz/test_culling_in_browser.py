"""The culling page as a person uses it, in Chromium: keys, filters, the photographs themselves, and saved choices."""

from __future__ import annotations

import csv
import io

from PIL import Image

from dcnn_fast.scoring import Score
from dcnn_fast.viz.culling import Entry
from tests.cli.command import run
from tests.viz.browsing import opened, photographs, written


def order(page):
    return page.eval_on_selector_all(".photo:not([hidden])", "all => all.map(each => Number(each.dataset.rank))")


def at(page):
    return page.evaluate("document.activeElement.dataset.rank")


def saved(page):
    with page.expect_download() as download:
        page.click("#export")
    with open(download.value.path(), newline="", encoding="utf-8") as file:
        return list(csv.DictReader(io.StringIO(file.read())))


def test_keys_choose_and_the_choices_stay_and_are_saved(context, tmp_path):
    address = written(tmp_path, photographs(tmp_path, 12))
    page, wrong = opened(context, address)
    for key in ("4", "p", "ArrowRight", "x", "ArrowRight", "5", "3", "u", "ArrowRight", "p", "z"):
        page.keyboard.press(key)
    expected = [
        {"path": str(tmp_path / "p0000.jpg"), "rating": "4", "choice": "picked"},
        {"path": str(tmp_path / "p0001.jpg"), "rating": "", "choice": "rejected"},
        {"path": str(tmp_path / "p0002.jpg"), "rating": "3", "choice": ""},
    ]
    assert saved(page) == expected
    assert "1 picked, 1 rejected" in page.text_content("#count")
    assert page.get_attribute("#p1", "aria-label") == "p0000.jpg, 1.000, 4 stars, picked"
    again, more = opened(context, address)
    assert saved(again) == expected
    assert wrong == more == []


def test_what_is_saved_is_what_a_model_is_adapted_to(context, tmp_path):
    page, _ = opened(context, written(tmp_path, photographs(tmp_path, 30)))
    for number in range(30):
        page.keyboard.press(str(number % 5 + 1) if number else "x")
        page.keyboard.press("ArrowRight")
    with page.expect_download() as download:
        page.click("#export")
    download.value.save_as(tmp_path / "choices.csv")
    done = run("data", "import", tmp_path / "choices.csv", tmp_path / "labels.csv")
    assert done.returncode == 0, done.stderr
    done = run("adapt", "shipped", tmp_path / "labels.csv", "--out", tmp_path / "mine")
    assert done.returncode == 0 and (tmp_path / "mine" / "best.safetensors").exists(), done.stderr


def test_arrows_go_along_rows_and_columns(context, tmp_path):
    page, wrong = opened(context, written(tmp_path, photographs(tmp_path, 12)))
    columns = page.evaluate(
        "(() => { const all = [...document.querySelectorAll('.photo')]; "
        "return all.filter(each => each.offsetTop === all[0].offsetTop).length; })()"
    )
    assert columns > 2
    found = []
    for key in ("ArrowLeft", "ArrowRight", "ArrowDown", "ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
        found.append(int(at(page)))
    assert found == [1, 2, 2 + columns, 2, 1] and wrong == []
    assert page.locator('.photo[tabindex="0"]').count() == 1


def test_what_is_shown_is_sorted_and_filtered(context, tmp_path):
    page, wrong = opened(context, written(tmp_path, photographs(tmp_path, 12), [Score(path="bad.jpg", error="truncated")]))
    page.keyboard.press("2")
    page.select_option("#sort", "worst")
    assert order(page) == list(range(12, 0, -1))
    page.select_option("#sort", "rank")
    page.select_option("#fault", "blurred")
    assert order(page) == [2, 7, 12]
    page.select_option("#fault", "")
    page.select_option("#group", "best")
    assert order(page) == [1, 4, 7, 8, 9, 10, 11, 12]
    page.select_option("#group", "in")
    assert order(page) == [1, 2, 3, 4, 5, 6]
    page.select_option("#group", "")
    page.select_option("#stars", "2")
    assert order(page) == [1]
    page.select_option("#stars", "")
    page.fill("#search", "0010")
    assert order(page) == [11] and "1 of 12 shown" in page.text_content("#count")
    page.fill("#search", "")
    page.keyboard.press("Escape")
    page.keyboard.press("x")
    page.select_option("#choice", "rejected")
    assert len(order(page)) == 1
    assert "bad.jpg: truncated" in page.text_content(".failed") and wrong == []


def test_the_photograph_itself_and_two_beside_each_other(context, tmp_path):
    from playwright.sync_api import expect  # noqa: PLC0415 - as above

    page, wrong = opened(context, written(tmp_path, photographs(tmp_path, 4)))
    page.keyboard.press("Enter")
    assert page.eval_on_selector_all("#shown img", "all => all.map(each => each.src)") == [(tmp_path / "p0000.jpg").as_uri()]
    page.keyboard.press("ArrowRight")
    assert page.get_attribute("#shown img", "src").endswith("p0001.jpg")
    page.keyboard.press("p")
    page.keyboard.press("Escape")
    expect(page.locator("#p2")).to_be_focused()  # once the browser reports that it is closed
    assert not page.is_visible("#large") and page.locator("#p2.picked").count() == 1
    for key in ("c", "ArrowRight", "c"):
        page.keyboard.press(key)
    assert page.eval_on_selector_all("#shown img", "all => all.map(each => each.src.slice(-9))") == ["p0001.jpg", "p0002.jpg"]
    page.keyboard.press("Escape")
    expect(page.locator(".compared")).to_have_count(0)
    assert wrong == []


def test_two_thousand_photographs_are_usable(context, tmp_path):
    address = written(tmp_path, photographs(tmp_path, 2000))
    page, wrong = opened(context, address)
    assert page.locator(".photo").count() == 2000
    for _ in range(5):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("5")
    page.select_option("#sort", "stars")
    assert order(page)[0] > 5
    page.fill("#search", "p1999")
    assert order(page) == [2000] and wrong == []


def test_names_stay_names(context, tmp_path):
    entries = []
    for name in ('"><img src=x onerror=alert(1)>.jpg', "</script><script>alert(2)</script>.jpg", 'a,b"c.jpg'):
        path = tmp_path / name.replace("/", "_")
        Image.new("RGB", (9, 9)).save(path)
        entries.append(Entry(Score(path=str(path), mean=0.5)))
    page, wrong = opened(context, written(tmp_path, entries))
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    for key in ("p", "ArrowRight", "p", "ArrowRight", "p", "Enter"):
        page.keyboard.press(key)
    page.keyboard.press("Escape")
    assert [row["path"] for row in saved(page)] == [entry.score.path for entry in entries]
    assert dialogs == wrong == []


def test_it_follows_a_dark_setting(browser, tmp_path):
    address = written(tmp_path, photographs(tmp_path, 1))
    grounds = []
    for scheme in ("light", "dark"):
        with browser.new_context(color_scheme=scheme) as context:
            page, _ = opened(context, address)
            grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert grounds == ["rgb(255, 255, 255)", "rgb(22, 22, 22)"]
