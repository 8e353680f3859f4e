"""`dcnn-fast score --heat-maps`: which photographs of the page get one, which do not, and that nothing else changes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from dcnn_fast import Scorer, save_model
from dcnn_fast.cli import heat_maps as module
from dcnn_fast.cli.stopping import Stop
from dcnn_fast.scoring import Score
from dcnn_fast.scoring.why import heat_map
from tests import small
from tests.cli.command import VIEWS, environment, main, rows, score, wait_for
from tests.cli.conftest import photograph


def cards(path):
    """The attributes of the page's photographs, best first."""
    found = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: found.append(dict(attributes)) if tag == "li" else None
    parser.feed(path.read_text(encoding="utf-8"))
    return [each for each in found if each.get("class") == "photo"]


def test_the_best_have_the_maps_of_why(model, folder, tmp_path):
    page = tmp_path / "s.html"
    result = score(model, folder, "--html", page, "--csv", tmp_path / "s.csv", "--heat-maps", 2)
    assert result.returncode == 0 and "heat maps: 2\n" in result.stderr
    scorer = Scorer(model, samples=VIEWS, per_sample=True)
    shown = cards(page)
    assert len(shown) == 4 and ["data-heat" in card for card in shown] == [True, True, False, False]
    for card in shown[:2]:
        expected = heat_map(scorer, card["data-path"], cells=8)
        values = [[None if value is None else round(value, 4) for value in row] for row in expected.rows()]
        assert json.loads(card["data-heat"]) == values and len(values[0]) == 8
        assert float(card["data-middle"]) == round(expected.score.mean, 4) and card["data-kind"] == "samples"
    score(model, folder, "--html", tmp_path / "t.html", "--csv", tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_bytes() == (tmp_path / "s.csv").read_bytes()
    assert not any("data-heat" in card for card in cards(tmp_path / "t.html"))


def test_there_are_no_more_than_photographs_on_the_page(model, folder, tmp_path):
    page = tmp_path / "s.html"
    result = score(model, folder, "--html", page, "--top", 3, "--heat-maps", 50)
    assert result.returncode == 0 and "heat maps: 3\n" in result.stderr
    assert ["data-heat" in card for card in cards(page)] == [True] * 3


def test_the_maps_are_of_the_scores_that_the_settings_made(model, folder, tmp_path):
    """With settings other than the run's, the score would differ and there would be no map."""
    random = np.random.default_rng(8)
    Image.fromarray(random.integers(0, 256, (40, 50, 4)).astype(np.uint8)).save(folder / "see-through.png")
    Image.fromarray(random.integers(0, 256, (300, 400, 3)).astype(np.uint8)).save(folder / "large.jpg")
    settings = [
        "--seed",
        5,
        "--grid",
        4,
        "--long-side",
        40,
        "--background",
        "102030",
        "--dtype",
        "bfloat16",
        "--decode",
        "scaled",
    ]
    result = score(model, folder, "--html", tmp_path / "s.html", "--heat-maps", 9, *settings, "--faults", "--groups")
    assert result.returncode == 0 and "heat maps: 6\n" in result.stderr, result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--heat-maps", 2, "--csv", "s.csv"], "--heat-maps needs --html: they are shown on that page"),
        (["--heat-maps", 0, "--html", "s.html"], "--heat-maps"),
        (["--heat-maps", "many", "--html", "s.html"], "--heat-maps"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(model, folder, tmp_path, options, message):
    result = score(model, folder, *options, cwd=tmp_path)
    assert result.returncode == 2 and message in result.stderr and not list(tmp_path.glob("s.*"))


def test_a_model_of_other_labels_is_refused_by_name(folder, tmp_path):
    save_model(small.model(labels=("a", "b", "c")), tmp_path / "m.safetensors")
    result = score(tmp_path / "m.safetensors", folder, "--html", tmp_path / "s.html", "--heat-maps", 2)
    assert result.returncode == 2 and "--heat-maps needs a model of two labels" in result.stderr
    assert not (tmp_path / "s.html").exists()


def test_files_that_changed_or_have_gone_since_are_named_and_the_others_have_maps(model, folder, tmp_path):
    """A resumed run takes their scores from its file."""
    score(model, folder, "--csv", tmp_path / "s.csv")
    changed, gone, broken = (folder / name for name in ("a.png", "b.JPG", "c.webp"))
    photograph(changed, 77)
    gone.unlink()
    broken.write_bytes(b"no picture")
    before = rows(tmp_path / "s.csv")
    result = score(model, folder, "--csv", tmp_path / "s.csv", "--resume", "--html", tmp_path / "s.html", "--heat-maps", 4)
    assert result.returncode == 0 and rows(tmp_path / "s.csv") == before
    assert f"{changed}: no heat map: the file has changed since it was scored\n" in result.stderr
    assert f"{gone}: no heat map: " in result.stderr and f"{broken}: no heat map: not an image" in result.stderr
    assert "heat maps: 1\n" in result.stderr and "Traceback" not in result.stderr
    assert [card["data-name"] for card in cards(tmp_path / "s.html") if "data-heat" in card] == ['comma, "quote".png']


def test_an_interrupted_run_makes_none_and_says_so(model, folder, tmp_path):
    for i in range(1000):
        os.link(folder / "a.png", folder / f"{i:04}.png")
    table, page = tmp_path / "s.csv", tmp_path / "s.html"
    command = [*main(), "score", "--model", model, "--samples", 30, folder, "--csv", table, "--html", page, "--heat-maps", 3]
    with subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True, env=environment()) as process:
        wait_for(process, table)
        while table.read_bytes().count(b"\n") < 5:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted: no heat maps were made\n" in said
    assert cards(page) and not any("data-heat" in card for card in cards(page))


def test_a_signal_ends_the_maps_between_two_and_the_page_is_written(folder, tmp_path):
    """With the shipped model, whose maps take a score for each cell; the maps follow the page, and nothing follows them."""
    for i in range(30):
        photograph(folder / f"{i:02}.png", i)
    page = tmp_path / "s.html"
    command = [*main(), "score", folder, "--html", page, "--heat-maps", 34, "--copy", tmp_path / "best", "--best", 3]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(list(map(str, command)), **pipes, env=environment()) as process:
        while " 20 " not in process.stdout.readline():  # the maps come after the end of the table
            assert process.poll() is None, process.communicate()
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and " of 34 photographs\n" in said and "Traceback" not in said
    made = [card["data-heat"] for card in cards(page) if "data-heat" in card]
    assert len(cards(page)) == 34 and f"interrupted: heat maps were made of {len(made)} of 34" in said and len(made) < 34
    assert not (tmp_path / "best").exists()


def test_the_map_in_work_is_made_to_its_end(model, folder, monkeypatch, capsys):
    paths = [str(folder / name) for name in ("a.png", "b.JPG", "c.webp")]
    scorer = Scorer(model, samples=VIEWS)
    scores = list(scorer.score_many(paths))
    inner, asked = module.heat_map, []

    def interrupted(asker, path, **options):
        asked.append(path)
        if len(asked) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return inner(asker, path, **options)

    monkeypatch.setattr(module, "heat_map", interrupted)
    with Stop() as stop:
        made = module.heat_maps(scorer, scores, stop)
    assert list(made) == asked == paths[:2] and stop.signum == signal.SIGTERM
    assert "interrupted: heat maps were made of 2 of 3 photographs" in capsys.readouterr().err


def test_a_photograph_without_a_score_of_its_own_has_none(model, folder, capsys):
    scorer = Scorer(model, samples=VIEWS)
    path = str(folder / "a.png")
    with Stop() as stop:
        assert module.heat_maps(scorer, [Score(path=path, mean=0.123)], stop) == {}
    assert f"{path}: no heat map: the file has changed" in capsys.readouterr().err


def test_a_map_that_memory_does_not_suffice_for_is_named_and_the_page_goes_on(model, monkeypatch, capsys):
    def too_much(*_, **__):
        raise MemoryError

    monkeypatch.setattr(module, "heat_map", too_much)
    with Stop() as stop:
        assert module.heat_maps(Scorer(model, samples=VIEWS), [Score(path="a.png", mean=0.5)], stop) == {}
    assert "a.png: no heat map: there is not enough memory for it" in capsys.readouterr().err
