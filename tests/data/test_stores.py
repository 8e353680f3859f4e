"""Addresses in stores: what they lose, hold or cannot say is refused by name; versions tell one content from another one."""

from __future__ import annotations

import os
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from dcnn_fast.batch import BatchError, listing
from dcnn_fast.data.folders import Search
from dcnn_fast.data.stores import StoreError, stored


@pytest.fixture
def web():
    """An address; what it says of its one file is in `said`."""
    said = {}

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200)
            for name, value in {"Content-Length": "100", **said}.items():
                self.send_header(name, value)
            self.end_headers()

        def do_GET(self):
            self.do_HEAD()
            self.wfile.write(bytes(100))

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/a.jpg", said
        server.shutdown()


class Hosted(MemoryFileSystem):
    """Of a host that its paths do not name, as of webhdfs, ftp and sftp."""

    protocol = "hosted"
    cachable = False

    def __init__(self, host=None, **options):
        super().__init__(**options)
        self.host = host

    @classmethod
    def _strip_protocol(cls, path):
        return "/" + path.partition("://")[2].partition("/")[2] if "://" in path else path

    @staticmethod
    def _get_kwargs_from_urls(path):
        return {"host": path.partition("://")[2].partition("/")[0]}


def test_an_address_that_would_lose_its_host_is_refused():
    fsspec.register_implementation("hosted", Hosted, clobber=True)
    with pytest.raises(StoreError, match="addresses with a host of this kind are not supported"):
        stored("hosted://one/a.jpg")
    (found,) = Search(stores=True).files(["webhdfs://one:99/a.jpg"])
    assert "are not supported" in found.error
    assert stored("memory://a/b.jpg").path == "memory:///a/b.jpg"


@pytest.mark.parametrize("address", ["http://me:secret@host/a.jpg", "zip://a.jpg::ftp://me:secret@host/x.zip"])
def test_an_address_with_a_password_is_refused(address):
    with pytest.raises(StoreError, match="must not hold a password"):
        stored(address)


@pytest.mark.parametrize("name", ["ETag", "Content-MD5", "Last-Modified"])
def test_a_photograph_of_the_web_has_the_version_that_is_said(web, name):
    address, said = web
    said[name] = "one"
    (first,) = listing([address])
    said[name] = "two"
    (second,) = listing([address])
    assert "one" in first.version and first.version.replace("one", "two") == second.version


def test_a_photograph_without_a_version_is_named(web):
    with pytest.raises(BatchError, match="a.jpg: its store tells neither a digest of it nor when it was changed"):
        list(listing([web[0]]))


def test_a_member_whose_address_would_mean_something_else_is_one_failure(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for name in ("a.png", "a::b.png", "http://h/c.png"):
            file.writestr(name, "x")
    found = list(Search(recursive=True, stores=True).files([str(tmp_path / "a.zip")]))
    assert [each.error is None for each in found] == [True, False, False]
    assert all("with :: or :// in it" in each.error for each in found[1:])


def test_a_pipe_that_is_named_by_its_address_is_no_store_s(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    (found,) = Search(stores=True).files([f"file://{tmp_path}/a.jpg"])
    assert found.path == str(tmp_path / "a.jpg") and found.stored is None


def test_a_second_search_sees_what_has_come(monkeypatch):
    """A store may keep what it listed."""
    kept = {}

    def ls(self, path, detail=True, **options):
        return kept.setdefault(path, was(self, path, detail, **options))

    was = MemoryFileSystem.ls
    monkeypatch.setattr(MemoryFileSystem, "ls", ls)
    monkeypatch.setattr(MemoryFileSystem, "invalidate_cache", lambda self, path=None: kept.clear())
    system = fsspec.filesystem("memory")
    system.pipe_file("/come/a.jpg", b"x")
    assert len(list(Search(stores=True).files(["memory://come"]))) == 1
    system.pipe_file("/come/b.jpg", b"x")
    assert len(list(Search(stores=True).files(["memory://come"]))) == 2
