"""A small model, and its server, which the tests share."""

from __future__ import annotations

import pytest

from dcnn_fast import save_model
from tests import small
from tests.serve.server import Server


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    save_model(small.model(), path)
    return path


@pytest.fixture(scope="module")
def server(model):
    with Server(model) as running:
        yield running
