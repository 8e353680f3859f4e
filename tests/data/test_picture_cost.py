"""Memory taken by reading: part by part the same bits as in one go, never more than was requested, and bounded."""

from __future__ import annotations

import io
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageCms

from dcnn_fast.data import ReadError, color, in_flight, picture_cost, profiles, read
from tests import warm

WIDTH, HEIGHT = 23, 17
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip
BACKGROUND = (9, 130, 250)


def profile(kind):
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(kind)).tobytes()


PROFILES = {"none": None, "sRGB": profile("sRGB"), "XYZ": profile("XYZ"), "LAB": profile("LAB"), "broken": b"no profile"}


def picture(mode):
    rng = np.random.default_rng(1)
    if mode in ("I;16", "I"):
        return Image.fromarray(rng.integers(0, 65536, (HEIGHT, WIDTH)).astype(np.uint16 if mode == "I;16" else np.int32))
    pixels = rng.integers(0, 256, (HEIGHT, WIDTH, 4)).astype(np.uint8)
    pixels[: HEIGHT // 2, :, 3] = 255  # some parts are opaque, others are not
    image = Image.fromarray(pixels, "RGBA")
    kind, _, more = mode.partition(" ")
    if kind in ("CMYK", "LAB", "YCbCr"):
        channels = len(Image.new(kind, (1, 1)).getbands())
        image = Image.frombytes(kind, (WIDTH, HEIGHT), np.ascontiguousarray(pixels[..., :channels]).tobytes())
    elif kind == "P":
        image = image.convert("RGB").quantize(17)
    else:
        image = image.convert(kind)
    if more == "opaque":
        image.putalpha(255)
    elif more == "transparent":
        image.info["transparency"] = bytes(range(0, 255, 15)) if kind == "P" else image.getpixel((3, 4))
    return image


MODES = (
    "1", "L", "LA", "P", "P transparent", "RGB", "RGB transparent", "RGBA", "RGBA opaque", "CMYK", "LAB", "YCbCr", "I;16", "I",
)  # fmt: skip


def at_once(image, orientation):
    """The pixels and notes, by Pillow's operations on the whole image in sequence."""
    notes = []
    if image.mode in ("I;16", "I"):
        image = Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8))
    icc = image.info.get("icc_profile")

    def converted(whole):
        if icc:
            try:
                embedded = ImageCms.ImageCmsProfile(io.BytesIO(icc))
                if whole.mode == "RGB" and ImageCms.getProfileDescription(embedded).startswith("sRGB"):
                    return whole
                return ImageCms.profileToProfile(whole, embedded, ImageCms.createProfile("sRGB"), outputMode="RGB")
            except (ImageCms.PyCMSError, OSError):
                notes.append("an unusable ICC profile was ignored")
        return whole.convert("RGB")

    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        rgb = converted(rgba.convert("RGB"))
        rgb.putalpha(rgba.getchannel("A"))
        if rgba.getchannel("A").getextrema() != (255, 255):
            notes.append("transparent pixels were laid over RGB 9 130 250")
        rgb = Image.alpha_composite(Image.new("RGBA", image.size, (*BACKGROUND, 255)), rgb).convert("RGB")
    elif image.mode in ("1", "P"):
        rgb = converted(image.convert("L" if image.mode == "1" else "RGB"))
    else:
        rgb = converted(image)
    return np.asarray(rgb.transpose(TURNS[orientation]) if orientation in TURNS else rgb), tuple(notes)


@pytest.mark.parametrize("part", [2**20, 46, 11])
@pytest.mark.parametrize("mode", MODES)
def test_part_by_part_gives_the_bits_of_the_whole(monkeypatch, mode, part):
    """46 pixels are two rows, 11 are less than one."""
    monkeypatch.setattr(color, "PART", part)
    for name, icc in PROFILES.items():
        for orientation in range(1, 9) if icc is None else (1, 7):
            image = picture(mode)
            if icc is not None:
                image.info["icc_profile"] = icc
            exif = image.getexif()
            exif[0x112] = orientation
            expected, notes = at_once(image, orientation)
            found = read(image, background=BACKGROUND)
            assert np.array_equal(found.pixels, expected), (name, orientation)
            assert found.pixels.flags.c_contiguous and found.notes == notes, (name, orientation)


@pytest.mark.parametrize("background", [(0, 0, 0), (255, 255, 255), (1, 127, 254), BACKGROUND])
def test_every_value_under_every_transparency_is_laid_over_as_pillow_does(background):
    values, alpha = np.meshgrid(np.arange(256), np.arange(256))
    pixels = np.stack([values, 255 - values, values, alpha], axis=2).astype(np.uint8)
    image = Image.fromarray(pixels)
    base = Image.new("RGBA", image.size, (*background, 255))
    expected = np.asarray(Image.alpha_composite(base, image).convert("RGB"))
    assert np.array_equal(read(image, background=background).pixels, expected)
    assert np.array_equal(read(pixels, background=background).pixels, expected)
    for height, notes in ((slice(0, 1), 1), (slice(255, 256), 0), (slice(0, 2), 1), (slice(254, 256), 1)):
        found = read(pixels[height], background=background)  # fully transparent, opaque, and both with another value
        assert np.array_equal(found.pixels, expected[height]) and len(found.notes) == notes


def test_a_table_of_all_colours_gives_the_bits_of_the_transform(monkeypatch):
    """Large pictures use the table; here all do: with each profile, turned, and in parts of less than a row."""
    monkeypatch.setattr(profiles, "PAYS_FROM", 1)
    for name, orientation, part in (("none", 1, 2**20), ("none", 7, 11), ("LAB", 6, 46)):
        monkeypatch.setattr(color, "PART", part)
        image = picture("LAB")
        assert profiles.table_bytes(image) == 4 * 2**24
        if PROFILES[name] is not None:
            image.info["icc_profile"] = PROFILES[name]
        image.getexif()[0x112] = orientation
        expected, notes = at_once(image, orientation)
        found = read(image)
        assert np.array_equal(found.pixels, expected) and found.notes == notes, (name, orientation)
    through = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    every = np.random.default_rng(0).integers(0, 256, (1024, 2048, 3)).astype(np.uint8)
    image = Image.frombytes("LAB", (2048, 1024), every.tobytes())
    assert np.array_equal(read(image).pixels, np.asarray(through.apply(image)))


def test_arrays_part_by_part(monkeypatch):
    rng = np.random.default_rng(0)
    for shape, kind in itertools.product([(9, 11), (9, 11, 1), (9, 11, 3), (9, 11, 4)], (np.uint8, np.uint16)):
        array = rng.integers(0, np.iinfo(kind).max + 1, shape).astype(kind)
        whole = read(array, background=BACKGROUND)
        with monkeypatch.context() as small:
            small.setattr(color, "PART", 5)
            parts = read(array, background=BACKGROUND)
        assert np.array_equal(whole.pixels, parts.pixels) and whole.notes == parts.notes


def saved(mode, kind, side, **options):
    buffer = io.BytesIO()
    Image.new(mode, (side, side)).save(buffer, kind, **options)
    return buffer.getvalue()


TURNED = Image.Exif()
TURNED[0x112] = 6
OTHER = PROFILES["sRGB"].replace(b"s\0R\0G\0B", b"x\0R\0G\0B")  # a profile not known to be sRGB
KINDS = {
    "png": ("RGBA", "PNG", {"exif": TURNED, "icc_profile": OTHER}),
    "palette": ("P", "PNG", {"transparency": 0}),
    "sixteen bits": ("I;16", "PNG", {}),
    "gif": ("P", "GIF", {"transparency": 0}),
    "tiff": ("RGB", "TIFF", {"compression": "tiff_adobe_deflate", "exif": TURNED}),
    "one strip": ("RGBA", "TIFF", {"compression": "tiff_adobe_deflate", "exif": TURNED, "strip_size": 2**31 - 1}),
    "fax": ("1", "TIFF", {"compression": "group4"}),
    "jpeg": ("CMYK", "JPEG", {}),
    "progressive": ("RGB", "JPEG", {"progressive": True, "subsampling": 0}),
    "webp": ("RGB", "WEBP", {"lossless": True, "method": 0, "quality": 0}),
    "avif": ("RGBA", "AVIF", {"speed": 10}),
    "jpeg 2000": ("RGB", "JPEG2000", {}),
    "tiles": ("RGBA", "JPEG2000", {"tile_size": (512, 512)}),
}

MEASURED = """
import os, sys
from dcnn_fast.data import picture_cost, read
def status(key):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(key))
plain, asked = picture_cost.cost, []
def cost(*given):
    asked.append(plain(*given))
    return asked[-1]
picture_cost.cost = cost
for path in sys.argv[1:]:
    child = os.fork()
    if not child:
        open("/proc/self/clear_refs", "w").write("5")
        before = status("VmRSS")
        read(path)
        print(os.path.basename(path), asked[0], status("VmHWM") - before, sep=",", flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


def test_reading_takes_no_more_than_was_asked_for(tmp_path):
    side = 2500
    for name, (mode, kind, options) in KINDS.items():
        (tmp_path / name).write_bytes(saved(mode, kind, side, **options))
    found = warm.run(MEASURED, sorted(tmp_path.iterdir()))
    assert found.returncode == 0, found.stderr
    rows = [line.split(",") for line in found.stdout.splitlines()]
    assert {name for name, *_ in rows} == set(KINDS)
    for name, asked, taken in rows:
        assert int(taken) <= int(asked) + 8_000_000, (name, asked, taken)
        assert name not in ("png", "palette", "jpeg", "gif") or int(taken) < 7.2 * side**2 + 40_000_000, (name, taken)


def test_a_large_picture_in_lab_takes_no_more_than_was_asked_for_with_its_table(tmp_path):
    side = 2500
    assert side**2 >= profiles.PAYS_FROM
    (tmp_path / "lab").write_bytes(saved("LAB", "TIFF", side, compression="tiff_adobe_deflate"))
    found = warm.run(MEASURED, [tmp_path / "lab"])
    assert found.returncode == 0, found.stderr
    _, asked, taken = found.stdout.split(",")
    assert int(taken) <= int(asked) + 8_000_000 and int(asked) > 7 * side**2 + profiles.TABLE_BYTES, (asked, taken)


def with_sides(data, at, kind):
    """A small file whose header claims 13,377 x 13,377 pixels."""
    return data[:at] + np.array([13377, 13377], dtype=kind).tobytes() + data[at + 2 * np.dtype(kind).itemsize :]


def hostile():
    progressive = saved("RGB", "JPEG", 64, progressive=True, subsampling=0)
    yield "JPEG", with_sides(progressive, progressive.index(b"\xff\xc2") + 5, ">u2")
    lossless = saved("RGB", "WEBP", 64, lossless=True)
    at = lossless.index(b"VP8L") + 9
    word = int.from_bytes(lossless[at : at + 4], "little") >> 28 << 28 | 13376 << 14 | 13376
    yield "WEBP", lossless[:at] + word.to_bytes(4, "little") + lossless[at + 4 :]
    stream = saved("RGB", "JPEG2000", 64, no_jp2=True)
    stream = with_sides(stream, stream.index(b"\xff\x51") + 6, ">u4")
    yield "JPEG2000", with_sides(stream, stream.index(b"\xff\x51") + 22, ">u4")


@pytest.mark.parametrize(("kind", "data"), list(hostile()), ids=lambda value: value if isinstance(value, str) else "")
def test_what_takes_a_gigabyte_above_its_pixels_is_refused_from_its_header(kind, data):
    """A caller who allows more pixels also allows more memory."""
    what = f"decoding 13377 x 13377 pixels of this {kind} takes"
    why = rf"^refused as a decompression bomb: {what} \d+ MB, more than the limit of 1537 MB$"
    with pytest.raises(ReadError, match=why):
        read(data)
    with Image.open(io.BytesIO(data)) as image:
        assert picture_cost.is_to_load(image)
        taken = picture_cost.cost(image, len(data), True)
    picture_cost.require(taken, image, len(data), 4.0)
    with pytest.raises(picture_cost.CostError):
        picture_cost.require(taken, image, len(data), 0.1)
    picture_cost.require(taken, image, taken // picture_cost.PER_FILE_BYTE, 0.1)  # a file that holds as much


TOGETHER = """
import sys
from dcnn_fast import Scorer
from dcnn_fast.data import in_flight
from tests import small
def status(key):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(key))
in_flight.set_limit(int(sys.argv[1]))
scorer = Scorer(small.model(), samples=2)
scorer.score(sys.argv[2])
open("/proc/self/clear_refs", "w").write("5")
before = status("VmRSS")
scores = list(scorer.score_many(sys.argv[3:], workers=4))
print(*[score.mean for score in scores], *[score.error for score in scores if score.error])
print(status("VmHWM") - before)
"""


def test_all_workers_together_stay_within_the_room(tmp_path):
    """Large pictures at four workers: one has room at a time, and the scores equal those of all in parallel."""
    side = 3500
    (tmp_path / "small.png").write_bytes(saved("RGB", "PNG", 300))
    (tmp_path / "large.png").write_bytes(saved("RGB", "PNG", side))
    one = 7 * side**2
    at_once = {"MALLOC_MMAP_THRESHOLD_": "1000000", "OMP_NUM_THREADS": "1"}  # freed memory returns to the system at once
    said = []
    for room in (one, 20 * one):
        found = subprocess.run(
            [sys.executable, "-c", TOGETHER, str(room), str(tmp_path / "small.png"), *[str(tmp_path / "large.png")] * 4],
            capture_output=True, text=True, check=False, timeout=120, env={**os.environ, **at_once},
        )  # fmt: skip
        assert found.returncode == 0, found.stderr
        said.append(found.stdout.splitlines())
    assert said[0][0] == said[1][0]
    assert int(said[0][1]) < 1.6 * one < int(said[1][1]), said


def test_the_room_is_in_a_child_as_well():
    with in_flight.picture() as held:
        held.take(in_flight.limit())
        child = os.fork()
        if not child:
            with in_flight.picture() as own:
                own.keep(0)
            read(np.zeros((5, 5, 3), np.uint8))
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    with in_flight.picture() as held:
        held.take(in_flight.limit() * 2)  # alone


def test_a_limit_that_was_set_refuses_what_is_larger_by_its_name():
    in_flight.set_limit(50_000_000, "--max-memory 2G")
    try:
        why = r"^reading it takes \d+ MB, more than the 50 MB that --max-memory 2G leaves for pictures$"
        with pytest.raises(ReadError, match=why):
            read(saved("RGB", "PNG", 3000))
        assert read(saved("RGB", "PNG", 300)).pixels.shape == (300, 300, 3)
        with pytest.raises(ValueError, match="limit must be at least 1 byte, got 0"):
            in_flight.set_limit(0)
    finally:
        in_flight.set_limit(None)
