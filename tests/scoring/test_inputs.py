"""Inputs of `Scorer`: images of every kind, from several threads, iterables that fail, and options."""

from __future__ import annotations

import io
import os
import tarfile
import threading

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from dcnn_fast import ReadError, Scorer
from dcnn_fast.data import read
from tests import small

PHOTOS = [np.random.default_rng(i).integers(0, 256, (50 + 7 * i, 64, 3)).astype(np.uint8) for i in range(6)]


@pytest.fixture
def scorer():
    return Scorer(small.model(), samples=3)


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "GIF"])
def test_one_lazily_opened_image_is_scored_by_several_workers(scorer, kind, tmp_path):
    (tmp_path / "p").write_bytes(encode(Image.fromarray(PHOTOS[5]).resize((700, 500)), kind))
    expected = scorer.score(tmp_path / "p").mean
    for opened in (Image.open(tmp_path / "p"), Image.open(io.BytesIO((tmp_path / "p").read_bytes()))):
        scores = list(scorer.score_many([opened] * 12, batch=3, workers=4))
        assert [(score.mean, score.error) for score in scores] == [(expected, None)] * 12


def test_lazily_opened_images_read_by_threads_of_the_program_take_turns():
    data = encode(Image.fromarray(PHOTOS[5]).resize((900, 700)), "PNG")
    expected = read(data).pixels.tobytes()
    for _ in range(5):
        opened, found = Image.open(io.BytesIO(data)), []

        def one(opened=opened, found=found):
            found.append(read(opened).pixels.tobytes() == expected)

        threads = [threading.Thread(target=one) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [True] * 6


def test_an_image_that_was_closed_is_named(scorer, tmp_path):
    (tmp_path / "p.png").write_bytes(encode(Image.fromarray(PHOTOS[0]), "PNG"))
    with Image.open(tmp_path / "p.png") as opened:
        pass
    (score,) = scorer.score_many([opened])
    assert score.error is not None and score.error.startswith("cannot be decoded")


class DriveError(Exception):
    pass


@pytest.mark.parametrize("count", [0, 1, 2, 5, 6])
@pytest.mark.parametrize("workers", [1, 3])
def test_what_the_images_raise_comes_after_the_scores_of_those_before(scorer, count, workers):
    def images():
        yield from PHOTOS[:count]
        raise DriveError("the drive is gone")

    stream, found = scorer.score_many(images(), batch=2, workers=workers), []
    with pytest.raises(DriveError, match="the drive is gone"):
        found.extend(score.mean for score in stream)
    assert found == [scorer.score(photo).mean for photo in PHOTOS[:count]]
    assert list(stream) == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("dcnn-fast")]


def test_an_interrupt_while_the_next_image_is_fetched_ends_at_once(scorer):
    def images():
        yield from PHOTOS
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(scorer.score_many(images(), workers=2))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("dcnn-fast")]


def test_what_is_no_iterable_is_the_callers_mistake(scorer):
    with pytest.raises(TypeError, match="not iterable"):
        list(scorer.score_many(7))


@pytest.mark.parametrize("path", [str, np.str_, lambda path: path, os.fsencode, lambda path: OfBytes(os.fsencode(path))])
def test_a_scores_path_is_text(scorer, tmp_path, path):
    file = tmp_path / os.fsdecode(b"caf\xe9.png")
    file.write_bytes(encode(Image.fromarray(PHOTOS[0]), "PNG"))
    given = path(file)
    if isinstance(given, bytes):  # bytes are a file's content
        assert scorer.score(file.read_bytes()).path is None
        return
    for score in (scorer.score(given), *scorer.score_many([given]), *scorer.score_many([path(tmp_path / "gone.png")])):
        assert type(score.path) is str
        score.csv_row(), score.as_dict()
    assert scorer.score(given).path == str(file)


class OfBytes:
    """A path whose name is bytes."""

    def __init__(self, name):
        self.name = name

    def __fspath__(self):
        return self.name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"background": (300, 0, 0)}, "background must be three integers from 0 to 255"),
        ({"background": "white"}, "background must be three integers"),
        ({"background": (0.5, 0, 0)}, "background must be three integers"),
        ({"max_pixels": 0}, "max_pixels must be an integer from 1"),
        ({"max_pixels": 1e6}, "max_pixels must be an integer"),
        ({"samples": "50"}, "samples must be an integer"),
        ({"samples": np.float64(5)}, "samples must be an integer"),
        ({"seed": None}, "seed must be an integer"),
        ({"grid": True}, "grid must be one of"),
        ({"grid": 2.0}, "grid must be one of"),
        ({"grid": np.float32(4)}, "grid must be one of"),
        ({"device": np.array(["cpu"])}, "device must be one of"),
        ({"background": (np.int64(300), 0, 0)}, "background must be three integers"),
        ({"dtype": torch.float32}, "dtype must be one of"),
        ({"device": "cuda:-1"}, "device must be one of"),
        ({"graphs": "yes"}, "graphs must be True or False"),
    ],
)
def test_a_wrong_option_is_named_when_the_scorer_is_made(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Scorer(small.model(), **options)


def test_numpys_whole_numbers_are_whole_numbers():
    scorer = Scorer(
        small.model(),
        background=(np.uint8(1), 2, np.int64(3)),
        samples=np.int64(3),
        seed=np.uint32(4),
        grid=np.int8(2),
        max_pixels=np.int64(10**6),
    )
    assert scorer.score(PHOTOS[0]) == Scorer(small.model(), samples=3, seed=4, grid=2).score(PHOTOS[0])
    assert [type(value) for value in (scorer.samples, scorer.seed, scorer.grid)] == [int] * 3
    list(scorer.score_many(PHOTOS, batch=np.int64(2), workers=np.int64(2)))


def test_an_animations_frames_are_not_counted():
    """The file is read to its second frame and no further."""
    frames = [Image.fromarray(np.random.default_rng(i).integers(0, 256, (200, 200)).astype(np.uint8)) for i in range(40)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    reached = [0]

    class Counted(io.BytesIO):
        def read(self, *arguments):
            content = super().read(*arguments)
            reached[0] = max(reached[0], self.tell())
            return content

    with Image.open(Counted(data)) as opened:
        photo = read(opened)
    assert photo.notes == ("the first of several frames was read",)
    assert reached[0] < len(data) / 10
    one = read(encode(frames[0], "GIF"))
    assert one.notes == () and (one.pixels == photo.pixels).all()


def test_an_animation_given_at_a_later_frame_is_read_there():
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue", "green")]
    opened = Image.open(io.BytesIO(encode(frames[0], "GIF", save_all=True, append_images=frames[1:])))
    opened.seek(1)
    photo = read(opened)
    assert (photo.pixels == (0, 0, 255)).all() and photo.notes == ()


def test_reading_leaves_the_programs_image_as_it_is():
    image = Image.open(io.BytesIO(encode(Image.fromarray(PHOTOS[0]), "JPEG")))
    first = read(image).pixels.tobytes()
    assert (image.size, image.mode) == ((64, 50), "RGB")
    assert read(image).pixels.tobytes() == first


def test_a_wrong_file_in_memory_is_named(scorer):
    with pytest.raises(ReadError, match="the file is empty"):
        scorer.score(b"")


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "JPEG", "PNG"])
def test_images_of_one_archive_are_scored_by_several_workers(scorer, kind, tmp_path):
    """They read from one file, each its own part."""
    photos = [np.random.default_rng(i).integers(0, 256, (90 + i, 100, 3)).astype(np.uint8) for i in range(12)]
    with tarfile.open(tmp_path / "photos.tar", "w") as archive:
        for i, photo in enumerate(photos):
            data = encode(Image.fromarray(photo), kind)
            entry = tarfile.TarInfo(f"{i}.{kind}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    expected = [scorer.score(encode(Image.fromarray(photo), kind)).mean for photo in photos]
    for _ in range(3):
        with tarfile.open(tmp_path / "photos.tar") as archive:
            images = [Image.open(archive.extractfile(member)) for member in archive]
            scores = list(scorer.score_many(images, workers=4))
        assert [score.error for score in scores] == [None] * 12
        assert [score.mean for score in scores] == expected


def test_images_of_one_open_file_are_scored_by_several_workers(scorer, tmp_path):
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (90, 100, 3)).astype(np.uint8)).save(tmp_path / "a.tif")
    with open(tmp_path / "a.tif", "rb") as file:
        expected = scorer.score(tmp_path / "a.tif").mean
        assert [score.mean for score in scorer.score_many([Image.open(file) for _ in range(8)], workers=4)] == [expected] * 8


def reused(photos, tmp_path):
    """Generators that reuse the object they yielded, each with its name."""

    def array():
        held = np.empty_like(photos[0])
        for photo in photos:
            held[:] = photo
            yield held

    def tensor():
        held = torch.empty(3, *photos[0].shape[:2], dtype=torch.uint8)
        for photo in photos:
            held.copy_(torch.from_numpy(photo).permute(2, 0, 1))
            yield held

    def memory():
        held = bytearray()
        for photo in photos:
            held[:] = encode(Image.fromarray(photo), "BMP")
            yield held

    def closed():
        for i, photo in enumerate(photos):
            Image.fromarray(photo).save(tmp_path / f"{i}.png")
            with Image.open(tmp_path / f"{i}.png") as image:
                yield image

    def frames():
        first, *others = [Image.fromarray(photo) for photo in photos]
        first.save(tmp_path / "all.tif", save_all=True, append_images=others)
        return ImageSequence.Iterator(Image.open(tmp_path / "all.tif"))

    def drawn():
        held = Image.new("RGB", photos[0].shape[1::-1])
        for photo in photos:
            held.paste(Image.fromarray(photo))
            yield held

    return {each.__name__: each for each in (array, tensor, memory, closed, frames, drawn)}


@pytest.mark.parametrize("how", ["array", "tensor", "memory", "closed", "frames", "drawn"])
@pytest.mark.parametrize("workers", [1, 3])
def test_an_image_may_be_used_again_for_the_next_one(scorer, how, workers, tmp_path):
    photos = [np.random.default_rng(i).integers(0, 256, (90, 100, 3)).astype(np.uint8) for i in range(10)]
    expected = [scorer.score(photo).mean for photo in photos]
    scores = list(scorer.score_many(reused(photos, tmp_path)[how](), workers=workers))
    assert [(score.mean, score.error) for score in scores] == [(mean, None) for mean in expected]


def test_what_libtiff_says_of_a_file_that_cannot_be_read_is_noted(scorer):
    noise = np.random.default_rng(1).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    data = bytearray(encode(Image.fromarray(noise), "TIFF", compression="tiff_lzw"))
    data[60:100] = b"\xff" * 40
    (score,) = scorer.score_many([bytes(data)])
    assert score.error
    assert score.notes == ("libtiff: Using code not yet in table",)


def test_more_threads_than_workers_may_be_are_no_mistake(scorer):
    torch.set_num_threads(300)
    assert [score.error for score in scorer.score_many([np.zeros((50, 60, 3), np.uint8)])] == [None]
