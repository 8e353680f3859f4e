"""`dcnn-fast score --copy, --link, --move`: the best photographs and their sidecars, whole, overwriting and losing none."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest

from tests import injected
from tests.cli.command import VIEWS, files_of, rows, score
from tests.cli.conftest import photograph
from tests.xmp.samples import rated, values

needs_cc = pytest.mark.skipif(injected.compiler() is None, reason="needs the program cc")
WAYS = ("--copy", "--link", "--move")


@pytest.fixture
def photos(tmp_path):
    """Six photographs, one whose name a subfolder has too, with sidecars in both styles of naming."""
    folder = tmp_path / "p"
    (folder / "sub").mkdir(parents=True)
    for number, name in enumerate(("a.jpg", "b.jpg", "c.png", "c.jpg", "sub/a.jpg", "d.jpg")):
        photograph(folder / name, number)
    for name in ("a.jpg.xmp", "a.xmp", "sub/a.jpg.xmp", "c.xmp", "d.jpg.XMP"):
        (folder / name).write_text(rated(3) + f"<!-- {name} -->")
    os.chmod(folder / "b.jpg", 0o640)
    os.utime(folder / "b.jpg", (1e9, 1e9))
    return folder


@pytest.fixture
def best(tmp_path):
    return tmp_path / "best"


@pytest.fixture
def far():
    """A folder on a file system other than the tests' own."""
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder)


def run(model, folder, *options, status=0, **more):
    done = score(model, folder, "-r", *options, **more)
    assert done.returncode == status, done.stderr
    return done


def contents(folder):
    """The files below a folder by name, with the content that each gives, through links."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def ranked(model, photos, tmp_path):
    """Paths and scores, best first."""
    run(model, photos, "--csv", tmp_path / "s.csv", "--overwrite")
    return sorted(((row["path"], float(row["mean"])) for row in rows(tmp_path / "s.csv")), key=lambda each: (-each[1], each[0]))


def test_all_go_with_their_sidecars_and_equal_names_get_numbers(model, photos, best, tmp_path):
    before = contents(photos)
    done = run(model, photos, "--copy", best, "--best", 6)
    assert f"photographs for {best}: 6 copied" in done.stderr
    assert contents(photos) == before
    found = contents(best)
    by_content = {content: name for name, content in before.items()}
    taken = {name: by_content[content] for name, content in found.items()}
    first = {taken["a.jpg"], taken["a-2.jpg"]}
    assert first == {"a.jpg", "sub/a.jpg"}
    for name in ("a", "a-2"):
        assert taken[f"{name}.jpg.xmp"] == taken[f"{name}.jpg"] + ".xmp"
        assert (f"{name}.xmp" in taken) == (taken[f"{name}.jpg"] == "a.jpg")
    assert taken["b.jpg"] == "b.jpg" and taken["d.jpg"] == "d.jpg" and taken["d.jpg.XMP"] == "d.jpg.XMP"
    shared = [name for name in taken if taken[name] == "c.xmp"]
    assert sorted(shared) == ["c-2.xmp", "c.xmp"]  # for c.png and for c.jpg
    assert stat.S_IMODE((best / "b.jpg").stat().st_mode) == 0o640 and (best / "b.jpg").stat().st_mtime == 1e9


@pytest.mark.parametrize("way", WAYS)
def test_the_best_are_those_of_the_table(model, photos, best, tmp_path, way):
    order = ranked(model, photos, tmp_path)
    before = {path: Path(path).read_bytes() for path, _ in order}
    run(model, photos, way, best, "--best", 2)
    assert {content for name, content in contents(best).items() if not name.lower().endswith(".xmp")} == {
        before[path] for path, _ in order[:2]
    }
    assert [os.path.exists(path) for path, _ in order] == [way != "--move"] * 2 + [True] * 4


def test_above_is_greater_than(model, photos, best, tmp_path):
    order = ranked(model, photos, tmp_path)
    run(model, photos, "--link", best, "--above", f"{order[3][1]:.6f}")
    assert {os.readlink(path) for path in best.iterdir()} == {os.path.realpath(path) for path, _ in order[:3]}
    done = run(model, photos, "--link", best / "none", "--above", 1)
    assert ": none" in done.stderr and not (best / "none").exists()


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_replaced(model, photos, best, way):
    best.mkdir()
    for name in ("a.jpg", "b.jpg.xmp", "c.xmp", "d.jpg", "d-2.jpg"):
        (best / name).write_text("somebody's")
    os.symlink("nowhere", best / "c.jpg")
    before = files_of(best)
    run(model, photos, way, best, "--best", 6)
    after = files_of(best)
    assert before.items() <= after.items() and os.readlink(best / "c.jpg") == "nowhere" and not (best / "nowhere").exists()
    assert (best / "b-2.jpg").exists() and (best / "d-3.jpg").exists() and not (best / "b.jpg").exists()


def test_a_sidecar_does_not_become_another_photographs(model, photos, best):
    best.mkdir()
    photograph(best / "a.png", 7)
    (best / "b.xmp").write_text(rated(5))
    done = score(model, photos / "a.jpg", photos / "b.jpg", "--copy", best, "--best", 2)
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(best)) == ["a-2.jpg", "a-2.jpg.xmp", "a-2.xmp", "a.png", "b-2.jpg", "b.xmp"]


@pytest.mark.parametrize("way", ["--copy", "--link"])
def test_a_second_run_makes_nothing_twice(model, photos, best, way):
    run(model, photos, way, best, "--best", 6)
    before = files_of(best)
    done = run(model, photos, way, best, "--best", 6)
    assert "6 there already" in done.stderr and files_of(best) == before


def test_what_is_moved_keeps_its_inode_and_takes_its_sidecars(model, photos, best):
    inodes = {path.name: path.stat().st_ino for path in photos.glob("*.jpg")}
    run(model, photos, "--move", best, "--best", 6)
    assert contents(photos) == {"c.xmp": (rated(3) + "<!-- c.xmp -->").encode()} or "c.xmp" not in contents(photos)
    assert (best / "b.jpg").stat().st_ino == inodes["b.jpg"]
    assert len([name for name in os.listdir(best) if name.endswith((".jpg", ".png"))]) == 6
    assert "photographs" in run(model, best, "--move", best, "--best", 3).stderr
    assert len([name for name in os.listdir(best) if name.endswith((".jpg", ".png"))]) == 6  # the file is there already


def test_to_another_file_system_a_photograph_is_copied_and_removed(model, photos, far):
    assert os.stat(far).st_dev != os.stat(photos).st_dev, "the tests' folder and /dev/shm must be two file systems"
    before = contents(photos)
    run(model, photos, "--move", far, "--best", 6)
    assert not list(photos.rglob("*.jpg"))
    assert set(before.values()) == set(contents(far).values())
    assert os.stat(far / "b.jpg").st_mtime == 1e9


def test_stars_are_written_before_the_photographs_go(model, photos, best):
    for path in photos.rglob("*.[xX][mM][pP]"):
        path.unlink()
    run(model, photos, "--move", best, "--best", 2, "--xmp", "--stars", "100,0,0,0,0")
    sidecars = list(best.glob("*.xmp"))
    assert len(sidecars) == 2 and all(values(path.read_bytes()) == ("5", "5") for path in sidecars)


@pytest.mark.parametrize("way", WAYS)
def test_a_dry_run_names_what_would_be_done(model, photos, best, way):
    before = contents(photos)
    done = run(model, photos, way, best, "--best", 6, "--dry-run")
    assert not best.exists() and contents(photos) == before
    said = {line.rsplit(" to ", 1)[1] for line in done.stdout.splitlines() if "ed to " in line}
    run(model, photos, way, best, "--best", 6)
    assert said == {str(path) for path in best.iterdir() if path.suffix.lower() != ".xmp"} and len(said) == 6


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--copy", "{best}"], "--copy needs --best or --above"), (["--best", "3"], "--best needs --copy, --link or --move"),
        (["--above", "0.5"], "--above needs --copy"),
        (["--copy", "{best}", "--move", "{best}", "--best", "1"], "only one of them"),
        (["--copy", "{best}", "--best", "1", "--above", "0.5"], "only one of them"),
        (["--copy", "{best}/no/such", "--best", "1"], "--copy: no such folder"),
        (["--link", "{file}", "--best", "1"], "is no folder"), (["--copy", "", "--best", "1"], "--copy must name a folder"),
        (["--move", "{best}", "--best", "1", "--html", "{best}.html"], "--move takes photographs away"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_before_anything_is_scored(model, photos, best, options, why):
    filled = [option.format(best=best, file=photos / "a.jpg") for option in options]
    before = contents(photos)
    done = score(model, photos, *filled)
    assert done.returncode == 2 and why in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert contents(photos) == before and not best.exists()


def test_links_and_odd_sidecars_stay_and_are_named(model, photos, best):
    os.symlink("b.jpg", photos / "link.jpg")
    (photos / "d.jpg.xmp").mkdir()
    os.symlink("elsewhere", photos / "sub" / "a.xmp")
    done = score(model, photos, photos / "sub", photos / "link.jpg", "--move", best, "--best", 9)
    assert done.returncode == 3, done.stderr
    assert f"{photos}/d.jpg: its sidecar d.jpg.xmp is no regular file" in done.stderr
    assert f"{photos}/sub/a.jpg: its sidecar a.xmp is no regular file" in done.stderr
    assert (photos / "d.jpg").exists() and (photos / "sub" / "a.jpg").exists() and not (best / "d.jpg").exists()


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    with injected.Host(tmp_path_factory.mktemp("injected")) as found:
        yield found


def arguments(model, photos, *options):
    return ["score", photos, "-r", "--model", model, "--samples", VIEWS, *options]


@needs_cc
@pytest.mark.parametrize(
    ("kind", "way"),
    [
        ("full", "--copy"),
        ("kill", "--move far"),
        *(("kill_names", f"--{w}") for w in ("copy", "move", "move far")),
    ],
)
def test_nothing_is_lost_wherever_it_ends(host, model, photos, best, tmp_path, far, way, kind):
    """Each file is whole in at least one of the two places, no other file appears, and the next run completes the move."""
    way, _, is_far = way.partition(" ")
    best = far / "best" if is_far else best
    options = (way, best, "--best", 3, "--xmp", "--stars", "100,0,0,0,0")
    for name in ("b.jpg", "c.jpg", "d.jpg", "d.jpg.XMP", "sub/a.jpg.xmp"):
        (photos / name).unlink()
    keep = tmp_path / "keep"
    os.rename(photos, keep)
    places = None
    for at in range(1, 200):
        for folder in (photos, best):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(keep, photos)
        before = contents(photos)
        done = host.run(kind, at, arguments(model, photos, *options), under=far if is_far else tmp_path)
        ended = done.status == 3 if kind == "full" else done.status == -9
        if not ended:
            assert done.status == 0, done
            places = at
            break
        assert "Traceback" not in done.stderr
        found = {
            **contents(photos),
            **{f"best/{name}": content for name, content in (contents(best) if best.exists() else {}).items()},
        }
        partial = {name for name in found if ".dcnn-fast-" in name}
        assert not partial or kind != "full"
        assert set(before.values()) <= set(found.values())
        made = {name: content for name, content in found.items() if name not in partial and content not in before.values()}
        assert all(
            name.lower().endswith(".xmp") and values(content.split(b"?>", 1)[1]) == ("5", "5") for name, content in made.items()
        )
        again = host.run("none", 0, arguments(model, photos, *options), under=tmp_path)
        assert again.status in (0, 1), again  # no photograph may be left to move
        rest = {**contents(photos), **contents(best)}
        assert set(before.values()) <= set(rest.values()) and not [name for name in rest if ".dcnn-fast-" in name]
        pictures = {content for name, content in before.items() if not name.lower().endswith(".xmp")}
        placed = [content for name, content in contents(best).items() if not name.lower().endswith(".xmp")]
        # Killed between copy and removal, a photograph on another file system exists twice.
        assert set(placed) == pictures and len(placed) in ((3, 4) if is_far else (3,))
    assert places and places > 2, places
