"""Technical faults: each statistic against another statement of it, and each name with and without the fault."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy.ndimage import convolve, uniform_filter1d

from dcnn_fast.photographs import FAULTS, find_faults
from dcnn_fast.photographs.faults import clipped_share, contrast, detail, noise, percentile
from dcnn_fast.photographs.luminance import luminance, sharpness
from dcnn_fast.photographs.screen import SIDE
from tests.photographs.scenes import pixels_of, scene

NAMES = [fault.name for fault in FAULTS]


def names(image):
    return find_faults(pixels_of(image)).names


@pytest.mark.parametrize("seed", range(4))
def test_sharpness_is_what_crete_and_others_define(seed):
    luma = luminance(pixels_of(scene(seed)))
    lost = []
    for axis in (0, 1):
        inner = np.s_[4:-4, :] if axis == 0 else np.s_[:, 4:-4]
        blurred = uniform_filter1d(luma.astype(np.float64), 9, axis=axis)[inner]
        before, after = (np.abs(np.diff(each, axis=axis)) for each in (luma[inner].astype(np.float64), blurred))
        lost.append(np.maximum(0, before - after).sum() / before.sum())
    assert sharpness(luma) == pytest.approx(min(lost), rel=1e-9)


def test_sharpness_falls_with_blur_and_hangs_on_neither_brightness_nor_contrast():
    image = scene(1)
    values = [sharpness(luminance(pixels_of(image.filter(ImageFilter.GaussianBlur(r))))) for r in (0, 1, 2, 4)]
    assert values == sorted(values, reverse=True) and values[0] > values[-1] + 0.4
    darker = luminance(pixels_of(image)) // 4
    assert sharpness(darker) == pytest.approx(values[0], abs=0.05)


@pytest.mark.parametrize("deviation", [2, 5, 12])
def test_noise_is_measured_in_levels(deviation):
    rng = np.random.default_rng(deviation)
    slope = 60 + 100 * np.linspace(0, 1, 640)[None, :] + 30 * np.linspace(0, 1, 480)[:, None]
    luma = np.rint(slope + rng.normal(0, deviation, slope.shape)).astype(np.int64)
    assert noise(luma) == pytest.approx(deviation, rel=0.2)
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])
    blocks = np.abs(convolve(luma, kernel)[1:-1, 1:-1])[:464, :624].reshape(29, 16, 39, 16).mean(axis=(1, 3)).ravel()
    smoothest = np.sort(blocks)[: -(-len(blocks) // 10)]
    assert noise(luma) == pytest.approx(np.sqrt(np.pi / 2) / 6 * smoothest.mean(), rel=1e-9)


def test_noise_is_not_hidden_by_a_white_sky_nor_made_by_detail():
    rng = np.random.default_rng(0)
    noisy = np.rint(rng.normal(120, 9, (320, 320))).astype(np.int64)
    noisy[:160] = 255
    assert noise(noisy) > 7
    detailed = np.full((320, 320), 120)
    detailed[:240] = rng.integers(0, 256, (240, 320))
    assert noise(detailed) == 0


def test_contrast_and_percentiles_are_those_of_a_count():
    luma = np.repeat(np.arange(200), 50).reshape(100, 100)
    assert (percentile(luma, 1), percentile(luma, 99)) == (1, 197)
    assert contrast(luma) == pytest.approx(196 / 255)


def test_shares_of_clipped_pixels_are_of_all_three_channels():
    pixels = np.full((10, 10, 3), 128, np.uint8)
    pixels[:2] = 255
    pixels[2:5] = 3
    pixels[5, :, 0] = 255  # only red
    assert clipped_share(pixels, dark=False) == pytest.approx(0.2)
    assert clipped_share(pixels, dark=True) == pytest.approx(0.3)


def test_detail_is_the_share_of_blocks_that_show_something():
    luma = np.full((160, 160), 100)
    luma[:32, :80] += np.indices((32, 80)).sum(axis=0) % 2 * 8  # a deviation of four
    assert detail(luma) == pytest.approx(0.1)
    luma[:32, :80] = 100 + np.indices((32, 80)).sum(axis=0) % 2 * 7
    assert detail(luma) == 0


def spoiled(image, fault):
    pixels = pixels_of(image).astype(np.float64)
    if fault == "blurred":
        return image.filter(ImageFilter.GaussianBlur(4))
    if fault == "tiny":
        return image.resize((240, 150))
    if fault == "empty":
        return Image.new("RGB", image.size, (90, 120, 200))
    changed = {
        "overexposed": pixels * 2 + 110,
        "underexposed": pixels * 0.3,
        "flat": 120 + (pixels - 120) * 0.2,
        "noisy": pixels + np.random.default_rng(0).normal(0, 20, pixels.shape),
    }[fault]
    return Image.fromarray(np.rint(changed).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("fault", NAMES)
def test_a_fault_is_named_where_it_is_and_not_where_it_is_not(fault, seed):
    image = scene(seed)
    assert names(image) == ()
    assert fault in names(spoiled(image, fault))


def test_real_photographs_are_named_where_they_are_spoiled(data_dir):
    """The rates on all of them are in docs/rows.md."""
    hits = dict.fromkeys(NAMES, 0)
    paths = sorted((data_dir / "photos").glob("kodak24*"))[:12]
    for path in paths:
        with Image.open(path) as image:
            photo = image.convert("RGB")
        assert not set(names(photo)) & {"overexposed", "underexposed", "flat", "tiny", "empty"}
        for fault in NAMES:
            hits[fault] += fault in names(spoiled(photo, fault))
    assert len(paths) == 12 and min(hits.values()) >= 10, hits


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (3, 2), (11, 11), (17, 40)])
def test_any_size_has_finite_measures(shape):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    found = find_faults(pixels)
    assert all(np.isfinite(value) for value in found.measures.values())
    assert "tiny" in found.names


def test_large_photographs_are_measured_at_the_size_of_a_screen():
    image = scene(2).resize((SIDE, SIDE * 2 // 3))
    enlarged = image.resize((image.width * 3, image.height * 3), Image.Resampling.BICUBIC)
    small, large = (find_faults(pixels_of(each)).measures for each in (image, enlarged))
    assert large["sharpness"] == pytest.approx(small["sharpness"], abs=0.08)
    assert large["short_side"] == 3 * small["short_side"]
