"""`serve --cull`: the page, for this machine alone, and ratings written to sidecars at once."""

from __future__ import annotations

import json
import re
import resource
import shutil
from pathlib import Path

import pytest
from PIL import Image

from dcnn_fast.cli.star_sidecars import StarSidecars
from dcnn_fast.xmp.packet import Rating, rating_in, with_choice, with_rating
from tests.cli.command import run
from tests.other_programs import exiftool_ratings, need
from tests.serve.server import Server, picture
from tests.viz.conftest import browser, context  # noqa: F401 - fixtures
from tests.xmp import samples


@pytest.fixture
def folder(tmp_path):
    """Four photographs, one in a subfolder, one with an awkward name."""
    photos = tmp_path / "photos"
    (photos / "sub").mkdir(parents=True)
    for i, name in enumerate(("a.jpg", "b.png", "sub/c.jpg", "d é #?%41.png")):
        (photos / name).write_bytes(picture(i, kind="PNG" if name.endswith("png") else "JPEG"))
    (photos / "notes.txt").write_text("none")
    return photos


class Page(Server):
    """A server with a page."""

    def __init__(self, model, folder, *options, **more):
        super().__init__(model, "--cull", folder, *options, **more)

    def __enter__(self):
        super().__enter__()
        found = re.fullmatch(
            rf"the page: http://127\.0\.0\.1:{self.port}(/cull/[\w-]{{40,}}/)\n", self.process.stderr.readline()
        )
        self.address = found[1]
        content = self.get(self.address).content.decode()
        self.ranks = {path: int(rank) for rank, path in re.findall(r'data-rank="(\d+)" data-path="([^"]*)"', content)}
        return self

    def choose(self, path, rating):
        return self.ask("POST", self.address + "choice", json.dumps({"photo": self.ranks[str(path)], "rating": rating}))

    def ratings(self):
        ranks = {str(rank): path for path, rank in self.ranks.items()}
        return {ranks[rank]: rating for rank, rating in self.get(self.address + "choices").json["ratings"].items()}


def rating_of(path):
    return rating_in(path.with_name(path.name + ".xmp").read_bytes())


def test_the_page_shows_the_folder_and_keeps_what_is_chosen(model, folder):
    with Page(model, folder) as page:
        answer = page.get(page.address)
        assert answer.headers["content-type"].startswith("text/html") and answer.headers["referrer-policy"] == "no-referrer"
        text = answer.content.decode()
        assert 'data-live="yes"' in text and "connect-src 'self'" in text and len(page.ranks) == 4
        for href in re.findall(r'<a href="([^"]*)" tabindex', text):
            assert page.get(page.address + href).status == 200, href
        content = page.get(page.address + "d%20%C3%A9%20%23%3F%2541.png")
        assert content.content == (folder / "d é #?%41.png").read_bytes() and content.headers["content-type"] == "image/png"
        for rating in (3, -1, 5, 0):
            assert page.choose(folder / "a.jpg", rating).json == {"photo": page.ranks[str(folder / "a.jpg")], "rating": rating}
            assert rating_of(folder / "a.jpg").stars == rating and page.ratings() == (
                {str(folder / "a.jpg"): rating} if rating else {}
            )
        assert page.choose(folder / "b.png", 0).status == 200
        assert sorted(path.name for path in folder.rglob("*.xmp")) == ["a.jpg.xmp"]
        assert page.score(picture()).status == 200


def test_without_the_secret_there_is_nothing(model, folder):
    with Page(model, folder) as page:
        for token in ("", "x", page.address.split("/")[2][:-1], page.address.split("/")[2] + "x"):
            for way in ("", "choices", "a.jpg"):
                assert page.get(f"/cull/{token}/{way}").status == 404
            assert page.ask("POST", f"/cull/{token}/choice", '{"photo": 1, "rating": 3}').status == 404
        assert not list(folder.rglob("*.xmp"))
        for name in ("notes.txt", "../photos/a.jpg", "sub", "nothing.jpg", "%2e%2e/photos/a.jpg", "a.jpg/", "/etc/hostname"):
            assert page.get(page.address + name).status == 404, name


@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", "{}", '{"photo": 0, "rating": 1}', '{"photo": 5, "rating": 1}', '{"photo": 1, "rating": 6}',
     '{"photo": 1, "rating": -2}', '{"photo": 1, "rating": true}', '{"photo": 1.0, "rating": 1}',
     '{"photo": 1, "rating": 1, "path": "x"}', " " * 2000],
)  # fmt: skip
def test_what_is_no_choice_is_refused(page_of_folder, body):
    answer = page_of_folder.ask("POST", page_of_folder.address + "choice", body)
    assert answer.status in (400, 413) and answer.json["error"] and "\n" not in answer.json["error"]


@pytest.fixture(scope="module")
def page_of_folder(model, tmp_path_factory):
    photos = tmp_path_factory.mktemp("photos")
    for i in range(4):
        (photos / f"{i}.png").write_bytes(picture(i))
    with Page(model, photos) as running:
        yield running
    assert not list(photos.glob("*.xmp"))


def test_what_other_programs_said_is_shown_and_the_rest_of_a_sidecar_stays(model, folder):
    own, other, ours = folder / "a.jpg.xmp", folder / "b.xmp", folder / "sub" / "c.jpg.xmp"
    own.write_bytes(with_choice(samples.DARKTABLE.encode(), 4))
    other.write_bytes(with_choice(None, -1))
    ours.write_bytes(with_rating(None, 5))
    before = own.read_text()
    with Page(model, folder) as page:
        assert page.ratings() == {str(folder / "a.jpg"): 4, str(folder / "b.png"): -1}
        for path, rating in ((folder / "a.jpg", 2), (folder / "b.png", 3), (folder / "sub" / "c.jpg", 5)):
            assert page.choose(path, rating).status == 200
    assert own.read_text() == before.replace('xmp:Rating="4"', 'xmp:Rating="2"')
    assert rating_in(other.read_bytes()) == Rating(3.0) and not (folder / "b.png.xmp").exists()
    assert rating_in(ours.read_bytes()).by_a_person and rating_in(ours.read_bytes()).stars == 5
    again = run("score", "--model", model, folder, "-r", "--xmp", "--samples", 3)
    assert again.returncode == 0 and rating_in(ours.read_bytes()).stars == 5


def test_exiftool_reads_what_is_chosen(model, folder):
    need("exiftool")
    with Page(model, folder) as page:
        page.choose(folder / "a.jpg", -1)
        page.choose(folder / "b.png", 5)
    assert exiftool_ratings(folder / "a.jpg.xmp") == [-1] and exiftool_ratings(folder / "b.png.xmp") == [5]


def test_stars_inside_a_photograph_can_be_taken_away(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("RGB", (40, 40)).save(path, xmp=with_choice(None, 3))
    sidecars = StarSidecars("digikam", dry_run=False)
    assert sidecars.chosen(path) == 3
    sidecars.choose(path, 0)
    assert sidecars.chosen(path) == 0 and rating_of(path).stars == 0 and rating_of(path).by_a_person


@pytest.mark.parametrize("rating", range(-1, 6))
@pytest.mark.parametrize("before", [None, *range(1, 6)])
def test_a_choice_is_a_person_s_whatever_we_wrote_before(before, rating):
    content = with_choice(None if before is None else with_rating(None, before), rating)
    said = rating_in(content)
    assert said.stars == rating and said.by_a_person


def test_a_sidecar_that_cannot_be_written_is_said_and_stays(model, folder):
    (folder / "a.jpg.xmp").write_text("no XMP")
    (folder / "b.png.xmp").mkdir()
    with Page(model, folder) as page:
        for name in ("a.jpg", "b.png"):
            answer = page.choose(folder / name, 3)
            assert answer.status == 409 and f"{name}.xmp: it is" in answer.json["error"]
        assert (folder / "a.jpg.xmp").read_text() == "no XMP"
        (folder / "sub" / "c.jpg").unlink()
        gone = page.choose(folder / "sub" / "c.jpg", 3)
        assert gone.status == 410 and "c.jpg: the photograph is not there any more" in gone.json["error"]
        assert not list((folder / "sub").iterdir())
        said = page.get(page.address + "choices").json
        ranks = [str(page.ranks[str(folder / name)]) for name in ("a.jpg", "b.png")]
        assert said["ratings"] == {} and said["unreadable"].keys() >= set(ranks)
        assert all(
            f"{name}.xmp: it is" in said["unreadable"][rank] for rank, name in zip(ranks, ("a.jpg", "b.png"), strict=True)
        )
        assert page.choose(folder / "d é #?%41.png", 3).status == 200


def test_a_full_disk_is_said_and_leaves_the_sidecar_as_it_was(model, folder):
    (folder / "a.jpg.xmp").write_bytes(with_choice(None, 2))
    with Page(model, folder) as page:
        before = sorted(folder.rglob("*"))
        limits = _limit_files(page, 10)
        answer = page.choose(folder / "a.jpg", 3)
        assert answer.status == 507 and "File too large" in answer.json["error"]
        assert page.choose(folder / "b.png", 3).status == 507
        assert rating_of(folder / "a.jpg") == Rating(2.0) and sorted(folder.rglob("*")) == before
        resource.prlimit(_worker(page), resource.RLIMIT_FSIZE, limits)
        assert page.choose(folder / "a.jpg", 3).status == 200 and rating_of(folder / "a.jpg") == Rating(3.0)


def _worker(page):
    """The process that has the port: the command's own, or one that it started."""
    wanted = f"{page.port:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    inode = next(line.split()[9] for line in lines if line.split()[1].endswith(f":{wanted}") and line.split()[3] == "0A")
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(each.readlink().name == f"socket:[{inode}]" for each in (process / "fd").iterdir()):
                return int(process.name)
        except OSError:
            continue
    raise AssertionError("nobody has the port")


def _limit_files(page, size):
    """Let none of the server's files grow beyond that size; returns the earlier limits."""
    process = _worker(page)
    before = resource.prlimit(process, resource.RLIMIT_FSIZE)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (size, before[1]))
    return before


def test_a_killed_server_has_written_what_it_said(model, folder):
    with Page(model, folder) as page:
        page.choose(folder / "a.jpg", 4)
        page.process.kill()
    assert rating_of(folder / "a.jpg") == Rating(4.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cull", "photos", "--host", "0.0.0.0"], "--cull is for this machine alone"),
        (["--cull", "nothing"], "--cull must name a folder"), (["--cull", "empty"], "has no photographs that can be scored"),
        (["--cull", "photos", "--xmp-names", "x"], "--xmp-names must be digikam or adobe"),
    ],
)  # fmt: skip
def test_a_wrong_call_is_one_line(model, folder, tmp_path, options, message):
    (tmp_path / "empty").mkdir()
    done = run("serve", "--model", model, "--port", 0, *options, cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1, done


def test_keys_on_the_page_write_sidecars(context, model, folder):  # noqa: F811
    with Page(model, folder) as page:
        shown, wrong = context.new_page(), []
        shown.on("pageerror", lambda error: wrong.append(str(error)))
        shown.goto(f"http://127.0.0.1:{page.port}{page.address}")
        best = next(path for path, rank in page.ranks.items() if rank == 1)
        second = next(path for path, rank in page.ranks.items() if rank == 2)
        shown.locator("#p1").focus()
        for key in ("4", "ArrowRight", "5", "x", "ArrowLeft", "p"):
            shown.keyboard.press(key)
        page.until(lambda: page.ratings() == {best: 4, second: -1})
        again = context.new_page()
        again.goto(f"http://127.0.0.1:{page.port}{page.address}")
        again.wait_for_selector("#p2.rejected")
        assert again.text_content("#p1 .given") == "★★★★" and "1 picked, 1 rejected" in again.text_content("#count")
        again.locator("#p1").focus()
        for key in ("z", "ArrowRight", "u"):
            again.keyboard.press(key)
        page.until(lambda: page.ratings() == {best: 4, second: 5})
        shutil.rmtree(folder)
        again.keyboard.press("2")
        again.wait_for_selector("#p2.unsaved")
        assert "was not saved" in again.text_content("#unsaved") and wrong == []


def shown_of(context, page):  # noqa: F811
    shown = context.new_page()
    shown.goto(f"http://127.0.0.1:{page.port}{page.address}")
    return shown


def pressed(shown, *keys):
    shown.locator("#p1").focus()
    for key in keys:
        shown.keyboard.press(key)


def test_keys_pressed_before_the_ratings_have_come_are_kept(context, model, folder):  # noqa: F811
    with Page(model, folder) as page:
        paths = sorted(page.ranks, key=page.ranks.get)
        for path, rating in zip(paths, (2, -1, 3), strict=False):
            assert page.choose(path, rating).status == 200
        shown, held = context.new_page(), []
        shown.route("**/choices", lambda route: held.append(route))  # noqa: PLW0108 - playwright marks what it is given
        shown.goto(f"http://127.0.0.1:{page.port}{page.address}", wait_until="commit")
        page.until(lambda: shown.wait_for_timeout(10) or held)
        pressed(shown, "4", "ArrowRight", "u", "5")
        held[0].continue_()
        page.until(lambda: shown.wait_for_timeout(10) or page.ratings() == {paths[0]: 4, paths[1]: 5, paths[2]: 3})
        assert [shown.text_content(f"#p{rank} .given") for rank in (1, 2, 3)] == ["★" * 4, "★" * 5, "★" * 3]
        assert shown.text_content("#unsaved") == ""


def test_ratings_that_were_not_saved_are_named_and_saved_when_the_page_is_opened_again(context, model, folder):  # noqa: F811
    with Page(model, folder) as page:
        paths = sorted(page.ranks, key=page.ranks.get)
        shown = shown_of(context, page)
        shown.route("**/choice", lambda route: route.abort())
        pressed(shown, "4", "ArrowRight", "x")
        shown.wait_for_selector("#p2.unsaved")
        said = shown.text_content("#unsaved")
        assert all(f"{Path(path).name} was not saved: the server does not answer" in said for path in paths[:2])
        assert page.ratings() == {}
        shown.unroute("**/choice")
        shown.reload()
        page.until(lambda: shown.wait_for_timeout(10) or page.ratings() == {paths[0]: 4, paths[1]: -1})
        assert page.choose(paths[0], 1).status == 200  # changed later, elsewhere
        shown.reload()
        # Not wait_for_function: from its second look on it is an eval in the page, whose policy refuses that.
        page.until(lambda: shown.wait_for_timeout(10) or shown.text_content("#p1 .given") == "★")
        assert page.ratings()[paths[0]] == 1


def test_a_sidecar_that_cannot_be_read_is_named_on_the_page(context, model, folder):  # noqa: F811
    (folder / "a.jpg.xmp").write_text("no XMP")
    with Page(model, folder) as page:
        shown = shown_of(context, page)
        shown.wait_for_selector(f"#p{page.ranks[str(folder / 'a.jpg')]}.unsaved")
        assert "a.jpg has a rating that cannot be read: " in shown.text_content("#unsaved")
