"""A server that is stopped, killed, or called wrongly."""

from __future__ import annotations

import json
import shlex
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.cli.command import PROGRAM, environment, main, run
from tests.serve.server import Server, picture


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)])
def test_what_is_in_work_is_answered_before_the_end(model, number, status):
    with Server(model, "--workers", 1, samples=20_000) as server:
        begun = [server.begun_batch([("a.png", picture(i))] * 3) for i in range(3)]
        server.until(lambda: server.held()[0] == 9)
        server.process.send_signal(number)
        answers = [server.answer(each) for each in begun]
        assert [answer.status for answer in answers] == [200] * 3
        assert all(len(answer.json["scores"]) == 3 for answer in answers)
        assert server.ended() == (status, "")
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", server.port))
        for each in begun:
            each.close()


def test_a_killed_server_leaves_nothing_and_another_takes_its_port(model, tmp_path):
    with Server(model, cwd=tmp_path) as server:
        begun = server.begun(1000, b"begun")
        server.until(lambda: server.held()[0] == 1)
        server.process.kill()
        server.process.wait()
        assert begun.recv(100) == b""
    assert not list(tmp_path.iterdir())
    with Server(model, "--port", server.port) as again:
        assert again.port == server.port and again.score(picture()).status == 200


def test_a_standard_error_that_is_full_or_closed_ends_nothing(model):
    probe = socket.create_server(("127.0.0.1", 0))
    port = probe.getsockname()[1]
    probe.close()
    for stream in ("2>/dev/full", "2>&-"):
        command = shlex.join([*main(), "serve", "--model", str(model), "--port", str(port), "--samples", "3"])
        process = subprocess.Popen(["bash", "-c", f"exec {command} {stream}"], env=environment())
        server = Server.__new__(Server)
        server.process, server.port, server.token = process, port, None
        try:
            server.until(partial(_answers, server))
            assert server.score(picture()).status == 200
            assert server.score(b"bad").status == 422
        finally:
            process.terminate()
            assert process.wait(30) in (-signal.SIGTERM, 143)


def _answers(server):
    try:
        return server.get("/health/ready").status == 200
    except OSError:
        return False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", 70000], "--port must be from 0 to 65535"),
        (["--host", "256.1.1.1", "--port", 0], "cannot listen on"),
        (["--model", "nothing.safetensors"], "no such file"),
        (["--samples", 0], "samples must be"),
        (["--grid", 3], "grid must be"),
        (["--dtype", "int8"], "dtype must be"),
        (["--queue-images", 0], "images must be"),
        (["--deadline", 0], "deadline must be"),
        (["--body-megabytes", 300], "body_bytes must be at most bytes"),
        (["--root", "nothing"], "root must be a folder"),
        (["--token-file", "nothing"], "no such file"),
        (["--workers", 0], "--workers must be"),
        (["--seed", -1], "--seed must be"),
    ],
)
def test_a_wrong_call_is_one_line(tmp_path, arguments, message):
    done = run("serve", *arguments, cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1, done


def test_a_port_that_is_taken_is_named(model, server):
    done = run("serve", "--model", model, "--port", server.port)
    assert done.returncode == 2 and f"port {server.port}: Address already in use" in done.stderr


def test_a_missing_package_is_named(tmp_path):
    program = f"import sys; sys.modules['fastapi'] = None\n{PROGRAM}"
    done = subprocess.run([*main(program), "serve"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr == "error: serve needs fastapi: pip install 'dcnn-fast[serve]'\n"


def test_an_open_address_without_a_token_is_warned_of(model):
    process = subprocess.Popen(
        [*main(), "serve", "--model", str(model), "--port", "0", "--host", "0.0.0.0"], stderr=subprocess.PIPE, text=True,
        env=environment(),
    )  # fmt: skip
    try:
        said = [process.stderr.readline() for _ in range(2)]
        assert "--token-file asks for a token" in said[1], said
    finally:
        process.kill()
        process.communicate()


def test_the_page_s_example_scores(server, tmp_path):
    """Run as a user runs it."""
    path = Path(__file__).parents[2] / "examples" / "serve_client.py"
    (tmp_path / "a.png").write_bytes(picture(1))
    (tmp_path / "bad.png").write_bytes(b"bad")
    command = [sys.executable, str(path), f"http://127.0.0.1:{server.port}", str(tmp_path / "a.png"), str(tmp_path / "bad.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second = map(json.loads, done.stdout.splitlines())
    assert first["mean"] == server.score(picture(1)).json["mean"] and second["error"] == "not an image of a known format"
