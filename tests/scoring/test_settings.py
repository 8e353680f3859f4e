"""A program's settings of torch, numpy, Pillow or Python change no score and no reading, and they stay set."""

from __future__ import annotations

import io
import os
import random
import sys
import threading
import warnings

import numpy as np
import pytest
import torch
from PIL import AvifImagePlugin, BmpImagePlugin, GifImagePlugin, Image, ImageFile, PngImagePlugin, TiffImagePlugin

from dcnn_fast import ReadError, Scorer
from dcnn_fast.data import read
from tests import small
from tests.host_settings import SETTINGS, attribute, called, denormals_flushed, warnings_raise

PHOTOS = [np.random.default_rng(i).integers(0, 256, (50 + 7 * i, 64, 3)).astype(np.uint8) for i in range(2)]


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def numbers(score):
    return score.probs, score.mean, score.std, score.label, score.error, score.notes


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_no_setting_of_the_program_changes_a_score(setting, dtype, backend, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", backend)
    expected = [numbers(score) for score in Scorer(small.model(), samples=3, dtype=dtype).score_many(PHOTOS)]
    made_before, model = Scorer(small.model(), samples=3, dtype=dtype), small.model()
    with SETTINGS[setting]():
        made_inside = Scorer(model, samples=3, dtype=dtype)
        for scorer in (made_before, made_inside):
            assert [numbers(scorer.score(photo)) for photo in PHOTOS] == expected
            assert [numbers(score) for score in scorer.score_many(PHOTOS, workers=2)] == expected
    assert [numbers(score) for score in made_inside.score_many(PHOTOS)] == expected


IMAGE = np.random.default_rng(3).integers(0, 256, (200, 300, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def shipped():
    """The shipped model's score on each backend: its sizes, unlike the small model's, let torch choose among its libraries."""
    found = {}
    for backend in ("cpu", "reference"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DCNN_FAST_BACKEND", backend)
            found[backend] = numbers(Scorer(samples=2).score(IMAGE))
    return found


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_the_shipped_model_is_loaded_and_scores_the_same_under_every_setting(setting, backend, shipped, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", backend)
    with SETTINGS[setting]():
        assert numbers(Scorer(samples=2).score(IMAGE)) == shipped[backend]


def test_denormal_weights_count_whatever_the_program_flushes():
    """Sums of denormal products, which flushing would turn into zero."""
    model = small.model(views=("warp",))
    with torch.no_grad():
        for block in model.net.columns[0].blocks:
            block.weight.mul_(1e-22)
            block.bias.zero_()
        model.net.columns[0].fc[0].weight.mul_(1e30)
    scorer = Scorer(model, samples=3)
    expected = numbers(scorer.score(PHOTOS[0]))
    with denormals_flushed():
        assert numbers(scorer.score(PHOTOS[0])) == expected
        assert [numbers(score) for score in scorer.score_many([PHOTOS[0]] * 2)] == [expected] * 2


def test_no_generator_of_random_numbers_moves_and_none_decides():
    scorer = Scorer(small.model(), samples=5)
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    before = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
    expected = [numbers(score) for score in scorer.score_many(PHOTOS)]
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), str(np.random.get_state())) == before[1:]
    torch.manual_seed(2), random.seed(2), np.random.seed(2)
    assert [numbers(score) for score in scorer.score_many(PHOTOS)] == expected


def files():
    """Files that Pillow's default settings read, and some that they refuse."""
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (48, 64, 3)).astype(np.uint8))
    frames = [Image.new("P", (20, 20), colour) for colour in (1, 2, 3)]
    text = PngImagePlugin.PngInfo()
    text.add_text("about", "x" * 3000, zip=True)
    png = encode(noise, "PNG", pnginfo=text)
    bad_chunk = bytearray(png)
    bad_chunk[png.index(b"zTXt") + 20] ^= 255
    found = {kind: encode(noise, kind) for kind in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "JPEG2000")}
    cut = {f"cut {kind}": data[: len(data) // 2] for kind, data in found.items()}
    return {
        **found, **cut,
        "text": png,
        "broken text": bytes(bad_chunk),
        "no end": png[:-12],
        "animation": encode(frames[0], "GIF", save_all=True, append_images=frames[1:], transparency=0),
        "tiff with a strange tag": encode(noise, "TIFF", tiffinfo={700: b"\xff", 40000: "x"}),
        "bitmap of 32 bits": encode(Image.new("RGBA", (9, 8), (200, 100, 50, 30)), "BMP"),
        "tiff of YCbCr": encode(noise.convert("YCbCr"), "TIFF"),
        "avif": encode(noise, "AVIF"),
        "compressed tiff, broken": encode(noise, "TIFF", compression="tiff_lzw")[:-40] + b"\xff" * 40,
    }  # fmt: skip


def what_is_read(data):
    try:
        photo = read(data)
    except ReadError as error:
        return str(error)
    return photo.pixels.tobytes(), photo.notes


PILLOW = {
    "truncated images": attribute(ImageFile, "LOAD_TRUNCATED_IMAGES", True),
    "truncated images, a word": attribute(ImageFile, "LOAD_TRUNCATED_IMAGES", "yes"),
    "no end of pixels": attribute(Image, "MAX_IMAGE_PIXELS", float("inf")),
    "half a pixel more": attribute(Image, "MAX_IMAGE_PIXELS", 100000000.5),
    "alpha of bitmaps": attribute(BmpImagePlugin, "USE_RAW_ALPHA", True),
    "libtiff for all": attribute(TiffImagePlugin, "READ_LIBTIFF", True),
    "another AV1 decoder": attribute(AvifImagePlugin, "DECODE_CODEC_CHOICE", "aom"),
    "ten pixels": attribute(Image, "MAX_IMAGE_PIXELS", 10),
    "no limit of pixels": attribute(Image, "MAX_IMAGE_PIXELS", None),
    "no text": attribute(PngImagePlugin, "MAX_TEXT_CHUNK", 10),
    "little text": attribute(PngImagePlugin, "MAX_TEXT_MEMORY", 10),
    "animations in colour": attribute(GifImagePlugin, "LOADING_STRATEGY", GifImagePlugin.LoadingStrategy.RGB_ALWAYS),
    "warnings raise": warnings_raise,
    "small blocks": attribute(ImageFile, "MAXBLOCK", 17),
    "few digits": called(sys.set_int_max_str_digits, sys.get_int_max_str_digits, 640),
}


@pytest.mark.parametrize("setting", PILLOW)
def test_no_setting_of_pillow_or_python_decides_what_is_read(setting):
    given = files()
    expected = {name: what_is_read(data) for name, data in given.items()}
    assert {name for name, found in expected.items() if isinstance(found, str)} >= {"cut JPEG", "cut PNG", "cut TIFF"}
    with PILLOW[setting]():
        assert {name: what_is_read(data) for name, data in given.items()} == expected
    assert {name: what_is_read(data) for name, data in given.items()} == expected


def test_the_programs_own_reading_goes_by_its_own_settings_meanwhile():
    """Another thread reads a truncated file and runs into the program's limit while the package reads."""
    cut = encode(Image.fromarray(PHOTOS[0]), "JPEG")[:-400]
    whole = encode(Image.fromarray(np.zeros((900, 1200, 3), np.uint8)), "PNG")
    stop, failed = threading.Event(), []

    def ours():
        while not stop.is_set():
            for data in (cut, whole):
                what_is_read(data)

    def check():
        for _ in range(60):
            Image.open(io.BytesIO(cut)).load()
            with pytest.raises(Image.DecompressionBombError, match="exceeds limit of 200000 pixels"):
                Image.open(io.BytesIO(whole))
            assert Image.MAX_IMAGE_PIXELS == 100_000

    with attribute(ImageFile, "LOAD_TRUNCATED_IMAGES", True)(), attribute(Image, "MAX_IMAGE_PIXELS", 100_000)():
        threads = [threading.Thread(target=ours) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            check()
        except BaseException as error:
            failed.append(error)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert not failed, failed
        assert type(Image.MAX_IMAGE_PIXELS) is int and ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_our_own_limit_of_pixels_holds_whatever_pillows_is():
    data = encode(Image.fromarray(PHOTOS[0]), "PNG")
    for limit in (None, 1, 10**12):
        with attribute(Image, "MAX_IMAGE_PIXELS", limit)():
            assert read(data, max_pixels=50 * 64).pixels.shape == (50, 64, 3)
            with pytest.raises(ReadError, match="exceed the limit of 3199"):
                read(data, max_pixels=3199)


def test_what_pillow_warns_of_is_neither_printed_nor_raised_and_other_warnings_are_the_programs(recwarn):
    read(files()["tiff with a strange tag"])
    read(encode(Image.new("P", (9, 9)), "PNG", transparency=b"\0\1"))
    assert not recwarn.list
    warnings.warn("the program's own", stacklevel=1)
    assert len(recwarn.list) == 1


def test_what_libtiff_says_is_a_note_and_not_printed(capfd):
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (48, 64, 3)).astype(np.uint8)).convert("1")
    data = bytearray(encode(noise, "TIFF", compression="group4"))
    data[60:64] = b"\x12\x34\x56\x78"
    photo = read(bytes(data))
    assert 1 <= len(photo.notes) <= 5
    assert all(note.startswith("libtiff: ") and "\n" not in note for note in photo.notes)
    assert "libtiff: Bad code word at line 2 of strip 0" in photo.notes[0]
    assert capfd.readouterr().err == ""
    Image.open(io.BytesIO(bytes(data))).load()  # the program's own reading gives the same messages as ever
    assert "Fax4Decode" in capfd.readouterr().err


def test_a_plug_in_that_is_registered_after_the_first_reading_counts(monkeypatch):
    """HEIF's, whoever registers it; it may open only allowed formats inside its file."""
    read(encode(Image.fromarray(PHOTOS[0]), "PNG"))
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    if "HEIF" in Image.ID:
        Image.ID.remove("HEIF")
    data, other = (b"QQQQ" + encode(Image.fromarray(PHOTOS[0]), kind) for kind in ("BMP", "PPM"))
    assert what_is_read(data) == "not an image of a known format"

    class Heif(ImageFile.ImageFile):
        format = "HEIF"

        def _open(self):
            with Image.open(io.BytesIO(self.fp.read()[4:])) as inside:
                inside.load()
            self._mode, self._size, self.im, self.tile = inside.mode, inside.size, inside.im, []

    for name in ("HEIF", "QUARTZ"):
        Image.register_open(name, Heif, lambda prefix: prefix.startswith(b"QQQQ"))
        assert (what_is_read(data)[0] == PHOTOS[0].tobytes()) and isinstance(what_is_read(other), str)
    Image.ID.remove("HEIF")  # another plug-in's format is not tried
    assert what_is_read(data) == "not an image of a known format"


def test_nothing_else_of_the_process_moves():
    """Signal handlers, environment, folder, umask, standard files and threads stay the same."""
    import locale  # noqa: PLC0415
    import signal  # noqa: PLC0415

    def state():
        mask = os.umask(0o22)
        os.umask(mask)
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
        return (
            mask, handlers, dict(os.environ), os.getcwd(), locale.setlocale(locale.LC_ALL), sys.stdout, sys.stderr,
            torch.get_num_threads(), torch.get_num_interop_threads(), threading.active_count(), list(warnings.filters),
            sys.getrecursionlimit(), threading.excepthook, sys.excepthook,
        )  # fmt: skip

    before = state()
    list(Scorer(small.model(), samples=3).score_many([*PHOTOS, b"no picture"], workers=3))
    assert state() == before
