"""Scores over HTTP equal those of the command line, on every path."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from pathlib import Path

import httpx
import numpy as np
import pytest
import tritonclient.http

from dcnn_fast import Scorer
from dcnn_fast.serve import Settings, create_app
from dcnn_fast.serve.workers import Workers
from tests import small
from tests.cli.command import lines, score
from tests.export.schemas import require_valid
from tests.serve.server import Server, picture

ROOT = Path(__file__).parents[2]


def test_a_score_is_the_line_that_the_command_writes(server, model, tmp_path):
    shapes = [(60, 80, "PNG"), (300, 40, "JPEG"), (20, 20, "WEBP")]
    contents = [picture(i, height, width, kind) for i, (height, width, kind) in enumerate(shapes)] + [b"no picture", b""]
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.png").write_bytes(content)
    done = score(model, *sorted(tmp_path.glob("*.png")), "--jsonl", tmp_path / "s.jsonl")
    assert done.returncode == 1
    for content, line in zip(contents, lines(tmp_path / "s.jsonl"), strict=True):
        answer = server.score(content)
        require_valid("score.v1", answer.json)
        require_valid("score.v1", line)
        own = {"path": None, "collection_percentile": None}
        assert {**answer.json, **own} == {**line, **own}
        assert answer.status == (200 if line["error"] is None else 422)
        assert answer.headers["content-type"] == "application/json"


def test_options_of_scoring_are_those_of_the_command(model, tmp_path):
    options = "--seed", 7, "--grid", 2, "--long-side", 50, "--max-megapixels", 1, "--dtype", "bfloat16", "--faults"
    contents = [picture(1, 90, 120), picture(2, 1001, 1000), picture(3, 1200, 90, "JPEG")]
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.png").write_bytes(content)
    score(model, *sorted(tmp_path.glob("*.png")), "--jsonl", tmp_path / "s.jsonl", *options)
    with Server(model, *options) as running:
        said = running.get("/v1/model").json
        assert (said["seed"], said["grid"], said["long_side"], said["dtype"]) == (7, 2, 50, "bfloat16")
        for content, line in zip(contents, lines(tmp_path / "s.jsonl"), strict=True):
            own = {"path": None, "collection_percentile": None}
            answer = running.score(content)
            require_valid("score.v1", answer.json)
            assert {**answer.json, **own} == {**line, **own}
            assert line["faults"] is not None or "decompression bomb" in line["error"]


def test_the_page_s_lines_make_an_application():
    found = {}
    for code in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "serve.md").read_text(), re.DOTALL):
        exec(code, found)
    assert "/rating" in [route.path for route in found["yours"].routes]
    answers = asked_of(found["app"], ("GET", "/health/live", None), ("GET", "/v1/model", None))
    assert [answer.status_code for answer in answers] == [200, 401]


@pytest.mark.parametrize("workers", [1, 3])
def test_pictures_that_queue_have_the_numbers_that_each_has_alone(model, workers):
    """Their heads are then computed together: more pictures than fill a batch, one of them unreadable."""
    contents = [picture(number, 40 + 7 * number) for number in range(10)]
    contents.insert(4, b"bad")
    with Server(model, "--workers", workers) as server:
        for count in (1, 4, 5, 11):
            found = server.batch([("a", content) for content in contents[:count]]).json["scores"]
            alone = [server.score(content).json for content in contents[:count]]
            assert found == [{**score, "path": "a"} for score in alone]
        assert server.metrics()["dcnn_fast_computed_images"] == 1 + 2 * 21  # the first score, and each picture twice


def test_a_batch_has_each_score_in_its_place(server):
    files = [("a.png", picture(1)), ("bad.png", b"bad"), ("b.jpg", picture(2, kind="JPEG")), ("a.png", picture(1))]
    answer = server.batch(files)
    assert answer.status == 200
    require_valid("serve-batch.v1", answer.json)
    found = answer.json["scores"]
    assert [each["path"] for each in found] == [name for name, _ in files]
    assert [each["error"] for each in found] == [None, "not an image of a known format", None, None]
    for (name, content), each in zip(files, found, strict=True):
        assert each == {**server.score(content).json, "path": name}


def test_the_model_is_described(server, model):
    said = server.get("/v1/model").json
    require_valid("serve-model.v1", said)
    assert said["model"]["digest"] == small.model().digest and (said["views"], said["seed"]) == (3, 0)


def test_health_and_what_is_counted(server):
    assert server.get("/health/live").json == {"live": True} and server.get("/health/ready").json == {"ready": True}
    before = server.metrics()
    server.score(picture())
    server.score(b"bad")
    server.get("/nowhere/of/a/client's")
    after = server.metrics()

    def more(name):
        return after.get(name, 0) - before.get(name, 0)

    assert more('dcnn_fast_images_total{result="scored"}') == 1 and more('dcnn_fast_images_total{result="unreadable"}') == 1
    assert more('dcnn_fast_requests_total{path="/v1/score",status="200"}') == 1
    assert more('dcnn_fast_requests_total{path="/v1/score",status="422"}') == 1
    assert more('dcnn_fast_requests_total{path="other",status="404"}') == 1
    assert not any("nowhere" in name for name in after)
    assert server.held() == (0, 0)


@pytest.mark.parametrize("binary", [True, False])
def test_triton_s_client_gets_the_same_numbers(server, binary):
    contents = [picture(5), picture(6, kind="JPEG")]
    client = tritonclient.http.InferenceServerClient(f"127.0.0.1:{server.port}")
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("dcnn_fast")
    assert client.is_model_ready("dcnn_fast", "1") and not client.is_model_ready("other")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    described = client.get_model_metadata("dcnn_fast")
    require_valid("serve-infer-model.v1", described)
    given = tritonclient.http.InferInput("image", [2], "BYTES")
    given.set_data_from_numpy(np.array(contents, dtype=object), binary_data=True)
    names = [each["name"] for each in described["outputs"]]
    asked = [tritonclient.http.InferRequestedOutput(name, binary_data=binary) for name in names]
    found = client.infer("dcnn_fast", [given], outputs=asked, request_id="mine")
    assert found.get_response()["id"] == "mine"
    for number, content in enumerate(contents):
        said = server.score(content).json
        assert found.as_numpy("probabilities")[number].tolist() == list(said["probs"].values())
        assert (found.as_numpy("mean")[number], found.as_numpy("std")[number]) == (said["mean"], said["std"])
        label = found.as_numpy("label")[number]
        assert (label.decode() if isinstance(label, bytes) else label) == said["label"]
    given = tritonclient.http.InferInput("image", [1], "BYTES")
    given.set_data_from_numpy(np.array([b"bad"], dtype=object))
    with pytest.raises(tritonclient.utils.InferenceServerException, match="image 0: not an image of a known format"):
        client.infer("dcnn_fast", [given])
    client.close()


def test_an_inference_in_json_alone(server):
    data = [base64.b64encode(picture(5)).decode()]
    tensor = {"name": "image", "shape": [1, 1], "datatype": "BYTES", "data": [data]}
    answer = server.ask("POST", "/v2/models/dcnn_fast/versions/1/infer", json.dumps({"inputs": [tensor]}))
    assert answer.status == 200
    require_valid("serve-infer.v1", answer.json)
    outputs = {each["name"]: each["data"] for each in answer.json["outputs"]}
    said = server.score(picture(5)).json
    assert outputs["mean"] == [said["mean"]] and outputs["probabilities"] == list(said["probs"].values())


TENSOR = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [""]}


@pytest.mark.parametrize(
    ("request_body", "headers", "message"),
    [
        (b"\xff", {}, "must begin with JSON"), (b"[]", {}, "the request must be an object"), (b"{}", {}, "inputs must be one"),
        ({"inputs": [TENSOR, TENSOR]}, {}, "inputs must be one"), ({"inputs": [1]}, {}, "an input must be an object"),
        ({"inputs": [{**TENSOR, "name": "x"}]}, {}, "must be called image"),
        ({"inputs": [{**TENSOR, "datatype": "FP32"}]}, {}, "of the type BYTES"),
        ({"inputs": [{**TENSOR, "shape": [1, 2]}]}, {}, "shape must be"), ({"inputs": [{**TENSOR, "shape": []}]}, {}, "shape"),
        ({"inputs": [{**TENSOR, "shape": [True]}]}, {}, "shape"), ({"inputs": [{**TENSOR, "shape": [-1]}]}, {}, "shape"),
        ({"inputs": [{**TENSOR, "shape": [2]}]}, {}, "data must be 2 texts of base64"),
        ({"inputs": [{**TENSOR, "data": ["*"]}]}, {}, "data must be texts of base64"),
        ({"inputs": [{**TENSOR, "data": [""]}]}, {}, "image 0: the file is empty"),
        ({"inputs": [{**TENSOR, "parameters": {"binary_data_size": 0}}]}, {}, "must have data, or binary_data_size"),
        ({"inputs": [TENSOR], "outputs": [{"name": "x"}]}, {}, "outputs must be among probabilities, label, mean, std"),
        ({"inputs": [TENSOR], "id": 3}, {}, "id must be text"),
        ({"inputs": [TENSOR], "parameters": {"binary_data_output": 1}}, {}, "must be true or false"),
        ({"inputs": [TENSOR]}, {"Inference-Header-Content-Length": "9999"}, "must be a number of bytes of the body"),
        ({"inputs": [TENSOR]}, {"Inference-Header-Content-Length": "x"}, "must be a number of bytes of the body"),
    ],
)  # fmt: skip
def test_what_is_no_inference_is_refused_in_one_line(server, request_body, headers, message):
    body = request_body if isinstance(request_body, bytes) else json.dumps(request_body).encode()
    answer = server.ask("POST", "/v2/models/dcnn_fast/infer", body, headers)
    require_valid("serve-error.v1", answer.json)
    assert answer.status == 400 and message in answer.json["error"]


@pytest.mark.parametrize(
    "rest", [b"", b"\x01\0\0", b"\x05\0\0\0abcd", b"\x01\0\0\0abc", b"\xff\xff\xff\xffabc"]
)  # fmt: skip
def test_binary_tensors_that_are_cut_or_too_long_are_refused(server, rest):
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(rest)}}
    head = json.dumps({"inputs": [tensor]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    answer = server.ask("POST", "/v2/models/dcnn_fast/infer", head + rest, headers)
    assert answer.status == 400 and answer.json["error"].startswith("the binary data must be 1 images")


def asked_of(app, *requests):
    """The answers of an application that another program runs."""

    async def run():
        transport = httpx.ASGITransport(app)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://of.us") as client:
            return [await client.request(method, path, content=content) for method, path, content in requests]

    return asyncio.run(run())


def test_the_application_runs_in_a_program_s_own_server():
    scorer = Scorer(small.model(), samples=4)
    (answer,) = asked_of(create_app(scorer, Settings(workers=2)), ("POST", "/v1/score", picture(3)))
    assert answer.status_code == 200 and answer.json() == json.loads(json.dumps(scorer.score(picture(3)).as_dict()))


def test_a_failure_inside_is_one_line_here_and_there(monkeypatch, caplog):
    def broken(self, job):
        raise RuntimeError("one\ntwo")

    monkeypatch.setattr(Workers, "_begun", broken)
    app = create_app(Scorer(small.model(), samples=4), Settings(workers=1))
    requests = ("POST", "/v1/score", picture(3)), ("GET", "/health/ready", None), ("GET", "/health/live", None)
    failed, ready, live = asked_of(app, *requests)
    assert failed.status_code == 500 and failed.json() == {"error": "the server failed"}
    assert ready.status_code == 503 and live.status_code == 200
    said = [record for record in caplog.records if record.name == "dcnn_fast.serve"]
    messages = ["the first score failed: RuntimeError: one two", "POST /v1/score failed: RuntimeError: one two"]
    assert sorted(record.getMessage() for record in said) == sorted(messages)
    assert all(record.exc_info is None for record in said)


@pytest.mark.parametrize(
    "wrong",
    [
        {"images": 0}, {"images": True}, {"bytes": -1}, {"body_bytes": 2**29}, {"deadline": 0}, {"deadline": float("nan")},
        {"workers": 0}, {"workers": 1.0}, {"token": "short"}, {"token": "with a\nline end"}, {"token": "\u00fcber-secret"},
        {"root": Path("/nowhere")},
    ],
)  # fmt: skip
def test_settings_without_sense_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**wrong)
