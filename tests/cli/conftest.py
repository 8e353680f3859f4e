"""A small model and a folder of photographs for the tests of the command line."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dcnn_fast import save_model
from tests import small


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    save_model(small.model(), path)
    return path


def photograph(path, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (40 + seed % 5, 50, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path):
    """Five photographs, one of them in a subfolder, and a file that is not a photograph."""
    photos = tmp_path / "photos"
    (photos / "sub").mkdir(parents=True)
    for i, name in enumerate(("a.png", "b.JPG", "c.webp", "sub/d.png", 'comma, "quote".png')):
        photograph(photos / name, i)
    (photos / "notes.txt").write_text("passed over")
    return photos
