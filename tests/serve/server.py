"""`dcnn-fast serve` in its own process, and clients that behave well or badly."""

from __future__ import annotations

import http.client
import io
import json
import re
import signal
import socket
import subprocess
import time

import numpy as np
from PIL import Image

from tests.cli.command import environment, main

WAIT = 60  # seconds that any step may take before a test fails


def picture(seed=0, height=60, width=80, kind="PNG"):
    """The file of a picture."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def form(files):
    """The body of a form with these (filename, content), and its type."""
    body = b"".join(
        b'--xyz\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\n\r\n%s\r\n' % (name.encode(), content)
        for name, content in files
    )
    return body + b"--xyz--\r\n", {"Content-Type": "multipart/form-data; boundary=xyz"}


class Answer:
    """status, headers, content; json: the parsed content."""

    def __init__(self, response):
        self.status, self.headers, self.content = response.status, response.headers, response.read()

    @property
    def json(self):
        return json.loads(self.content)


class Server:
    """Use it in a with statement, which kills the server at the end if it still runs."""

    def __init__(self, model, *options, samples=3, token=None, **streams):
        command = [*main(), "serve", "--model", str(model), "--port", "0", "--samples", str(samples), *map(str, options)]
        streams = {"stderr": subprocess.PIPE, **streams}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(), **streams)
        self.token, self.said = token, []

    def __enter__(self):
        line = self.process.stderr.readline()
        found = re.fullmatch(r"serving on http://127\.0\.0\.1:(\d+)\n", line)
        assert found, line + self.process.stderr.read()
        self.port = int(found[1])
        self.until(lambda: self.get("/health/ready").status == 200)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=WAIT)

    def until(self, holds):
        """Wait until the condition holds."""
        end = time.monotonic() + WAIT
        while not holds():
            assert time.monotonic() < end and self.process.poll() is None
            time.sleep(0.01)

    def connection(self):
        """A new connection."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT)

    def ask(self, method, path, body=None, headers=None):
        """One request on its own connection."""
        connection = self.connection()
        own = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        connection.request(method, path, body, {**own, **(headers or {})})
        answer = Answer(connection.getresponse())
        connection.close()
        return answer

    def get(self, path, **headers):
        return self.ask("GET", path, headers=headers)

    def score(self, content, path="/v1/score", headers=None):
        return self.ask("POST", path, content, {"Content-Type": "application/octet-stream", **(headers or {})})

    def batch(self, files, headers=None):
        body, kind = form(files)
        return self.ask("POST", "/v1/score/batch", body, {**kind, **(headers or {})})

    def begun(self, length, sent=b"", path="/v1/score", headers=()):
        """A socket on which a request of that length has begun."""
        lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {length}", *headers]
        opened = socket.create_connection(("127.0.0.1", self.port), timeout=WAIT)
        opened.sendall("\r\n".join([*lines, "", ""]).encode() + sent)
        return opened

    def begun_batch(self, files):
        """A socket on which a whole request with several pictures was sent."""
        body, kind = form(files)
        return self.begun(len(body), body, "/v1/score/batch", [f"Content-Type: {kind['Content-Type']}"])

    def answer(self, opened):
        """The answer on such a socket."""
        response = http.client.HTTPResponse(opened)
        response.begin()
        return Answer(response)

    def metrics(self):
        """The metrics' numbers by name and labels."""
        lines = self.get("/metrics").content.decode().splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}

    def held(self):
        """The numbers of images and bytes that wait or are computed."""
        found = self.metrics()
        return found["dcnn_fast_held_images"], found["dcnn_fast_held_bytes"]

    def ended(self):
        """The exit status, and the text on standard error."""
        _, errors = self.process.communicate(timeout=WAIT)
        return self.process.returncode, errors
