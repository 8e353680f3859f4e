"""Mutated files: read gives a well-formed photograph or a ReadError, whatever the bytes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dcnn_fast.data import ReadError, read


def _seeds():
    rng = np.random.default_rng(7)
    image = Image.fromarray(rng.integers(0, 256, (24, 20, 3)).astype(np.uint8))
    rgba = Image.fromarray(rng.integers(0, 256, (24, 20, 4)).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    seeds = []
    variants = [
        (image, "JPEG", {"exif": exif}), (image, "JPEG", {"progressive": True}), (image.convert("CMYK"), "JPEG", {}),
        (rgba, "PNG", {"exif": exif}), (image.quantize(9), "PNG", {}), (image, "GIF", {}), (rgba, "WEBP", {}),
        (image, "TIFF", {}), (image, "TIFF", {"compression": "tiff_lzw"}), (image, "BMP", {}), (image, "JPEG2000", {}),
        (image, "AVIF", {}),
    ]  # fmt: skip
    for variant, kind, options in variants:
        buffer = io.BytesIO()
        variant.save(buffer, kind, **options)
        seeds.append(buffer.getvalue())
    return seeds


SEEDS = _seeds()


def _read_or_refuse(data):
    try:
        photo = read(data, max_pixels=4_000_000)
    except ReadError as error:
        assert str(error)
        assert "\n" not in str(error)
        assert "0x" not in str(error)
        return
    assert photo.pixels.dtype == np.uint8
    assert photo.pixels.ndim == 3
    assert photo.pixels.shape[2] == 3
    assert min(photo.pixels.shape) > 0
    assert len(photo.digest) == 64


mutations = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=12)


@settings(max_examples=600, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(SEEDS), mutations, st.integers(0, 100))
def test_changed_bytes_and_short_files(seed, changes, kept):
    data = bytearray(seed)
    for position, value in changes:
        data[position % min(len(data), 400 if position % 2 else len(data))] = value
    _read_or_refuse(bytes(data[: len(data) * max(kept, 1) // 100] if kept < 60 else data))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.sampled_from([seed[:16] for seed in SEEDS]), st.binary(max_size=400))
def test_a_right_start_and_anything_after_it(start, rest):
    _read_or_refuse(start + rest)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_mutated_real_files(data):
    import os  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    folder = os.environ.get("DCNN_FAST_DATA")
    if not folder:
        pytest.skip("needs the data folder")
    files = sorted(path for path in (Path(folder) / "awkward").iterdir() if path.stat().st_size < 200_000)
    content = bytearray(data.draw(st.sampled_from(files)).read_bytes())
    for position, value in data.draw(mutations):
        content[position % len(content)] = value
    _read_or_refuse(bytes(content))
