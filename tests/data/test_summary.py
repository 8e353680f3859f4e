"""A photograph's digest and reduced picture in one pass: equal to those computed apart, for any orientation and size."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from dcnn_fast import Scorer, engine
from dcnn_fast.data import reading, reduction, summary, upright

ORIENTATIONS = range(1, 9)
SIZES = [(1, 1), (2, 3), (7, 5), (16, 16), (17, 33), (64, 61), (97, 301), (301, 97), (90, 700), (700, 90), (1023, 257)]
TOGETHER = [isa for isa in engine.isas() if isa != "portable"] if all(map(engine.features().get, ("avx2", "sha_ni"))) else []


def pixels_of(height, width, seed=0):
    """Random bytes, [height, width, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def stated(pixels, orientation, long_side):
    """The digest by hashlib and the reduced photograph, from pixels that numpy has turned."""
    whole = upright.by_numpy(pixels, orientation)
    head = b"dcnn_fast photo 1" + np.array(whole.shape[:2], dtype="<u8").tobytes()
    return hashlib.sha256(head + whole.tobytes()).hexdigest(), reduction.reduced(whole, long_side)


def require_equal(found, expected):
    """Check that digest and picture are equal."""
    assert found[0] == expected[0]
    assert found[1].flags.c_contiguous
    assert np.array_equal(found[1], expected[1])


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_digest_and_picture_are_those_of_the_parts(size, orientation):
    pixels = pixels_of(*size)
    for long_side in (None, 1, 8, 60, 100, max(size) - 1 or 1, max(size), 1000):
        found = summary.summary(upright.Decoded(pixels, orientation), long_side)
        require_equal(found, stated(pixels, orientation, long_side))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_instruction_set_has_the_same(orientation):
    """Strips end in the middle of blocks of the hash, and the last strips are lower than the others."""
    cases = [(isa, case) for isa in TOGETHER for case in ((331, 7001, (24, 500)), (2503, 640, (200, 51)), (65, 50, (64, 49)))]
    for isa, (height, width, size) in cases:
        pixels = pixels_of(height, width, seed=orientation)
        turned = upright.by_numpy(pixels, orientation)
        shape = size if orientation < 5 else size[::-1]
        digest, picture = engine.native.summarized(isa, pixels, orientation, b"head", shape)
        assert digest == hashlib.sha256(b"head" + turned.tobytes()).digest()
        if picture is not None:
            assert np.array_equal(picture, engine.native.cut_picture("portable", turned, shape, (0, 0), shape))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_lines_of_any_length_are_hashed_as_they_are_looked_at(orientation):
    """Pixels are turned several at a time and the remainder one by one, along the photograph's rows or its columns."""
    sizes = [size for length in range(1, 36) for size in ((67, length), (length, 67), (1, length), (length, 1))]
    for isa in TOGETHER[:1]:
        for number, size in enumerate(sizes):
            pixels = pixels_of(*size, seed=number)
            digest, _ = engine.native.summarized(isa, pixels, orientation, b"", None)
            assert digest == hashlib.sha256(upright.by_numpy(pixels, orientation).tobytes()).digest(), size


@pytest.mark.parametrize("length", range(130))
def test_what_is_hashed_first_may_have_any_length(length):
    pixels = pixels_of(3, 1 + length)
    for isa in TOGETHER[:1]:
        head = bytes(range(length))
        found, picture = engine.native.summarized(isa, pixels, 6, head, None)
        assert found == hashlib.sha256(head + upright.by_numpy(pixels, 6).tobytes()).digest()
        assert picture is None


@pytest.mark.parametrize("size", [(90, 700), (700, 90)])
def test_a_picture_whose_pass_down_comes_first_is_reduced_all_the_same(size):
    """Pillow's rule makes it need all rows at once."""
    for orientation in ORIENTATIONS:
        pixels = pixels_of(*size)
        require_equal(summary.summary(upright.Decoded(pixels, orientation), 60), stated(pixels, orientation, 60))


@pytest.mark.parametrize("lacking", ["sha_ni", "avx2"])
def test_without_the_processors_instructions_everything_is_the_same(lacking, monkeypatch):
    pixels = pixels_of(211, 160)
    expected = [summary.summary(upright.Decoded(pixels, turn), 60) for turn in ORIENTATIONS]
    monkeypatch.setattr(engine, "features", lambda: {"sha_ni": True, "avx2": True} | {lacking: False})
    assert not summary.in_one_walk()
    for turn, each in zip(ORIENTATIONS, expected, strict=True):
        require_equal(summary.summary(upright.Decoded(pixels, turn), 60), each)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_turned_file_scores_as_its_pixels_do(orientation, tmp_path):
    """Through the scorer: a path, bytes and the array that `read` gives have one score, bit for bit."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = io.BytesIO()
    smooth = np.asarray(Image.fromarray(pixels_of(12, 15)).resize((815, 622)))
    Image.fromarray(smooth).save(data, "JPEG", quality=90, exif=exif)
    path = tmp_path / "turned.jpg"
    path.write_bytes(data.getvalue())
    scorer = Scorer()
    photo = reading.read(path)
    scores = [scorer.score(source) for source in (path, data.getvalue(), photo.pixels, Image.fromarray(photo.pixels))]
    assert len({(score.mean, score.std) for score in scores}) == 1
    assert photo.digest == reading.read(photo.pixels).digest == reading.read(data.getvalue()).summary(500)[0]


def test_pixels_are_turned_once_and_are_what_was_summarized():
    decoded = upright.Decoded(pixels_of(40, 30), 6)
    before = summary.summary(decoded, 20)
    assert decoded.upright is decoded.upright
    require_equal(summary.summary(decoded, 20), before)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"pixels": np.zeros((0, 4, 3), np.uint8)}, "pixels must be contiguous uint8"),
        ({"pixels": np.zeros((4, 4, 4), np.uint8)}, "pixels must be contiguous uint8"),
        ({"pixels": np.zeros((4, 8, 3), np.uint8)[:, ::2]}, "pixels must be contiguous uint8"),
        ({"pixels": np.zeros((4, 4, 3), np.float32)}, "pixels must be contiguous uint8"),
        ({"orientation": 0}, "orientation must be from 1 to 8, got 0"),
        ({"orientation": 9}, "orientation must be from 1 to 8, got 9"),
        ({"resized": (0, 1)}, "resized must be from 1"),
        ({"resized": (2, 5)}, "resized must be from 1"),
        ({"resized": (-1, 1)}, "resized must be from 1"),
        ({"resized": (2**62, 2**62)}, "resized must be from 1"),
        ({"isa": "avx1024"}, "avx1024"),
        ({"isa": "portable"}, "the instruction set must be one with AVX2, .* got portable"),
    ],
)
def test_the_engine_refuses_by_name(changed, says):
    isa = TOGETHER[0] if TOGETHER else engine.isa()
    given = {"isa": isa, "pixels": np.zeros((4, 4, 3), np.uint8), "orientation": 6, "head": b"", "resized": (2, 2)} | changed
    if not TOGETHER and "isa" not in changed:
        says = "on a processor with instructions for SHA-256"
    with pytest.raises(ValueError, match=says):
        engine.native.summarized(*given.values())
