"""Real files that break readers: each is read, or refused with a reason, as recorded here."""

from __future__ import annotations

import numpy as np
import pytest

from dcnn_fast.data import ReadError, read

READABLE_SUITE = {  # only the suite_* files; all others are damaged beyond reading
    "suite_28c74d9284d9836017fd519f6932efd8.jpg": (140, 140),
    "suite_316be81dfdeeb942e904feb3a77f4f83.jpg": (1071, 1443),
    "suite_5482a54657765056f1a94116a8dbffe7.jpg": (100, 100),
    "suite_8e5e74dbf9b68a322fbb9512db837329.jpg": (31237, 193),
    "suite_b55977028a3a574336966b6536640fc9.jpg": (261, 4),
}


def test_every_file_is_read_or_refused_as_expected(data_dir):
    files = sorted((data_dir / "awkward").iterdir())
    assert len(files) >= 70
    for path in files:
        expected = not path.name.startswith("suite_") or path.name in READABLE_SUITE
        try:
            photo = read(path)
        except ReadError as error:
            assert not expected, f"{path.name}: {error}"
            assert "\n" not in str(error)
            continue
        assert expected, path.name
        assert photo.pixels.shape[:2] == READABLE_SUITE.get(path.name, photo.pixels.shape[:2])


@pytest.mark.parametrize("kind", ["landscape", "portrait"])
def test_the_eight_orientations_show_one_picture(data_dir, kind):
    pixels = [read(data_dir / "awkward" / f"orientation_{kind}_{i}.jpg").pixels.astype(int) for i in range(1, 9)]
    for i, other in enumerate(pixels[1:], 2):
        assert other.shape == pixels[0].shape
        small, first = (array[8:-8:16, 8:-8:16] for array in (other, pixels[0]))
        assert np.abs(small - first).mean() < 12, i


def test_large_photographs_and_all_others_are_read(data_dir):
    for folder in ("photos_large", "photos"):
        for path in sorted((data_dir / folder).glob("*.jpg"))[:24]:
            assert min(read(path).pixels.shape[:2]) > 100
