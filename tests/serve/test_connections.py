"""Silent connections, unknown host names, and the limit of memory."""

from __future__ import annotations

import http.client
import io
import re
import resource
import socket
import time
from contextlib import contextmanager

import pytest
from PIL import Image

from tests.cli.command import run
from tests.serve.server import Server, picture

HEAD = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"


def blank(side):
    """The file of a picture, small whatever the picture's side."""
    file = io.BytesIO()
    Image.new("RGB", (side, side)).save(file, "JPEG")
    return file.getvalue()


def opened(server, sent=b""):
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    connection.sendall(sent)
    return connection


def send_on(connection, piece, times, pause=0.0):
    """Send the piece again and again."""
    for _ in range(times):
        connection.sendall(piece)
        time.sleep(pause)


def is_closed(connection):
    """Wait until the other side closes the socket; returns whether it sent anything before."""
    try:
        return connection.recv(1000) == b""
    except ConnectionResetError:
        return True


def answer(connection):
    """A whole answer: its head and its body may arrive separately."""
    found = b""
    while b"\r\n\r\n" not in found:
        found += connection.recv(1000)
    head, _, body = found.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head.lower())[1])
    while len(body) < length:
        body += connection.recv(1000)
    return head


@pytest.fixture(scope="module")
def hasty(model):
    """A server that allows one second for a head."""
    with Server(model, "--deadline", 1) as running:
        yield running


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"G", b"GET /health/live HTTP/1.1\r\nHo", HEAD, b"POST /v1/score HTTP/1.1\r\n"])
def test_a_head_that_does_not_come_is_not_waited_for(hasty, sent):
    connection = opened(hasty, sent)
    assert is_closed(connection)
    connection.close()


@pytest.mark.parametrize("more", [b"\r\n", b"GET", HEAD])
def test_a_second_head_is_not_waited_for_either(hasty, more):
    connection = opened(hasty, HEAD + b"\r\n")
    assert answer(connection).startswith(b"HTTP/1.1 200")
    connection.sendall(more)
    assert is_closed(connection)
    connection.close()


def test_a_head_that_drips_is_closed_and_one_that_comes_in_parts_is_answered(hasty):
    slow, right = opened(hasty, HEAD), opened(hasty, HEAD[:20])
    right.sendall(HEAD[20:] + b"\r\n")
    assert right.recv(1000).startswith(b"HTTP/1.1 200")
    right.close()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        send_on(slow, b"X-More: 1\r\n", 300, 0.02)
    slow.close()


def test_a_head_without_end_is_not_kept(server):
    connection = opened(server)
    connection.sendall(b"GET / HTTP/1.1\r\n")
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        send_on(connection, b"X: " + b"a" * 4000 + b"\r\n", 2000)
    connection.close()
    assert server.get("/health/live").status == 200


CHUNKED = b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("before", [b"GET / HTTP/1.1\r\nX: ", CHUNKED + b"1\r\na\r\n0\r\nX: "])
def test_a_field_without_end_is_not_kept(server, before):
    """The parser joins all of a field's pieces each time: it must not be given more than a head may have."""
    connection = opened(server, before)
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        send_on(connection, b"a" * 2**16, 200)
    connection.close()


def test_a_body_in_many_pieces_is_no_head(server):
    content = picture(height=400, width=400)
    connection = opened(server, CHUNKED + b"%x\r\n" % len(content))
    for at in range(0, len(content), 50_000):
        connection.sendall(content[at : at + 50_000])
        time.sleep(0.01)
    connection.sendall(b"\r\n0\r\n\r\n")
    assert server.answer(connection).status == 200
    connection.close()


@contextmanager
def descriptors(most):
    """Limit the descriptors of processes started inside."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_idle_connections_do_not_use_up_descriptors(model):
    """More connections than the server has descriptors: the oldest give way, requests at work stay, and nothing is logged."""
    with descriptors(160):
        server = Server(model)
    with server:
        begun = server.begun(100, b"x")
        server.until(lambda: server.held() == (1, 100))
        idle = [opened(server, b"GET" if i % 2 else b"") for i in range(200)]
        for _ in range(3):
            assert server.score(picture()).status == 200
        assert server.held() == (1, 100)
        closed = sum(_is_gone(each) for each in idle[:50])
        assert closed == 50
        begun.sendall(b"x" * 99)
        assert server.answer(begun).status == 422
        for each in (begun, *idle):
            each.close()
        server.process.terminate()
        assert server.ended()[1] == ""


def test_clients_that_do_not_read_are_not_waited_for(model):
    """As many connections as allowed send requests and read no answer: they are closed, and others are answered."""
    with descriptors(90):
        server = Server(model, "--deadline", 2)
    with server:
        deaf = [_deaf(server) for _ in range(4)]
        assert all(sent > 1000 for _, sent in deaf)
        server.until(lambda: _is_answered(server))
        for each, _ in deaf:
            each.close()


def _deaf(server):
    """A connection filled with requests, and their number; no answer is read."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", server.port))
    connection.settimeout(0.5)
    sent = 0
    try:
        while sent < 100_000:
            connection.sendall((HEAD.replace(b"health/live", b"openapi.json") + b"\r\n") * 100)
            sent += 100
    except (TimeoutError, ConnectionError):
        pass
    return connection, sent


def _is_answered(server):
    try:
        return server.get("/health/live").status == 200
    except (ConnectionError, http.client.HTTPException):
        return False


def _is_gone(connection):
    connection.settimeout(0.5)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("LOCALHOST:8000", 200), ("127.0.0.1:1", 200), ("[::1]:8000", 200), ("localhost.", 200),
        ("rebound.example", 421), ("rebound.example:8000", 421), ("localhost.rebound.example", 421), ("", 421),
        ("127.0.0.1.rebound.example", 421), ("localhost@rebound.example", 421), ("a b", 421),
    ],
)  # fmt: skip
def test_a_page_of_another_name_gets_nothing(server, host, status):
    for path in ("/health/live", "/v1/model", "/openapi.json"):
        assert server.get(path, Host=host).status == status
    answer = server.score(picture(), headers={"Host": host})
    assert answer.status == status and ("error" in answer.json)


def test_a_name_that_is_allowed_is_answered_and_an_old_client_too(model):
    with Server(model, "--allow-host", "photos.example") as server:
        assert server.get("/v1/model", Host="photos.example").status == 200
        assert server.get("/v1/model", Host="other.example").status == 421
        connection = opened(server, b"GET /health/live HTTP/1.0\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        connection.close()


@pytest.mark.parametrize("name", ["example.com:8443", "[::1]", "*", "*.example.com", "", "http://example.com"])
def test_a_name_that_no_request_has_is_refused(model, name):
    done = run("serve", "--model", model, "--port", 0, "--allow-host", name)
    assert (
        done.returncode == 2
        and f"--allow-host must be a host's name without a port, brackets or *, got {name!r}" in done.stderr
    )


def test_images_that_are_given_up_are_counted_each(model):
    with Server(model, "--workers", 1, samples=20_000) as server:
        busy = server.begun_batch([("a.png", picture(i)) for i in range(8)])
        server.until(lambda: server.held()[0] == 8)
        gone = server.begun_batch([("b.png", picture(50 + i)) for i in range(3)])
        server.until(lambda: server.held()[0] == 11)
        gone.close()
        server.until(lambda: server.metrics().get('dcnn_fast_images_total{result="given up"}') == 3)
        busy.close()
        server.until(lambda: server.metrics()['dcnn_fast_images_total{result="given up"}'] == 11)


def test_memory_can_be_limited(model):
    """A picture that does not fit is refused and the next one scored; too small a limit is refused with the memory needed."""
    few = run("serve", "--model", model, "--port", 0, "--max-memory", "100M")
    assert few.returncode == 2
    least = int(re.search(r"it must be at least (\d+)M\n", few.stderr)[1])
    with Server(model, "--workers", 1, "--max-memory", f"{least + 50}M") as server:
        large = server.score(blank(8000))
        assert large.status == 422 and "--max-memory" in large.json["error"]
        assert server.score(picture()).status == 200
