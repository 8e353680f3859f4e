"""A server's limits: room, sizes, time, tokens and files; and clients that leave."""

from __future__ import annotations

import json
import os

import pytest

from tests.export.schemas import require_valid
from tests.serve.server import Server, form, picture

TOKEN = "a long secret"


@pytest.fixture(scope="module")
def tight(model):
    """Room for two images, a megabyte a request, one worker."""
    options = "--queue-images", 2, "--queue-megabytes", 2, "--body-megabytes", 1, "--workers", 1
    with Server(model, *options) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(model, tmp_path_factory):
    """A token, and a folder of pictures with links."""
    folder = tmp_path_factory.mktemp("root")
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.png").write_bytes(picture(9))
    (folder / "sub").mkdir()
    (folder / "sub" / "a.png").write_bytes(picture(1))
    (folder / "inside.png").symlink_to(folder / "sub" / "a.png")
    (folder / "out.png").symlink_to(outside / "secret.png")
    (folder / "away").symlink_to(outside)
    (folder / "large.png").write_bytes(bytes(1_100_000))
    os.mkfifo(folder / "pipe")
    (outside / "token").write_text(TOKEN + "\nmore\n")
    with Server(
        model, "--token-file", outside / "token", "--root", folder, "--body-megabytes", 1, token=TOKEN
    ) as running:  # fmt: skip
        running.outside, running.folder = outside, folder
        yield running


def refused(answer, status):
    require_valid("serve-error.v1", answer.json)
    assert answer.status == status, answer.content
    return answer.json["error"]


def test_a_full_queue_refuses_before_the_body_is_read(tight):
    first, second = tight.begun(1000, b"x"), tight.begun(1000)
    tight.until(lambda: tight.held() == (2, 2000))
    third = tight.begun(1000)  # its body is never sent
    answer = tight.answer(third)
    assert "the server is busy: 2 images" in refused(answer, 429)
    assert int(answer.headers["Retry-After"]) >= 1
    assert refused(tight.batch([("a.png", picture())]), 429) and tight.get("/v1/model").status == 200
    counted = tight.metrics()
    for path in ("/v1/score", "/v1/score/batch"):
        assert counted[f'dcnn_fast_requests_total{{path="{path}",status="429"}}'] == 1
    for each in (first, second, third):
        each.close()
    tight.until(lambda: tight.held() == (0, 0))
    assert tight.score(picture()).status == 200


def test_room_is_counted_in_bytes_too(tight):
    first = tight.begun(1_000_000)
    second = tight.begun(999_990)
    tight.until(lambda: tight.held() == (2, 1_999_990))
    second.close()
    tight.until(lambda: tight.held() == (1, 1_000_000))
    assert tight.score(picture()).status == 200
    first.close()
    tight.until(lambda: tight.held() == (0, 0))


def test_bytes_alone_can_fill_the_queue(model):
    options = "--queue-images", 50, "--queue-megabytes", 1, "--body-megabytes", 1
    with Server(model, *options) as server:
        first = server.begun(999_000)
        server.until(lambda: server.held() == (1, 999_000))
        assert "999000 of 1000000 bytes" in refused(server.score(picture()), 429)
        first.close()
        server.until(lambda: server.held() == (0, 0))
        assert server.score(picture()).status == 200


def chunked(server, pieces):
    connection = server.connection()
    connection.request("POST", "/v1/score", iter(pieces), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
    response = connection.getresponse()
    found = response.status, response.read()
    connection.close()
    return found


def test_a_body_that_is_too_large_is_refused(tight):
    opened = tight.begun(1_000_001)
    assert "at most 1000000 bytes" in refused(tight.answer(opened), 413)
    opened.close()
    opened = tight.begun(2**40)
    answer = tight.answer(opened)
    assert refused(answer, 413) and answer.headers["Connection"] == "close"
    opened.close()
    assert refused(tight.score(bytes(1_000_001)), 413)
    assert tight.held() == (0, 0)


def test_a_body_whose_length_is_not_said_is_counted_while_it_comes(tight):
    whole = picture()
    status, content = chunked(tight, [whole[:100], whole[100:]])
    assert (status, content) == (200, tight.score(whole).content)
    assert chunked(tight, [bytes(200_000)] * 6)[0] == 413
    assert tight.held() == (0, 0)


@pytest.mark.parametrize("length", ["-1", "1e3", "", "9" * 30, "0x10"])
def test_a_length_that_is_none_is_refused(tight, length):
    opened = tight.begun(length)
    assert tight.answer(opened).status in (400, 413)
    opened.close()
    assert tight.held() == (0, 0)


def test_a_batch_has_no_more_files_than_there_is_room_for(tight):
    assert tight.batch([("a.png", picture()), ("b.png", picture())]).status == 200
    assert "at most 2 files" in refused(tight.batch([("a.png", picture())] * 3), 413)
    first = tight.begun(100)
    tight.until(lambda: tight.held()[0] == 1)
    assert refused(tight.batch([("a.png", picture())] * 2), 429)
    first.close()
    tight.until(lambda: tight.held() == (0, 0))


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "multipart/form-data; boundary=xyz", 400), (b"--xyz--\r\n", "multipart/form-data; boundary=xyz", 400),
        (form([("a.png", b"x")])[0], "multipart/form-data", 400), (form([("a.png", b"x")])[0], "text/plain", 415),
        (form([("a.png", b"x")])[0][:-20], "multipart/form-data; boundary=xyz", 400),
        (b"x", "multipart/form-data; boundary=", 400),
        (b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n--xyz--\r\n', "multipart/form-data; boundary=xyz", 400),
        (b"--xyz\r\nContent-Disposition: nonsense\r\n\r\nx\r\n--xyz--\r\n", "multipart/form-data; boundary=xyz", 400),
    ],
)  # fmt: skip
def test_what_is_no_form_of_files_is_refused(tight, body, kind, status):
    assert refused(tight.ask("POST", "/v1/score/batch", body, {"Content-Type": kind}), status)
    assert tight.held() == (0, 0)


def test_a_client_that_has_gone_is_not_computed_for(model):
    with Server(model, "--workers", 1, samples=20_000) as server:
        busy = server.begun_batch([("a.png", picture(i)) for i in range(12)])
        server.until(lambda: server.held()[0] == 12)
        gone = [server.begun_batch([("b.png", picture(50 + i))]) for i in range(5)]
        server.until(lambda: server.held()[0] == 17)
        for each in gone:
            each.close()
        server.until(lambda: server.metrics().get('dcnn_fast_images_total{result="given up"}') == 5)
        assert server.held()[0] == 12
        assert len(server.answer(busy).json["scores"]) == 12
        assert server.metrics()['dcnn_fast_images_total{result="scored"}'] == 12
        busy.close()
        assert server.score(picture()).status == 200  # after those that were given up
        assert server.metrics()["dcnn_fast_computed_images"] == 1 + 12 + 1  # the first score, the batch, and this one


def test_what_is_not_ready_in_time_is_504_and_what_does_not_come_408(model):
    with Server(model, "--workers", 1, "--deadline", 0.5, samples=20_000) as server:
        late = server.batch([("a.png", picture(i)) for i in range(60)])
        assert "within 0.5 seconds" in refused(late, 504)
        slow = server.begun(1000, b"begun")
        assert "had not come within 0.5 seconds" in refused(server.answer(slow), 408)
        slow.close()
        assert server.held() == (0, 0)
        server.until(lambda: server.score(picture()).status == 200)
        assert server.metrics()['dcnn_fast_images_total{result="scored"}'] == 1


@pytest.mark.parametrize(
    "authorization", [None, "", TOKEN, "Bearer", "Bearer a long secre", "Bearer a long secret ", "Basic a long secret", "b\xe9"]
)
def test_without_the_token_nothing_is_answered_but_health(guarded, authorization):
    headers = {} if authorization is None else {"Authorization": authorization}
    guarded.token = None
    try:
        asked = "/v1/model", "/metrics", "/openapi.json", "/x"
        for method, path in (("POST", "/v1/score"), *(("GET", each) for each in asked)):
            if authorization == "Bearer a long secret ":
                continue  # spaces after a header's value are not part of it
            answer = guarded.ask(method, path, picture() if method == "POST" else None, headers)
            assert refused(answer, 401) and answer.headers["WWW-Authenticate"] == "Bearer"
        for path in ("/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"):
            assert guarded.ask("GET", path, None, headers).status == 200
    finally:
        guarded.token = TOKEN
    assert guarded.score(picture()).status == 200


def named(server, path):
    return server.ask("POST", "/v1/score/file", json.dumps({"path": str(path)}), {"Content-Type": "application/json"})


def test_files_below_the_root_are_scored(guarded):
    wanted = guarded.score(picture(1)).json
    for path in ("sub/a.png", "inside.png", "sub/../sub/a.png", guarded.folder / "sub" / "a.png"):
        answer = named(guarded, path)
        assert answer.status == 200 and answer.json == {**wanted, "path": str(path)}


def test_files_elsewhere_are_none(guarded):
    outside = guarded.outside
    for path in (
        "out.png", "away/secret.png", f"../{outside.name}/secret.png", outside / "secret.png", "/etc/hostname", "nothing.png",
        "sub", ".", "/", "pipe", "a\0b", "/dev/zero", f"{guarded.folder}-x/a.png", "x" * 5000,
    ):  # fmt: skip
        assert refused(named(guarded, path), 404) == "no such file below the server's root", path
    assert "at most 1000000 bytes" in refused(named(guarded, "large.png"), 413)


@pytest.mark.parametrize("body", ["", "{", "[]", "{}", '{"path": 1}', '{"path": ""}', '{"path": "a", "more": 1}'])
def test_a_request_that_names_no_file_is_refused(guarded, body):
    assert refused(guarded.ask("POST", "/v1/score/file", body), 400)


def test_without_a_root_no_file_is_read(server):
    assert "without --root" in refused(named(server, "a.png"), 403)


def test_addresses_are_never_fetched(server):
    answer = server.score(b"http://127.0.0.1:1/a.png")
    assert answer.status == 422 and answer.json["error"] == "not an image of a known format"
