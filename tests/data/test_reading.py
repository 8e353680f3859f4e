"""read: every kind of source, format and mode gives the upright sRGB pixels; everything else a reason on one line."""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from dcnn_fast.data import MAX_PIXELS, ReadError, read

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (37, 53, 3)).astype(np.uint8)
SMOOTH = (np.stack(np.meshgrid(np.arange(64), np.arange(48)), axis=-1) * 3).astype(np.uint8)
SMOOTH = np.dstack([SMOOTH, np.full((48, 64), 90, np.uint8)])


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_the_same_picture_from_every_source(kind, tmp_path):
    image = Image.fromarray(NOISE)
    data = encode(image, kind)
    path = tmp_path / "picture"
    path.write_bytes(data)
    sources = [
        path, str(path), data, bytearray(data), memoryview(data), image, NOISE, NOISE[::1],
        np.asfortranarray(NOISE), torch.from_numpy(NOISE).permute(2, 0, 1),
    ]  # fmt: skip
    for photo in map(read, sources):
        np.testing.assert_array_equal(photo.pixels, NOISE)
        assert photo.pixels.flags.c_contiguous
        assert photo.digest == read(NOISE).digest
        assert photo.notes == ()


def test_the_digest_knows_shape_and_pixels():
    changed = NOISE.copy()
    changed[3, 4, 1] ^= 1
    digests = {read(array).digest for array in (NOISE, changed, NOISE.reshape(53, 37, 3), NOISE[::-1])}
    assert len(digests) == 4
    assert read(np.zeros((2, 2, 3), np.uint8)).digest == "a738bacabbb0cc76fd8aab121c3d8a30aeb775ce0c94c09ff605b849ad9a7880"


@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {"quality": 95}), ("WEBP", {"quality": 95}), ("JPEG2000", {}), ("AVIF", {"quality": 95}), ("GIF", {})],
)
def test_lossy_formats_come_close(kind, options):
    photo = read(encode(Image.fromarray(SMOOTH), kind, **options))
    assert photo.pixels.shape == SMOOTH.shape
    assert np.abs(photo.pixels.astype(int) - SMOOTH).mean() < 6


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_makes_the_picture_upright(kind, orientation):
    upright = Image.fromarray(SMOOTH)
    turn = Image.Transpose
    undo = {
        2: turn.FLIP_LEFT_RIGHT, 3: turn.ROTATE_180, 4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE, 6: turn.ROTATE_90, 7: turn.TRANSVERSE, 8: turn.ROTATE_270,
    }  # fmt: skip
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    photo = read(encode(stored, kind, exif=exif, **options))
    assert photo.pixels.shape == SMOOTH.shape
    assert np.abs(photo.pixels.astype(int) - SMOOTH).max() <= 4


def test_a_corrupt_exif_block_is_ignored_and_noted():
    data = encode(Image.fromarray(SMOOTH), "PNG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    photo = read(data)
    np.testing.assert_array_equal(photo.pixels, SMOOTH)


def grey(levels):
    return np.repeat(np.asarray(levels, np.uint8)[..., None], 3, axis=-1)


def test_grey_bilevel_and_palette():
    levels = RNG.integers(0, 256, (9, 11)).astype(np.uint8)
    np.testing.assert_array_equal(read(encode(Image.fromarray(levels), "PNG")).pixels, grey(levels))
    bits = levels > 127
    np.testing.assert_array_equal(read(encode(Image.fromarray(bits), "PNG")).pixels, grey(bits * 255))
    palette = Image.fromarray(NOISE).quantize(17)
    np.testing.assert_array_equal(read(encode(palette, "PNG")).pixels, np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_clipped(kind):
    values = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    expected = grey([[0, 0, 1, 1, 128, 255]])
    np.testing.assert_array_equal(read(encode(Image.fromarray(values), kind)).pixels, expected)
    np.testing.assert_array_equal(read(values).pixels, expected)
    np.testing.assert_array_equal(read(np.repeat(values[..., None], 3, axis=2)).pixels, expected)


def test_pixels_without_a_range_are_refused():
    with pytest.raises(ReadError, match="floating-point pixels have no stated range"):
        read(Image.fromarray(np.ones((4, 4), np.float32)))
    with pytest.raises(ReadError, match="grey values must lie in 0 to 65535, got 0 to 70000"):
        read(Image.fromarray(np.array([[0, 70000]], np.int32)))


def test_cmyk_is_what_pillow_converts():
    cmyk = Image.fromarray(SMOOTH).convert("CMYK")
    for data in (encode(cmyk, "TIFF"), encode(cmyk, "JPEG", quality=100, subsampling=0)):
        assert np.abs(read(data).pixels.astype(int) - SMOOTH).max() <= 4


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), (10, 200, 30)])
def test_transparency_lies_over_the_background(background):
    rgba = np.dstack([SMOOTH, np.zeros((48, 64), np.uint8)])
    rgba[:24, :, 3] = 255
    rgba[24, :, 3] = 128
    for source in (encode(Image.fromarray(rgba), "PNG"), Image.fromarray(rgba), rgba, torch.from_numpy(rgba).permute(2, 0, 1)):
        photo = read(source, background=background)
        np.testing.assert_array_equal(photo.pixels[:24], SMOOTH[:24])
        assert (photo.pixels[25:] == background).all()
        half = (SMOOTH[24].astype(float) * 128 + np.array(background) * 127) / 255
        assert np.abs(photo.pixels[24] - half).max() <= 1
        assert photo.notes == ("transparent pixels were laid over RGB " + " ".join(map(str, background)),)


def test_opaque_alpha_and_transparent_palettes():
    opaque = np.dstack([SMOOTH, np.full((48, 64), 255, np.uint8)])
    assert read(opaque).notes == ()
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    photo = read(encode(palette, "PNG", transparency=1))
    np.testing.assert_array_equal(photo.pixels, [[[10, 20, 30], [255, 255, 255]]])
    levels = Image.fromarray(np.array([[7, 9]], np.uint8))
    np.testing.assert_array_equal(read(encode(levels, "PNG", transparency=9)).pixels, [[[7] * 3, [255] * 3]])
    la = Image.merge("LA", [levels, Image.fromarray(np.array([[255, 0]], np.uint8))])
    np.testing.assert_array_equal(read(encode(la, "PNG")).pixels, [[[7] * 3, [255] * 3]])


def test_icc_profiles_are_converted_and_broken_ones_noted():
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.fromarray(SMOOTH)
    same = read(encode(image, "PNG", icc_profile=srgb))
    assert np.abs(same.pixels.astype(int) - SMOOTH).max() <= 1
    for broken in (b"not a profile", lab.tobytes()):
        photo = read(encode(image, "PNG", icc_profile=broken))
        np.testing.assert_array_equal(photo.pixels, SMOOTH)
        assert photo.notes == ("an unusable ICC profile was ignored",)


def test_of_an_animation_the_first_frame_is_read():
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue", "green")]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        options = {"lossless": True} if kind == "WEBP" else {}
        photo = read(encode(frames[0], kind, save_all=True, append_images=frames[1:], **options))
        assert (photo.pixels == (255, 0, 0)).all()
        count = {"GIF": "several", "TIFF": "several"}.get(kind, 3)  # counting these two would mean walking them
        assert photo.notes == (f"the first of {count} frames was read",)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"])
def test_a_truncated_file_is_refused(kind):
    data = encode(Image.fromarray(NOISE), kind)
    with pytest.raises(ReadError) as caught:
        read(data[: len(data) // 2])
    assert "\n" not in str(caught.value)
    assert "0x" not in str(caught.value)


def test_bombs_are_refused_from_the_header_and_the_limit_can_be_raised():
    data = encode(Image.fromarray(NOISE), "PNG")
    with pytest.raises(ReadError, match=r"decompression bomb: 53 x 37 pixels exceed the limit of 1000"):
        read(data, max_pixels=1000)
    header = bytearray(encode(Image.new("1", (1, 1)), "PNG"))
    header[16:24] = (13_400).to_bytes(4, "big") * 2
    import zlib  # noqa: PLC0415

    header[29:33] = zlib.crc32(bytes(header[12:29])).to_bytes(4, "big")
    with pytest.raises(ReadError, match="decompression bomb"):
        read(bytes(header))
    with pytest.raises(ReadError, match="(?!.*bomb)"):  # with the limit raised it is just a broken file
        read(bytes(header), max_pixels=4_000_000_000)
    before = Image.MAX_IMAGE_PIXELS
    assert read(data, max_pixels=10 * MAX_PIXELS).pixels.shape == NOISE.shape
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"hello", b"\xff\xd8\xff", b"GIF89a", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"]
)
def test_what_is_no_image_has_a_reason(content):
    with pytest.raises(ReadError) as caught:
        read(content)
    assert str(caught.value)
    assert "0x" not in str(caught.value)


def test_paths_that_cannot_be_read(tmp_path):
    with pytest.raises(ReadError, match="^no such file$"):
        read(tmp_path / "missing.jpg")
    with pytest.raises(ReadError, match="^a folder, not a file$"):
        read(tmp_path)
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ReadError, match="^the file is empty$"):
        read(tmp_path / "empty.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ReadError, match="^not a regular file$"):
        read(tmp_path / "pipe.jpg")
    with pytest.raises(ReadError):
        read("nul\0byte.jpg")


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (np.zeros((4, 4, 3)), ReadError, "an array must be uint8 or uint16, got float64"),
        (np.zeros((4, 4, 2), np.uint8), ReadError, r"an array must have shape .* got \[4, 4, 2\]"),
        (np.zeros((0, 4, 3), np.uint8), ReadError, "at least one pixel, got 4 x 0"),
        (torch.zeros(3, 4, 4), ReadError, "a tensor must be uint8, got torch.float32"),
        (torch.zeros(4, 4, 3, dtype=torch.uint8)[..., :2], ReadError, None),
        (torch.zeros(5, 4, 4, dtype=torch.uint8), ReadError, r"a tensor must have shape \[C, H, W\] with 1, 3 or 4 channels"),
        (None, TypeError, "source must be a path, bytes"),
        (7, TypeError, "got int"),
    ],
)  # fmt: skip
def test_wrong_sources_are_named(source, error, message):
    if message is None:  # [4, 4, 2] as [C, H, W] is a legal four-channel image: channels come first in tensors
        assert read(source).pixels.shape == (4, 2, 3)
        return
    with pytest.raises(error, match=message):
        read(source)


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match="background must be three integers from 0 to 255"):
        read(NOISE, background=(0, 0, 256))
    with pytest.raises(ValueError, match="max_pixels must be an integer of at least 1, got 0"):
        read(NOISE, max_pixels=0)


def test_a_users_image_is_left_alone():
    image = Image.fromarray(SMOOTH).convert("P")
    before = (image.mode, image.size, image.tobytes())
    read(image)
    assert (image.mode, image.size, image.tobytes()) == before
    array = NOISE.copy()
    photo = read(array)
    array[:] = 0
    np.testing.assert_array_equal(photo.pixels, NOISE)


def test_threads_read_as_one_does():
    images = [encode(Image.fromarray(np.roll(NOISE, i, axis=0)), kind) for i in range(20) for kind in ("PNG", "JPEG")]
    alone = [read(image).digest for image in images]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda image: read(image, max_pixels=2 * MAX_PIXELS).digest, images)) == alone
