"""`dcnn-fast score --xmp`: stars in sidecars that other programs read; other programs' data stays untouched."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from tests.cli.command import PROGRAM, VIEWS, environment, files_of, lines, main, rows, score
from tests.cli.conftest import photograph
from tests.other_programs import darktable_rating, exiftool_ratings, exiv2_properties, need
from tests.xmp.samples import ADOBE, DARKTABLE, ELEMENT, others, rated, values

PHOTOGRAPHS = 10


@pytest.fixture
def photos(tmp_path):
    """Ten photographs with different scores."""
    folder = tmp_path / "p"
    folder.mkdir()
    for number in range(PHOTOGRAPHS):
        photograph(folder / f"{number}.jpg", number)
    return folder


def stars(folder, photographs=None, suffix=".xmp"):
    """xmp:Rating of the sidecars, by the photograph's name, as a number."""
    names = photographs or [f"{number}.jpg" for number in range(PHOTOGRAPHS)]
    return {name: int(values((folder / f"{name}{suffix}").read_bytes())[0]) for name in names}


def by_score(table):
    """The names of the photographs in a CSV file, best first."""
    return [os.path.basename(row["path"]) for row in sorted(rows(table), key=lambda row: -float(row["mean"]))]


def run(model, folder, *options, status=0, **more):
    done = score(model, folder, *options, **more)
    assert done.returncode == status, done.stderr
    return done


def test_shares_of_the_collection_become_stars_that_other_programs_read(model, photos, tmp_path):
    done = run(model, photos, "--xmp", "--csv", tmp_path / "s.csv")
    assert "stars: five 1, four 1, three 3, two 3, one 2" in done.stderr and "sidecars: 10 written" in done.stderr
    expected = dict(zip(by_score(tmp_path / "s.csv"), (5, 4, 3, 3, 3, 2, 2, 2, 1, 1), strict=True))
    assert stars(photos) == expected
    names = list(expected)
    assert exiftool_ratings(*(photos / f"{name}.xmp" for name in names)) == list(expected.values())
    assert exiv2_properties(photos / f"{names[0]}.xmp")[:1] == ["Xmp.xmp.Rating 5"]
    assert darktable_rating(photos / names[1], photos / f"{names[1]}.xmp", tmp_path) == 4


def test_a_second_run_writes_nothing_and_another_rule_only_what_differs(model, photos, tmp_path):
    run(model, photos, "--xmp", "--csv", tmp_path / "s.csv")
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in photos.iterdir()}
    assert "sidecars: 10 as they were" in run(model, photos, "--xmp").stderr
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in photos.iterdir()} == before
    done = run(model, photos, "--xmp", "--stars", "10,10,30,30,20")
    assert "sidecars: 10 as they were" in done.stderr
    assert "sidecars: 1 as they were, 9 written" in run(model, photos, "--xmp", "--stars", "100,0,0,0,0").stderr
    assert set(stars(photos).values()) == {5}


def test_thresholds_are_of_the_score(model, photos, tmp_path):
    run(model, photos, "--csv", tmp_path / "s.csv")
    means = {os.path.basename(row["path"]): row["mean"] for row in rows(tmp_path / "s.csv")}
    ordered = sorted(means.values(), key=float, reverse=True)
    run(model, photos, "--xmp", "--stars-at", f"{ordered[0]},{ordered[2]},{ordered[5]},{ordered[8]}")
    given = stars(photos)
    assert [given[name] for name in by_score(tmp_path / "s.csv")] == [5, 4, 4, 3, 3, 3, 2, 2, 2, 1]


def test_equal_scores_get_equal_stars_of_the_middle(model, tmp_path):
    for name in ("a.png", "b.png", "c.png", "d.png"):
        photograph(tmp_path / name, 0)
    run(model, tmp_path, "--xmp", "--stars", "25,25,0,25,25")
    assert set(stars(tmp_path, ["a.png", "b.png", "c.png", "d.png"]).values()) == {4}


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--stars", "5,15,30,30,20"], "--stars needs --xmp or --embed"),
        (["--stars-at", "0.9,0.8,0.7,0.6"], "--stars-at needs --xmp or --embed"),
        (["--xmp", "--stars", "5,15,30,30,21"], "must sum to 100, got '5,15,30,30,21'"),
        (["--xmp", "--stars", "50,50"], "--stars: must be 5 shares"),
        (["--xmp", "--stars", "105,-5,0,0,0"], "must not be negative"),
        (["--xmp", "--stars", "1e999999999,0,0,0,0"], "--stars: must be 5 shares"),
        (["--xmp", "--stars-at", "0.9,0.8,0.7"], "--stars-at: must be 4 scores"),
        (["--xmp", "--stars-at", "0.6,0.7,0.8,0.9"], "each lower than the one before"),
        (["--xmp", "--stars-at", "90,80,70,60"], "must be from 1 down to 0"),
        (["--xmp", "--stars", "5,15,30,30,20", "--stars-at", "0.9,0.8,0.7,0.6"], "only one of them can be meant"),
        (["--xmp", "--xmp-names", "bridge"], "--xmp-names must be digikam or adobe, got 'bridge'"),
        (["--xmp-names", "adobe"], "--xmp-names needs --xmp"),
        (["--dry-run"], "--dry-run needs --xmp, --embed, --copy, --link or --move"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_is_scored(model, photos, options, why):
    before = files_of(photos)
    done = run(model, photos, *options, status=2)
    assert why in done.stderr and done.stderr.count("\n") == 1 and not done.stdout
    assert files_of(photos) == before


def test_a_persons_rating_stays_wherever_it_is(model, photos, tmp_path):
    """In a sidecar by either name, as an attribute or an element, as a rejection, in the photograph, given after ours."""
    run(model, photos, "--xmp", "--stars", "100,0,0,0,0")
    ours = (photos / "9.jpg.xmp").read_text()
    for number in range(PHOTOGRAPHS):
        (photos / f"{number}.jpg.xmp").unlink()
    texts = {
        "0.jpg.xmp": rated(2), "1.xmp": rated(4), "2.jpg.xmp": ELEMENT.format(stars=1), "3.jpg.xmp": rated(-1),
        "4.jpg.xmp": ours.replace(':Rating="5" dcnn', ':Rating="0" dcnn'),
        "5.jpg.xmp": ours.replace('xmp:Rating="5" dcnn', "dcnn"),
        "6.jpg.XMP": rated(3), "7.jpg.xmp": ours.replace('xmp:Rating="5"', 'xmp:Rating="4"'),
    }  # fmt: skip
    for name, text in texts.items():
        (photos / name).write_text(text)
    with Image.open(photos / "8.jpg") as image:
        image.save(photos / "8.jpg", xmp=rated(3).encode(), quality="keep")
    for names in ("digikam", "adobe"):
        before = files_of(photos)
        done = run(model, photos, "--xmp", "--xmp-names", names)
        assert "9 left alone: rated by a person" in done.stderr, done.stderr
        changed = {path for path, content in files_of(photos).items() if before.get(path) != content}
        assert changed == ({str(photos / "9.jpg.xmp")} if names == "digikam" else set())


@pytest.mark.parametrize("sample", [DARKTABLE, ADOBE, ELEMENT.format(stars=0)], ids=["darktable", "adobe", "element"])
def test_a_sidecar_keeps_all_that_it_has(model, tmp_path, sample):
    photograph(tmp_path / "a.jpg")
    sidecar = tmp_path / "a.jpg.xmp"
    sidecar.write_text(sample, encoding="utf-8")
    sidecar.chmod(0o640)
    had = [line for line in exiv2_properties(sidecar) if "Rating" not in line]
    run(model, tmp_path, "--xmp")
    text = sidecar.read_text(encoding="utf-8")
    assert values(text.removeprefix('<?xml version="1.0" encoding="UTF-8"?>\n')) == ("3", "3") and others(text) == others(
        sample
    )
    assert stat.S_IMODE(sidecar.stat().st_mode) == 0o640
    assert [line for line in exiv2_properties(sidecar) if "Rating" not in line] == had
    assert exiftool_ratings(sidecar) == [3]


def test_names_of_sidecars(model, tmp_path):
    """The chosen style, or the existing sidecar; never a sidecar that another photograph shares."""
    folder = tmp_path / "p"
    folder.mkdir()
    for name in ("alone.jpg", "two.jpg", "two.png", "raw.jpg", "has.jpg", "both.jpg"):
        photograph(folder / name, len(name))
    (folder / "raw.CR2").write_bytes(b"II*\0")
    for name in ("raw.xmp", "has.xmp", "both.xmp", "both.jpg.xmp", "two.xmp"):
        (folder / name).write_text(ADOBE)
    run(model, folder, "--xmp", "--xmp-names", "digikam")
    made = {name: "dcnnfast" in (folder / name).read_text() for name in sorted(os.listdir(folder)) if name.endswith(".xmp")}
    assert made == {
        "alone.jpg.xmp": True, "both.jpg.xmp": True, "both.xmp": False, "has.xmp": True, "raw.jpg.xmp": True, "raw.xmp": False,
        "two.jpg.xmp": True, "two.png.xmp": True, "two.xmp": False,
    }  # fmt: skip
    for name in ("alone.jpg.xmp", "raw.jpg.xmp", "two.jpg.xmp", "two.png.xmp", "two.xmp"):
        (folder / name).unlink()
    done = run(model, folder, "--xmp", "--xmp-names", "adobe", status=3)
    for name, other in (("two.jpg", "two.png"), ("two.png", "two.jpg")):
        why = f"{folder / name}: two.xmp would be the sidecar of {other} as well; --xmp-names digikam has a name for each"
        assert why in done.stderr
    assert sorted(name for name in os.listdir(folder) if name.endswith(".xmp")) == [
        "alone.xmp", "both.jpg.xmp", "both.xmp", "has.xmp", "raw.xmp",
    ]  # fmt: skip
    given = stars(folder, ["alone", "both", "has", "raw"])
    assert exiftool_ratings(*(folder / f"{name}.xmp" for name in given)) == list(given.values())


@pytest.mark.parametrize("names", ["digikam", "adobe"])
def test_a_sidecar_of_a_raw_file_is_not_that_of_what_was_made_of_it(model, tmp_path, names):
    (tmp_path / "a.CR2").write_bytes(b"II*\0")
    (tmp_path / "a.CR2.xmp").write_text(DARKTABLE)
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    (tmp_path / "b.jpg.xmp").write_text(rated(5))
    for name in ("a.CR2.jpg", "b.jpg.png"):
        photograph(tmp_path / name)
    before = files_of(tmp_path)
    done = run(
        model,
        tmp_path / "a.CR2.jpg",
        tmp_path / "b.jpg.png",
        "--xmp",
        "--xmp-names",
        names,
        status=0 if names == "digikam" else 3,
    )
    assert before.items() <= files_of(tmp_path).items()
    made = {path.name for path in tmp_path.iterdir()} - {os.path.basename(path) for path in before}
    assert made == ({"a.CR2.jpg.xmp", "b.jpg.png.xmp"} if names == "digikam" else set())
    if names == "adobe":
        assert "a.CR2.xmp would be the sidecar of a.CR2 as well" in done.stderr and "b.jpg.xmp would be" in done.stderr


def hostile(folder):
    """Sidecars that must be left alone, by name, each with its message."""
    (folder / "elsewhere").write_text(DARKTABLE)
    os.symlink("elsewhere", folder / "0.jpg.xmp")
    os.symlink("nowhere", folder / "1.jpg.xmp")
    (folder / "2.jpg.xmp").mkdir()
    with open(folder / "3.jpg.xmp", "wb") as file:
        file.truncate(100 * 2**20)
    (folder / "4.jpg.xmp").write_text('<!DOCTYPE a [<!ENTITY b "c">]>' + rated(0))
    (folder / "5.jpg.xmp").write_text(DARKTABLE[:-40])
    (folder / "6.jpg.xmp").write_text(f'<!DOCTYPE a [<!ENTITY b SYSTEM "file://{folder}/secret">]>' + rated("&b;"))
    os.mkfifo(folder / "7.jpg.xmp")
    (folder / "8.jpg.xmp").write_text(rated("five"))
    return {
        "0": "it is a link", "1": "it is a link", "2": "it is a folder", "3": "it is larger than 16 MiB", "4": "it has a DTD",
        "5": "it is no XML", "6": "it has a DTD", "7": "it is no regular file",
        "8": "xmp:Rating must be -1 or 0 to 5, got 'five'",
    }  # fmt: skip


def test_what_is_no_sidecar_is_left_alone_and_named(model, photos):
    expected = hostile(photos)
    before = {path: content for path, content in files_of(photos).items() if not path.endswith("9.jpg.xmp")}
    done = run(model, photos, "--xmp", "--stars", "100,0,0,0,0", status=3)
    for number, why in expected.items():
        assert f"error: {photos / number}.jpg.xmp: {why}" in done.stderr, (number, done.stderr)
    assert done.stderr.count("error: ") == len(expected) and "sidecars: 1 written" in done.stderr
    assert stars(photos, ["9.jpg"]) == {"9.jpg": 5}
    assert {path: content for path, content in files_of(photos).items() if not path.endswith("9.jpg.xmp")} == before
    assert os.readlink(photos / "0.jpg.xmp") == "elsewhere" and not (photos / "nowhere").exists()


def test_a_folder_that_cannot_be_written_to_is_named(model, photos):
    os.chmod(photos, 0o555)
    command = [sys.executable, "-c", PROGRAM, "score", str(photos), "--xmp", "--model", str(model), "--samples", str(VIEWS)]
    if os.geteuid() == 0:  # root ignores permissions
        need("setpriv")
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), timeout=120)
    os.chmod(photos, 0o755)
    assert done.returncode == 3 and done.stderr.count("Permission denied") == PHOTOGRAPHS, done.stderr
    assert f"error: {photos}" in done.stderr and "Traceback" not in done.stderr
    assert not [name for name in os.listdir(photos) if "xmp" in name or "partial" in name]


def test_a_dry_run_says_what_would_be_written_and_writes_nothing(model, photos, tmp_path):
    (photos / "3.jpg.xmp").write_text(DARKTABLE)
    (photos / "4.jpg.xmp").write_text(rated(2))
    before = files_of(photos)
    done = run(model, photos, "--xmp", "--dry-run", "--csv", tmp_path / "s.csv")
    assert files_of(photos) == before and len(rows(tmp_path / "s.csv")) == PHOTOGRAPHS
    said = [line for line in done.stdout.splitlines() if "of five stars" in line]
    assert "dry run, nothing was written: sidecars: 1 left alone: rated by a person, 9 written" in done.stderr
    run(model, photos, "--xmp")
    written = {f"{photos / name}.xmp: {given} of five stars" for name, given in stars(photos).items() if name != "4.jpg"}
    assert set(said) == written and len(said) == 9
    assert score(model, photos, "--xmp", "--dry-run", "--csv", "-").stdout.count("of five stars") == 0


def test_stars_are_of_the_whole_run_also_of_what_was_resumed(model, photos, tmp_path):
    for extra, files in (("csv", ["--csv", tmp_path / "s.csv"]), ("jsonl", ["--jsonl", tmp_path / "s.jsonl"])):
        half = [photos / f"{number}.jpg" for number in range(0, PHOTOGRAPHS, 2)]
        run(model, *half, *files)
        run(model, photos, *files, "--xmp", "--resume")
        resumed = stars(photos)
        for path in photos.glob("*.xmp"):
            path.unlink()
        run(model, photos, "--xmp")
        assert stars(photos) == resumed, extra
        for path in photos.glob("*.xmp"):
            path.unlink()
    assert len(lines(tmp_path / "s.jsonl")) == PHOTOGRAPHS


def test_a_run_that_did_not_score_all_gives_no_stars(model, photos, tmp_path):
    """The run was interrupted."""
    for number in range(PHOTOGRAPHS, 60):
        os.link(photos / "0.jpg", photos / f"{number}.jpg")
    table = tmp_path / "s.csv"
    process = subprocess.Popen(
        [*main(), "score", "-", "--xmp", "--csv", str(table), "--model", str(model), "--samples", str(VIEWS)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    process.stdin.write("".join(f"{photos / f'{number}.jpg'}\n" for number in range(40)))
    process.stdin.flush()  # not closed: the run must not finish before it is interrupted
    while process.poll() is None and not (table.exists() and len(table.read_text().splitlines()) > 5):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143 and "not all has been scored: no stars were written" in said, said
    assert not list(photos.glob("*.xmp"))
    shown = run(model, photos, "--xmp", "--csv", table, "--resume")
    assert "sidecars: 60 written" in shown.stderr


def test_without_lxml_the_option_is_refused_by_one_sentence(model, photos, tmp_path):
    blocked = "import sys; sys.modules['lxml'] = None; " + PROGRAM
    for arguments, what in (
        (["score", photos, "--xmp", "--model", model], "--xmp"),
        (["data", "import", "xmp", photos, tmp_path / "o.csv"], "the format xmp"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", blocked, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            env=environment(),
        )
        assert done.returncode == 2 and done.stderr == f"error: {what} needs lxml: pip install 'dcnn-fast[photos]'\n", (
            done.stderr
        )
    done = subprocess.run(
        [sys.executable, "-c", blocked, "score", str(photos), "--model", str(model), "--samples", str(VIEWS)],
        capture_output=True, text=True, check=False, env=environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_photographs_that_are_gone_or_failed_get_no_sidecar(model, photos, tmp_path):
    run(model, photos, "--csv", tmp_path / "s.csv")
    (photos / "0.jpg").unlink()
    (photos / "broken.jpg").write_bytes(b"no picture")
    done = run(model, photos, "--xmp", "--csv", tmp_path / "s.csv", "--resume", status=3)
    assert f"error: {photos / '0.jpg'}: the photograph is not there any more" in done.stderr
    assert not (photos / "0.jpg.xmp").exists() and not (photos / "broken.jpg.xmp").exists()
    assert len(list(photos.glob("*.xmp"))) == PHOTOGRAPHS - 1


def test_names_that_are_hard_to_write(model, tmp_path):
    """Bytes that are not text, a name too long for .xmp to be appended, a name with a line end."""
    folder = os.fsencode(tmp_path / "p")
    os.mkdir(folder)
    names = [b"caf\xe9.png", b"x" * 250 + b".png", b"line\nend.png", b"-dash.png", "Ä ü.png".encode()]
    for number, name in enumerate(names):
        Image.fromarray(np.full((40, 50, 3), number * 40, np.uint8)).save(
            os.path.join(folder, name)[:0] or tmp_path / "made.png"
        )
        os.rename(tmp_path / "made.png", os.path.join(folder, name))
    done = run(model, tmp_path / "p", "--xmp", status=3)
    assert done.stderr.count("error: ") == 1 and "File name too long" in done.stderr, done.stderr
    assert {name + b".xmp" for name in names if len(name) < 250} == {
        name for name in os.listdir(folder) if name.endswith(b".xmp")
    }


def test_a_model_of_other_labels_gives_no_stars(tmp_path, photos):
    from dcnn_fast import save_model  # noqa: PLC0415
    from tests import small  # noqa: PLC0415

    save_model(small.model(labels=("a", "b", "c")), tmp_path / "three.safetensors")
    done = run(tmp_path / "three.safetensors", photos, "--xmp", status=2)
    assert "need a model of two labels" in done.stderr and not list(photos.glob("*.xmp"))
