"""Labels that cannot lie: messages of `data check`, `train`, `adapt` and `evaluate` on sets that would be measured wrongly."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from dcnn_fast import save_model
from dcnn_fast.data import load_set, synthetic
from dcnn_fast.nets import Model, build, load_model
from tests import small
from tests.cli.command import run

SIZES = ("--net", "scnn", "--view", "warp", "--plane", 40, "--window", 32, "--filters", 0.125, "--fc", "16,8", "--batch", 16)
ONE = ("--epochs", 1)
QUICK = ("--samples", 1, "--resamples", 0)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Forty photographs below img, and an untrained model."""
    folder = tmp_path_factory.mktemp("labels")
    (folder / "img").mkdir()
    for i in range(40):
        pixels = np.random.default_rng(i).integers(0, 256, (34, 40, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "img" / f"{i}.png")
    save_model(Model(build(small.network(), seed=1)), folder / "m.safetensors")
    return folder


def table(place, name, head, rows):
    with (place / name).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head.split(","), *rows])
    return place / name


def rated(place, name, rating, numbers=range(30)):
    return table(place, name, "path,rating", [(f"img/{i}.png", rating(i)) for i in numbers])


def parted(place, name, rating, test, numbers=range(30)):
    rows = [(f"img/{i}.png", rating(i), "test" if test(i) else "train") for i in numbers]
    return table(place, name, "path,rating,split", rows)


def labelled(place, name, label, numbers=range(30)):
    return table(place, name, "path,label", [(f"img/{i}.png", label(i)) for i in numbers])


def refused(message, *arguments, cwd=None):
    """Check that the command exits with status 2 and one line of error, and creates nothing."""
    out = cwd / "refused"
    options = ("--out", out) if arguments[0] in ("train", "adapt") else ()
    found = run(*arguments, *options, cwd=cwd)
    assert found.returncode == 2, found.stdout + found.stderr
    assert message in found.stderr and found.stderr.count("error: ") == 1 and not out.exists(), found.stderr


def measured(place, *arguments):
    """The output of `evaluate`, and its measures."""
    found = run("evaluate", *arguments, *QUICK, "--json", place / "o.json", "--overwrite", cwd=place)
    assert found.returncode == 0, found.stderr
    return found.stderr, next(iter(json.loads((place / "o.json").read_text())["models"].values()))


def test_a_set_that_nothing_can_be_learnt_from_is_an_error(place):
    """Ratings whose median is their maximum, ratings that are all held out, and labels with only one in training."""
    highest = rated(place, "highest.csv", lambda i: 3 if i % 3 == 0 else 5)
    held_out = parted(place, "held_out.csv", lambda i: i % 5, lambda _: True)
    rows = [(f"img/{i}.png", "high" if i % 4 == 0 else "low", "test" if i % 4 == 0 else "train") for i in range(30)]
    apart = table(place, "apart.csv", "path,label,split", rows)
    for path, message in (
        (
            highest,
            "photographs to train on must have two labels or more, got 24, all low (a rating above 5 is high; --threshold",
        ),
        (held_out, "threshold must say which ratings are high, as no row to train on has a median; got none"),
        (apart, "photographs to train on must have two labels or more, got 22, all low"),
    ):
        refused(message, "data", "check", path, cwd=place)
        refused(message, "train", path, *SIZES, *ONE, cwd=place)
    refused(message, "adapt", place / "m.safetensors", apart, *ONE, cwd=place)
    refused("there must be photographs to train on, got none and 30", "train", held_out, "--threshold", 2, *SIZES, cwd=place)
    assert run("data", "check", highest, "--threshold", 4).returncode == 0
    for limit in ("nan", "inf"):
        refused("threshold must be finite", "data", "check", highest, "--threshold", limit, cwd=place)


def test_a_photograph_of_two_names_is_never_in_training_and_test(place):
    for other in ("./img/1.png", "img/../img/1.png", "img//1.png"):
        rows = [("img/1.png", 2, "train"), (other, 2, "test"), *((f"img/{i}.png", i % 5, "train") for i in range(2, 20))]
        path = table(place, "twice.csv", "path,rating,split", rows)
        refused(f"row 3 must name a photograph that no other row names, got '{other}'", "data", "check", path, cwd=place)
    (place / "link.png").symlink_to("img/1.png")
    shutil.rmtree(place / "linked", ignore_errors=True)
    (place / "linked").symlink_to("img")
    for other in ("link.png", "linked/1.png", str(place / "img" / "1.png")):
        rows[1] = (other, 2, "test")
        path = table(place, "linked.csv", "path,rating,split", rows)
        message = "training and test must not share photographs: the same photograph is in training and test: 'img/1.png' and "
        refused(message, "data", "check", path, cwd=place)
    refused(message, "train", path, *SIZES, cwd=place)
    refused(message, "evaluate", place / "m.safetensors", path, cwd=place)


def test_equal_pixels_are_found_when_photographs_are_read(place):
    shutil.copy(place / "img" / "1.png", place / "copy.png")
    with Image.open(place / "img" / "2.png") as picture:
        picture.save(place / "again.png", compress_level=1)  # the same pixels in other bytes
    rows = [(f"img/{i}.png", i % 5, "train") for i in range(20)]
    path = table(place, "copies.csv", "path,rating,split", [*rows, ("copy.png", 1, "test"), ("again.png", 2, "test")])
    assert run("data", "check", path).returncode == 0
    found = run("data", "check", path, "--decode")
    assert found.returncode == 1
    assert "the same photograph is in training and test: 'img/1.png' and 'copy.png'\n" in found.stdout
    assert "the same photograph is in training and test: 'img/2.png' and 'again.png'\n" in found.stdout
    path = table(place, "copies.csv", "path,rating,split", [*rows, ("copy.png", 4, "train"), ("again.png", 2, "train")])
    found = run("data", "check", path, "--decode")
    assert found.returncode == 1 and found.stdout.count("the same photograph") == 1
    assert "is twice in one part, as low and as high: 'img/1.png' and 'copy.png'" in found.stdout


def test_the_better_label_is_last_and_said_so(place):
    path = labelled(place, "named.csv", lambda i: "High" if i % 2 else "Low")
    found = run("data", "check", path)
    assert (
        found.returncode == 0 and "Low, High: scores, AUC and correlations are those of High (by their names)" in found.stdout
    )
    trained = run("train", path, *SIZES, *ONE, "--out", place / "named")
    assert trained.returncode == 0 and "those of High (by their names)" in trained.stderr
    assert load_model(place / "named" / "last.safetensors").spec.labels == ("Low", "High")
    numbers = labelled(place, "numbers.csv", lambda i: 1 + i % 2)
    assert "those of 2 (the last by name; --positive NAME says which" in run("data", "check", numbers).stdout
    assert "labels 2, 1: scores, AUC and correlations are those of 1 (as told)" in run(
        "data", "check", numbers, "--positive", 1
    ).stdout  # fmt: skip
    refused("positive must be one of two labels, got '3' of 1, 2", "data", "check", numbers, "--positive", 3, cwd=place)
    both = labelled(place, "both.csv", lambda i: ("High", "high", "low")[i % 3])
    refused("labels must differ in more than their writing, got High, high", "data", "check", both, cwd=place)


def test_folders_have_the_better_label_last_too(place):
    for i in range(20):
        folder = place / "folders" / ("Good" if i % 2 else "Poor")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(place / "img" / f"{i}.png", folder)
    assert load_set(place / "folders").labels == ("Poor", "Good")
    assert load_set(place / "folders", positive="Poor").labels == ("Good", "Poor")
    assert "Poor, Good: scores, AUC and correlations are those of Good" in run("data", "check", place / "folders").stdout


def test_the_parts_of_a_set_are_counted_by_check(place):
    """Sizes and classes of all three parts, stated or drawn, and a photograph that two of them share."""
    rows = [(f"img/{i}.png", i % 5, ("train", "train", "val", "test")[i % 4], f"g{i % 4}") for i in range(32)]
    path = table(place, "three.csv", "path,rating,split,group", rows)
    found = run("data", "check", path)
    lines = [line.split() for line in found.stdout.splitlines()]
    assert found.returncode == 0 and ["label", "train", "val", "test"] in lines and ["all", "16", "8", "8"] in lines
    high = [sum(row[1] > 2 for row in rows if row[2] == part) for part in ("train", "val", "test")]
    assert ["high", *map(str, high)] in lines and "a rating above 2 is high (the median of the training part)" in found.stdout
    refused(
        "val must not be given for a set with a part for validation of its own", "data", "check", path, "--val", 0.2, cwd=place
    )
    plain = rated(place, "plain.csv", lambda i: i % 7 + i / 100)
    drawn = run("data", "check", plain, "--val", 0.25, "--split-seed", 3)
    assert drawn.returncode == 0 and "6 of 24 listed photographs to train on are drawn for validation" in drawn.stdout
    assert ["all", "18", "6", "6"] in [line.split() for line in drawn.stdout.splitlines()]
    shutil.copy(place / "img" / "2.png", place / "twin.png")
    twins = table(place, "twins.csv", "path,rating,split", [*(row[:3] for row in rows), ("twin.png", 2, "test")])
    found = run("data", "check", twins, "--decode")
    assert found.returncode == 1 and "is in validation and test: 'img/2.png' and 'twin.png'" in found.stdout


def test_folders_of_parts_are_no_labels(place, tmp_path):
    for part in ("Train", "val"):
        (tmp_path / "set" / part).mkdir(parents=True)
        for i in range(10):
            shutil.copy(place / "img" / f"{i}.png", tmp_path / "set" / part)
    message = "must have both train and test, or folders of labels alone, got Train, val"
    refused(message, "data", "check", tmp_path / "set", cwd=tmp_path)
    path = synthetic.make("folders", tmp_path / "folders", images=64, sides=(8, 9))
    (path / "val").mkdir()
    (path / "extra").mkdir()
    found = run("data", "check", path)
    assert found.returncode == 0 and "not used: extra, beside train and val and test" in found.stdout
    assert "val has no photographs" in found.stdout
    refused("--partial must not be given for a set of kind folders", "data", "check", path, "--partial", cwd=tmp_path)


@pytest.mark.parametrize("model", ["m.safetensors", "shipped"])
def test_labels_of_numbers_are_a_models_when_told(place, model):
    path = labelled(place, "zero.csv", lambda i: int(i < 3), range(8))
    refused("labels must be the data's, 0, 1; got low, high; --positive NAME says which", "evaluate", model, path, cwd=place)
    said, one = measured(place, model, path, "--positive", 1)
    assert "0 and 1 of the data are low and high of the model" in said
    _, zero = measured(place, model, path, "--positive", 0)
    assert one["auc"] == pytest.approx(1 - zero["auc"]) and one["auc"] != 0.5
    _, named = measured(place, model, labelled(place, "words.csv", lambda i: ("LOW", "High")[i < 3], range(8)))
    assert named == one


def test_a_model_is_adapted_to_labels_of_numbers_when_told(place):
    path = labelled(place, "zero.csv", lambda i: i % 2)
    arguments = ("adapt", place / "m.safetensors", path, *ONE)
    refused("labels must be the data's, 0, 1; got low, high; --positive NAME says which", *arguments, cwd=place)
    found = run(*arguments, "--positive", 0, "--out", place / "adapted")
    assert found.returncode == 0, found.stderr
    assert "1 and 0 of the data are low and high of the model" in found.stderr
    assert load_model(place / "adapted" / "last.safetensors").spec.labels == ("low", "high")


def test_options_that_change_nothing_are_refused(place, tmp_path):
    ava = synthetic.make("ava", tmp_path / "ava", images=64, sides=(8, 9))
    folders = synthetic.make("folders", tmp_path / "folders", images=64, sides=(8, 9))
    iad = synthetic.make("iad", tmp_path / "iad", images=64, sides=(8, 9))
    own = parted(place, "own.csv", lambda i: i % 5, lambda i: i % 4 == 0)
    words = labelled(place, "words.csv", lambda i: "high" if i % 2 else "low")
    ratings = rated(place, "ratings.csv", lambda i: i % 5)
    for path, option, value, why in (
        (ava, "--fold", 0, "fold must not be given for a set of kind ava"),
        (ava, "--folds", 5, "folds must not be given for a set of kind ava"),
        (ava, "--split-seed", 0, "seed must not be given for a set of kind ava"),
        (ava, "--threshold", 5, "threshold must not be given for a set of kind ava"),
        (ava, "--positive", "low", "positive must not be given for a set of kind ava"),
        (folders, "--fold", 0, "fold must not be given for a set with a split of its own"),
        (folders, "--threshold", 3, "threshold must not be given for a set of kind folders"),
        (iad, "--threshold", 3, "threshold must not be given for a set of kind iad"),
        (own, "--fold", 0, "fold must not be given for a set with a split of its own"),
        (own, "--split-seed", 3, "seed must not be given for a set with a split of its own"),
        (words, "--threshold", 3, "threshold must not be given for a set with a column of labels"),
        (ratings, "--positive", "high", "positive must not be given for a set without a column of labels"),
    ):
        refused(why, "train", path, *SIZES, option, value, cwd=place)
    refused(why, "evaluate", place / "m.safetensors", ratings, "--positive", "high", cwd=place)
    for option, value in (("--threshold", 3), ("--positive", "animal")):
        why = f"{option[2:]} must not be given for labels by category"
        refused(why, "train", synthetic_csv(tmp_path), "--by", "category", *SIZES, option, value, cwd=place)
    for option, value in (("--threshold", 3), ("--fold", 0)):
        refused(f"{option} must not be given for --tune ratings", "adapt", "shipped", ratings, option, value, cwd=place)


def synthetic_csv(folder):
    path = folder / "csv"
    return path / "ratings.csv" if path.exists() else synthetic.make("csv", path, images=64, sides=(8, 9))


@pytest.fixture(scope="module")
def trained(place):
    """A model trained on four fifths of thirty photographs, with their training part's median as threshold."""
    path = rated(place, "learnt.csv", lambda i: i % 5)
    found = run("train", path, *SIZES, *ONE, "--out", place / "run", "--fold", 2)
    assert found.returncode == 0, found.stderr
    return place / "run" / "last.safetensors", path


def test_a_held_out_file_is_measured_whole_by_the_models_threshold(place, trained):
    model, path = trained
    limit = load_set(path, fold=2).threshold
    held_out = rated(place, "others.csv", lambda i: i % 3 + 1.5, range(30, 40))  # their own median differs
    said, found = measured(place, model, held_out)
    assert found["count"] == 10 and f"a rating above {limit:g} is high" in said
    assert f"{limit:g} is the threshold that the model learnt with" in said
    high = sum(i % 3 + 1.5 > limit for i in range(30, 40))
    assert [sum(row) for row in found["confusion"]] == [10 - high, high] and 0 < high < 10
    _, other = measured(place, model, held_out, "--threshold", 3)
    assert sum(other["confusion"][1]) == sum(i % 3 + 1.5 > 3 for i in range(30, 40)) != high
    said, own = measured(place, "m.safetensors", held_out)  # this model states no threshold
    assert own["count"] == 10 and "(the median of the whole set)" in said
    marked = parted(place, "marked.csv", lambda i: i % 3 + 1.5, lambda _: True, range(30, 40))
    assert measured(place, model, marked)[1] == found


def test_what_a_model_has_learnt_from_is_left_out_or_told(place, trained):
    model, path = trained
    said, found = measured(place, model, path)
    assert found["count"] == 6 and "24 of 30 photographs are some that a model has learnt from and are left out" in said
    assert measured(place, model, path, "--fold", 2)[1] == found
    said, other = measured(place, model, path, "--fold", 0)
    assert other["count"] == 6 and "photographs are some that a model has learnt from\n" in said
    assert measured(place, model, path, "--split", "all")[1]["count"] == 30
    only = rated(place, "only.csv", lambda i: i % 5, [int(e.key[4:-4]) for e in load_set(path, fold=2).train[:10]])
    refused("10 of 10 photographs are some that a model has learnt from: nothing is left", "evaluate", model, only, cwd=place)
    renamed = rated(place, "renamed.csv", lambda i: i % 5 + 0.25, range(30))  # with other labels it is another set
    assert measured(place, model, renamed)[1]["count"] == 30
    others = rated(place, "later.csv", lambda i: i % 3 + 1.5, range(30, 40))
    adapted = run("adapt", model, others, "--folds", 2, "--out", place / "later", *ONE)
    assert adapted.returncode == 0, adapted.stderr
    assert measured(place, place / "later" / "last.safetensors", path)[1]["count"] == 6  # the first training's are left out too
    assert measured(place, place / "later" / "last.safetensors", others)[1]["count"] == 5


def test_models_of_two_thresholds_are_not_measured_by_one(place, trained):
    path = rated(place, "higher.csv", lambda i: i % 5 + 1)
    assert run("train", path, *SIZES, *ONE, "--out", place / "higher").returncode == 0
    both = (trained[0], place / "higher" / "last.safetensors", rated(place, "others.csv", lambda i: i % 3 + 1.5, range(30, 40)))
    refused("models must have learnt with one threshold, got run/last with 2, higher/last with 3", "evaluate", *both, cwd=place)
    assert run("evaluate", *both, "--threshold", 2, *QUICK, cwd=place).returncode == 0


def test_contradictions_are_noted(place):
    votes = [",".join("9" if k == i % 10 else "0" for k in range(10)).split(",") for i in range(30)]
    head = "path,rating," + ",".join(f"r{i}" for i in range(1, 11))
    rows = [(f"img/{i}.png", 9 if i == 4 else i % 10 + 1, *votes[i]) for i in range(30)]
    path = table(place, "contradiction.csv", head, rows)
    note = "1 of 30 ratings, which count, are contradicted by the votes beside them: row 6 has 9 and votes of the mean 5"
    assert note in run("data", "check", path).stdout
    assert note in measured(place, "m.safetensors", path)[0]
    rows = [(f"img/{i}.png", "high" if i % 5 < 2 else "low", i % 5) for i in range(30)]
    turned = table(place, "turned.csv", "path,label,rating", rows)
    note = "photographs that are high have the lower mean rating, 0.5 against 3"
    assert note in run("data", "check", turned).stdout


def test_a_path_of_another_system_is_named_with_its_row(place):
    for written, why in (
        ("img\\{}.png", "as Windows writes paths"),
        ("file:///photos/{}.png", "an address"),
    ):
        rows = [("img/0.png", 1), *((written.format(i), i % 5) for i in range(1, 30))]
        path = table(place, "elsewhere.csv", "path,rating", rows)
        refused(f"row 3 must name a photograph by its path, got {written.format(1)!r}, {why}", "data", "check", path, cwd=place)
        refused("row 3 must name a photograph by its path", "data", "import", path, "out.csv", cwd=place)


def test_an_import_says_what_it_matched(place):
    head = "image_id," + ",".join(f"score{i}" for i in range(2, 12)) + ",tag1,tag2,tag3"
    (place / "687050.jpg").write_bytes((place / "img" / "0.png").read_bytes())
    (place / "scores.csv").write_text(f"{head}\n687050,1,5,6,51,117,78,29,10,6,1,12,30,873\n")
    found = run("data", "import", "scores.csv", "imported.csv", "--overwrite", cwd=place)
    assert found.returncode == 0, found.stderr
    assert (
        "image_id names the photographs; score2 to score11 are the votes for 1 to 10; not used: tag1, tag2, tag3"
        in found.stderr
    )
    with (place / "imported.csv").open() as file:
        assert list(csv.reader(file))[1] == ["687050.jpg", *(f"{votes}.0" for votes in (1, 5, 6, 51, 117, 78, 29, 10, 6, 1))]
    (place / "means.csv").write_text("image,mean,MOS\n687050,3.5,4.5\nnowhere.jpg,1,2\n")
    refused("must have one column for the rating, got mean, MOS", "data", "import", "means.csv", "means-out.csv", cwd=place)
    told = run("data", "import", "means.csv", "means-out.csv", "--field", "rating=MOS", cwd=place)
    assert told.returncode == 0 and "1 of 2 photographs are not there, 'nowhere.jpg' first" in told.stderr
    assert (place / "means-out.csv").read_text().splitlines()[1] == "687050.jpg,4.5,means.csv"
    again = run("data", "import", "means.csv", "means-out.csv", "--field", "rating=mean", "--overwrite", cwd=place)
    assert again.returncode == 0 and "687050.jpg,3.5" in (place / "means-out.csv").read_text()
    refused("columns have no place in the format folders", "data", "import", "img", "x.csv", "--field", "rating=a", cwd=place)
