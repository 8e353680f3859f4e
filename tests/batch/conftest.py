"""A small model, and a folder of photographs."""

from __future__ import annotations

import pytest

from dcnn_fast import save_model
from tests import small
from tests.serve.server import picture


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    save_model(small.model(), path)
    return str(path)


@pytest.fixture
def folder(tmp_path):
    """Nine photographs, one in a subfolder, and a file that is not a photograph."""
    photos = tmp_path / "photos"
    (photos / "sub").mkdir(parents=True)
    for i in range(8):
        (photos / f"{i}.png").write_bytes(picture(i))
    (photos / "sub" / "é.png").write_bytes(picture(8))
    (photos / "bad.png").write_bytes(b"bad")
    (photos / "notes.txt").write_text("passed over")
    return photos
