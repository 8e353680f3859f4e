"""Sets with three parts: validation photographs serve nothing else, whether a file states the part or a share is drawn."""

from __future__ import annotations

import csv
import os
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dcnn_fast.data import by_category, load_set, synthetic
from dcnn_fast.data.importing import convert
from dcnn_fast.data.label_names import with_labels
from dcnn_fast.data.names import LISTS
from dcnn_fast.data.splits import drawn

COUNT = 40
MANY = settings(max_examples=60, deadline=None, derandomize=True)
SPELT = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def keys(examples):
    return [example.key for example in examples]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    for i in range(COUNT):
        Image.fromarray(np.full((6, 7, 3), 6 * i, np.uint8)).save(folder / f"{i}.png")
    return folder


def table(folder, head, rows, name="set.csv"):
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])
    return folder / name


@st.composite
def label_sets(draw):
    """Rows of a set: a rating or a label for each photograph, perhaps a group, a category, a part and a histogram."""
    count = draw(st.integers(12, COUNT))
    seed = np.random.default_rng(draw(st.integers(0, 10_000)))
    rated, grouped, parted = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    head = ["path", "rating" if rated else "label"]
    head += ["group"] * grouped + ["split"] * parted
    rows = []
    for i in range(count):
        part = "train" if i < 4 else str(seed.choice(list(SPELT)))
        label = f"{seed.integers(1, 100) / 10 + i / 1000:.3f}" if rated else ("low", "high")[i % 2]
        rows.append([f"{i}.png", label, *([f"g{seed.integers(5)}"] * grouped), *([part] * parted)])
    return head, rows


@MANY
@given(made=label_sets(), share=st.sampled_from((None, 0.1, 0.25, 0.5)), seed=st.integers(0, 3), shuffle=st.randoms())
def test_each_photograph_is_in_the_part_that_is_said_or_drawn(photographs, made, share, seed, shuffle):
    """A plain statement of a set's parts, of its labels' threshold and of the reasons why a share cannot be drawn."""
    head, rows = made
    own = "split" in head
    said = {row[0]: SPELT[row[-1]] for row in rows} if own else {}
    options = {"val": share, **({"seed": seed} if share else {}), **({} if own else {"unsplit": "train"})}
    path = table(photographs, head, rows)
    groups = {row[0]: row[head.index("group")] if "group" in head else row[0] for row in rows}
    refused = share and "val" in said.values()
    try:
        data = load_set(path, **options)
    except ValueError as error:
        text = str(error)
        alone = len({groups[key] for key in groups if said.get(key, "train") == "train"}) < 8
        assert ("part for validation of its own" in text) if refused else ("val must be a share that leaves" in text and alone)
        return
    assert not refused
    assert sorted(keys(data.examples)) == sorted(row[0] for row in rows) and set(data.parts) <= {"train", "val", "test"}
    if own and not share:
        assert {key: part for part, examples in data.parts.items() for key in keys(examples)} == said
    assert not own or set(keys(data.test)) == {key for key, part in said.items() if part == "test"}
    if "rating" in head:
        ratings = {row[0]: float(row[1]) for row in rows}
        assert data.threshold == np.median([ratings[key] for key in keys(data.train)])
        assert all(example.label == (ratings[example.key] > data.threshold) for example in data.examples)
    if share is None:
        return
    assert not {groups[key] for key in keys(data.val)} & {groups[key] for key in keys(data.train)}
    assert any(f"{len(data.val)} of {len(data.train) + len(data.val)} listed photographs" in note for note in data.notes)
    if "group" not in head and "label" in head:
        of_val, of_both = (Counter(e.label for e in part) for part in (data.val, (*data.train, *data.val)))
        assert all(abs(of_val[label] - share * of_both[label]) <= 0.5 for label in of_both)
    shuffle.shuffle(rows)
    again = load_set(table(photographs, head, rows), **options)
    assert set(keys(again.val)) == set(keys(data.val)) or "group" in head or "rating" in head


def test_a_drawn_part_depends_on_the_seed_and_is_never_empty():
    labels, names = [0, 1] * 30, list(map(str, range(60)))
    found = [drawn(labels, [""] * 60, names, share=0.2, seed=seed) for seed in range(3)]
    assert all(mask.sum() == 12 and sum(labels[i] for i in np.flatnonzero(mask)) == 6 for mask in found)
    assert (found[0] == drawn(labels, [""] * 60, names, share=0.2, seed=0)).all() and (found[0] != found[1]).any()
    for groups, share in ((["a"] * 60, 0.4), ([""] * 60, 0.001)):
        with pytest.raises(ValueError, match="val must be a share that leaves photographs on both sides"):
            drawn(labels, groups, names, share=share, seed=0)


@pytest.mark.parametrize("kind", ["ava", "ava-style", "iad", "folders", "csv", "histograms"])
def test_every_kind_of_set_gives_a_share(tmp_path, kind):
    path = synthetic.make(kind.removesuffix("-style"), tmp_path / "set", images=80, sides=(20, 30))
    of = None if kind == "histograms" else kind
    plain, parted = load_set(path, of), load_set(path, of, val=0.2)
    assert set(keys(parted.train)) | set(keys(parted.val)) == set(keys(plain.train))
    assert not set(keys(parted.train)) & set(keys(parted.val)) and keys(parted.test) == keys(plain.test)
    assert abs(len(parted.val) - 0.2 * len(plain.train)) <= (7 if kind == "ava-style" else 3)
    assert load_set(path, of, val=0.2) == parted != load_set(path, of, val=0.2, seed=1)
    groups = [{example.group for example in part} - {""} for part in (parted.train, parted.val)]
    assert not groups[0] & groups[1]
    for share, message in ((0, "above 0 and below 1, got 0"), (1.0, "below 1"), (float("nan"), "below 1, got nan")):
        with pytest.raises(ValueError, match=message):
            load_set(path, of, val=share)


def test_lists_and_folders_may_have_a_part_for_validation(tmp_path):
    ava = synthetic.make("ava", tmp_path / "ava", images=64, sides=(20, 30))
    plain = load_set(ava)
    chosen = keys(plain.train)[:7]
    (ava / LISTS / "generic_val.jpgl").write_text("\n".join(chosen) + "\n")
    data = load_set(ava, delta=1)
    assert keys(data.val) == chosen and not set(chosen) & set(keys(data.train)) and data.test == plain.test
    with pytest.raises(ValueError, match="a part for validation of its own"):
        load_set(ava, val=0.1)
    (ava / LISTS / "generic_val.jpgl").write_text(keys(plain.test)[0] + "\n")
    with pytest.raises(ValueError, match="validation and test must not share photographs"):
        load_set(ava)

    folders = synthetic.make("folders", tmp_path / "folders", images=64, sides=(20, 30))
    (folders / "validation").mkdir()
    for label in ("low", "high"):
        (folders / "validation" / label).mkdir()
        for path in sorted((folders / "train" / label).iterdir())[:3]:
            path.rename(folders / "validation" / label / path.name)
    data = load_set(folders)
    assert Counter(e.label for e in data.val) == {0: 3, 1: 3} and all(key.startswith("validation/") for key in keys(data.val))
    rows = convert(folders)[1]
    assert Counter(row[2] for row in rows)["val"] == 6
    os.rename(folders / "validation" / "low", folders / "validation" / "poor")
    with pytest.raises(ValueError, match="validation must have the labels of train, got poor too"):
        load_set(folders)
    (folders / "valid").mkdir()
    with pytest.raises(ValueError, match="must have one folder for validation, got valid, validation"):
        load_set(folders)


@pytest.mark.parametrize("parts", [("train", "val"), ("train", "test"), ("val", "test")])
def test_no_two_parts_share_a_photograph(photographs, parts):
    rows = [(f"{i}.png", i % 2, ("train", "val", "test")[i % 3]) for i in range(12)]
    os.link(photographs / "30.png", photographs / f"again-{'-'.join(parts)}.png")
    rows += [("30.png", 1, parts[0]), (f"again-{'-'.join(parts)}.png", 1, parts[1])]
    path = table(photographs, ("path", "label", "split"), rows)
    words = {"train": "training", "val": "validation", "test": "test"}
    with pytest.raises(ValueError, match=f"{words[parts[0]]} and {words[parts[1]]} must not share photographs"):
        load_set(path, positive="1")


def test_labels_of_a_kind_are_given_to_every_part(tmp_path):
    path = synthetic.make("csv", tmp_path / "set", images=96, sides=(20, 30))
    data = load_set(path, val=0.25)
    shown = by_category(data)
    assert len(shown.val) == len(data.val) and all(shown.labels[e.label] == e.category for e in shown.val)
    turned = with_labels(data, ("high", "low"))
    assert [1 - e.label for e in turned.val] == [e.label for e in data.val]
