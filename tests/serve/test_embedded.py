"""The application inside another program: mounted, restarted, asked for folders and for endless JSON."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from dcnn_fast import Scorer
from dcnn_fast.serve import Settings, create_app
from tests import small
from tests.serve.server import picture

TOKEN = {"Authorization": "Bearer a long secret"}


def _app(**settings):
    return create_app(Scorer(small.model(), samples=3), Settings(deadline=30, **settings))


@pytest.mark.parametrize("place", ["/rating", "/cull"])
def test_a_mounted_application_scores_and_asks_for_its_token(place):
    app = _app(token="a long secret")

    @asynccontextmanager
    async def lifespan(_outer):
        async with app.router.lifespan_context(app):
            yield

    outer = FastAPI(lifespan=lifespan)
    outer.mount(place, app)
    with TestClient(outer) as client:
        assert client.get(f"{place}/health/live").status_code == 200
        assert client.get(f"{place}/v1/model").status_code == 401
        answer = client.post(f"{place}/v1/score", content=picture(1), headers=TOKEN)
    assert answer.status_code == 200 and 0 < answer.json()["mean"] < 1


def test_an_application_whose_lifespan_does_not_run_says_so(caplog):
    outer = FastAPI()
    outer.mount("/rating", _app())
    with TestClient(outer) as client:
        assert client.post("/rating/v1/score", content=picture(1)).status_code == 500
    assert "lifespan does not run" in caplog.text


def test_an_application_runs_a_second_time():
    app = _app()
    found = []
    for _ in range(2):
        with TestClient(app) as client:
            found.append(client.post("/v1/score", content=picture(1)).json())
    assert found[0] == found[1] and found[0]["error"] is None


def test_folders_that_are_named_leave_nothing_open(tmp_path):
    (tmp_path / "sub").mkdir()
    with TestClient(_app(root=tmp_path)) as client:
        for _ in range(3):
            client.post("/v1/score/file", json={"path": "sub"})
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            assert client.post("/v1/score/file", json={"path": "sub"}).status_code == 404
        assert len(os.listdir("/proc/self/fd")) < before + 10


def test_json_with_more_parts_than_a_request_of_images_is_not_read():
    body = b'{"inputs":[' + b"{}," * 5000 + b"{}]}"
    with TestClient(_app()) as client:
        answer = client.post("/v2/models/dcnn_fast/infer", content=body)
    assert answer.status_code == 400 and "more parts" in answer.json()["error"]
