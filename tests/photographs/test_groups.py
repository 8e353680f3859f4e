"""Photographs of the same scene are joined, others are not, whatever their order; and the choice of the one to keep."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy.fft import dct

from dcnn_fast.photographs import SAME_SCORE, Look, Member, best_of, groups_of, look_at
from dcnn_fast.photographs.groups import BURST_SECONDS, seconds_of
from dcnn_fast.photographs.look import look_from, perceptual_hash
from tests.photographs.scenes import pixels_of, scene


def member(image, order="a", **more):
    return Member(look_at(pixels_of(image)), image.width, image.height, order, **more)


def cropped(image, share):
    width, height = image.size
    return image.crop((round(share * width), round(share * height), round((1 - share) * width), round((1 - share) * height)))


def moved(image, share):
    return image.crop((round(share * image.width), round(share * image.height), image.width, image.height))


def as_jpeg(image, quality):
    image.save(buffer := io.BytesIO(), "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


CHANGES = {
    "re-encoded": lambda image: as_jpeg(image, 40),
    "resized": lambda image: image.resize((image.width // 2, image.height // 2)),
    "slightly cropped": lambda image: cropped(image, 0.02),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.7),
}


@pytest.mark.parametrize("seed", range(4))
def test_the_hash_is_a_cosine_transform_against_its_median(seed):
    """The algorithm of imagehash's phash, with scipy's transform."""
    image = scene(seed)
    grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.LANCZOS), np.float64)
    lowest = dct(dct(grey, axis=0), axis=1)[:8, :8]
    differ = np.unpackbits(np.frombuffer(bytes.fromhex(perceptual_hash(image)), np.uint8)).reshape(8, 8) != (
        lowest > np.median(lowest)
    )
    assert differ.sum() <= 1  # the median lies between two coefficients: rounding may move one next to it


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_the_same_photograph(change, seed):
    image = scene(seed)
    assert groups_of([member(image), member(CHANGES[change](image), "b")]) == [[0, 1]]


def test_different_photographs_are_not_joined():
    assert groups_of([member(scene(seed), str(seed)) for seed in range(60)]) == []


def test_real_photographs_are_joined_with_their_copies_alone(data_dir):
    """The rates on all of them are in docs/rows.md."""
    members = []
    paths = sorted((data_dir / "photos").glob("kodak24*"))
    for path in paths:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        members += [member(image, path.name), member(CHANGES["slightly cropped"](as_jpeg(image, 50)), path.name + "b")]
    assert len(paths) == 24
    assert groups_of(members) == [[place, place + 1] for place in range(0, 48, 2)]


def test_shots_of_a_burst_are_joined_by_time_and_camera_and_only_by_both():
    apart, bits = scene(3), []
    for share in np.arange(0.03, 0.15, 0.005):  # the distance that the camera must move until a copy is no longer recognised
        if not groups_of([member(apart), member(moved(apart, share), "b")]):
            bits.append(share)
    next_one = moved(apart, bits[0])
    first = member(apart, taken="2024-05-01T12:00:00.5", camera="X")
    later = "2024-05-01T12:00:07+02:00"
    assert groups_of([first, member(next_one, "b", taken=later, camera="X")]) == [[0, 1]]
    assert not groups_of([first, member(next_one, "b", taken=later, camera="Y")])
    assert not groups_of([first, member(next_one, "b", taken="2024-05-01T12:00:11", camera="X")])
    assert not groups_of([member(apart, camera="X"), member(next_one, "b", camera="X")])
    assert not groups_of([replace(first, camera=None), member(next_one, "b", taken=later)])
    assert not groups_of([first, member(scene(4), "b", taken=later, camera="X")])
    assert BURST_SECONDS == 10


def test_groups_depend_on_no_order_and_begin_with_the_first_taken():
    image = scene(0)
    three = [
        member(image, "late", taken="2024-05-01T12:00:09", camera="X"),
        member(as_jpeg(image, 60), "early", taken="2024-05-01T12:00:01", camera="X"),
        member(as_jpeg(image, 70), "unknown"),
    ]
    others = [member(scene(seed), f"o{seed}") for seed in (1, 2)]
    twos = [member(as_jpeg(scene(1), 60), "zz")]
    found = set()
    for order in permutations([*three, *others, *twos]):
        found.add(tuple(tuple(order[place].order for place in group) for group in groups_of(order)))
    assert found == {(("early", "late", "unknown"), ("o1", "zz"))}


def test_a_black_picture_is_like_no_other():
    black = Image.new("RGB", (300, 200))
    assert not groups_of([member(black), member(black, "b"), member(Image.new("RGB", (300, 200), (0, 0, 4)), "c")])
    assert not groups_of([member(black)]) and not groups_of([])


def test_many_equal_photographs_are_one_group_in_bounded_work():
    one = member(scene(0))
    many = [replace(one, order=f"{number:05}", taken="2024-05-01T12:00:00", camera="X") for number in range(3000)]
    assert groups_of(many) == [list(range(3000))]


LOOK = Look("0" * 16, "0" * 384, 0.5)
BASE = Member(LOOK, 300, 200, "a", mean=0.5, std=0.0)


def sharper(member, by, **more):
    return replace(member, look=replace(member.look, sharpness=member.look.sharpness + by), **more)


@pytest.mark.parametrize(
    ("group", "best"),
    [
        ([BASE, replace(BASE, order="b", mean=0.5 + 2 * SAME_SCORE)], 1),
        ([sharper(BASE, 0.2), replace(BASE, order="b", mean=0.5 + 0.9 * SAME_SCORE)], 0),  # equally good: the sharper one
        ([sharper(BASE, 0.2), replace(BASE, order="b", mean=0.5 + 2 * SAME_SCORE)], 1),
        ([sharper(BASE, 0.2, std=0.2), replace(BASE, order="b", mean=0.65)], 0),  # its own spread is greater
        ([sharper(BASE, 0.2), replace(BASE, order="b", mean=0.65, std=0.2)], 0),
        ([BASE, sharper(BASE, 0.2, order="b", mean=0.5 - 0.9 * SAME_SCORE)], 1),
        ([BASE, replace(BASE, order="b", width=600, height=400)], 1),
        ([replace(BASE, order="b"), BASE], 1),
        ([replace(BASE, mean=None, std=None), sharper(BASE, 0.1, mean=None, std=None)], 1),
    ],
)
def test_the_best_is_the_highest_and_among_equals_the_sharpest(group, best):
    assert best_of(group) == best


def test_a_chain_of_nearly_equal_scores_does_not_lead_down():
    falling = [sharper(BASE, 0.1 * n, order=str(n), mean=0.5 - 0.8 * SAME_SCORE * n) for n in range(4)]
    assert best_of(falling) == 1  # 2 and 3 are sharper, but lower than the best by more than the spread


@pytest.mark.parametrize("text", [None, "", "yesterday", "2024-13-01T00:00:00", "2024-05-01", "9999-99-99T99:99:99"])
def test_what_is_no_time_has_no_seconds(text):
    assert seconds_of(text) is None


WHOLE = {"bits": "0" * 16, "thumbnail": "0" * 384, "sharpness": 1}


@pytest.mark.parametrize(
    "value",
    [
        None, [], {}, {"bits": "0" * 16, "thumbnail": "0" * 384}, {**WHOLE, "bits": "0" * 15 + "g"}, {**WHOLE, "bits": 0},
        {**WHOLE, "thumbnail": "0" * 383}, {**WHOLE, "sharpness": 2}, {**WHOLE, "sharpness": "1"},
    ],
)  # fmt: skip
def test_what_is_no_look_is_refused(value):
    with pytest.raises(ValueError, match="look must be|of a look must be"):
        look_from(value)
