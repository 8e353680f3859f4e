"""Photographic faults for pre-training: each changes the picture, and the two of a pair differ only in the fault."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from studies.oasis.faults import FAULTS, pair

y, x = np.mgrid[0:90, 0:120]
PHOTO = np.stack([128 + 90 * np.sin(x / 5 + i) * np.cos(y / 7) for i in range(3)], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_changes_the_picture_but_not_its_size(name):
    for seed in range(5):
        image = Image.fromarray(PHOTO)
        faulty = np.asarray(FAULTS[name](image, np.random.default_rng(seed)))
        assert (faulty.shape, faulty.dtype) == (PHOTO.shape, np.uint8)
        assert np.abs(faulty.astype(int) - PHOTO).mean() > 1
        assert np.array_equal(np.asarray(image), PHOTO)


def test_a_pair_is_one_picture_once_with_a_fault():
    clean, faulty = pair(PHOTO, np.random.default_rng(0))
    assert clean.shape == faulty.shape == PHOTO.shape
    assert np.abs(clean.astype(int) - PHOTO).mean() < 4
    assert not np.array_equal(clean, faulty)


def test_the_seed_decides():
    for one, same in zip(pair(PHOTO, np.random.default_rng(3)), pair(PHOTO, np.random.default_rng(3)), strict=True):
        np.testing.assert_array_equal(one, same)
