"""Addresses in stores: losses, excess and missing answers are refused by name; versions tell one content from another."""

from __future__ import annotations

import os
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from dcnn_fast import Scorer
from dcnn_fast.batch import BatchError, listing
from dcnn_fast.data import in_flight
from dcnn_fast.data.folders import Search
from dcnn_fast.data.remote import StoreError, stored
from tests import small
from tests.serve.server import picture


@pytest.fixture
def web():
    """An address, and the headers that its server adds for its one file."""
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
    """A file system whose paths do not name its host, like webhdfs, ftp and sftp."""

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


def test_a_pipe_behind_a_store_that_leads_back_here_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    os.symlink(tmp_path / "a.jpg", tmp_path / "b.jpg")
    os.symlink("/dev/zero", tmp_path / "c.jpg")
    (tmp_path / "d.png").write_bytes(picture())
    os.symlink(tmp_path / "d.png", tmp_path / "e.png")
    asked = [stored(f"dir://{name}::file://{tmp_path}") for name in ("a.jpg", "b.jpg", "c.jpg", "d.png", "e.png")]
    scores = list(Scorer(small.model(), samples=2).score_many(asked))
    assert [score.error for score in scores] == ["not a regular file"] * 3 + [None] * 2
    assert scores[3].mean == scores[4].mean


class Watched(MemoryFileSystem):
    """Counts the files that are read at a time; it may withhold sizes."""

    protocol = "watched"
    store, pseudo_dirs = {}, [""]
    now = most = 0
    turn = threading.Lock()
    says_size = True

    @classmethod
    def _strip_protocol(cls, path):
        return "/" + path.removeprefix("watched://").strip("/")

    def size(self, path):
        return super().size(path) if self.says_size else None

    def open(self, path, mode="rb", **options):
        return Reading(super().open(path, mode, **options).read())


class Reading:
    """A file whose reading takes a moment, without a size of its own."""

    def __init__(self, content):
        self.content = content

    def read(self, most):
        with Watched.turn:
            Watched.now += 1
            Watched.most = max(Watched.most, Watched.now)
        time.sleep(0.02)
        with Watched.turn:
            Watched.now -= 1
        return self.content[:most]

    def close(self):
        pass


@pytest.fixture
def limited():
    """Limits the memory of pictures in flight until the end of the test."""
    yield in_flight.set_limit
    in_flight.set_limit(None)


@pytest.mark.parametrize("says_size", [True, False])
@pytest.mark.parametrize(("files", "most"), [(1, 1), (3, 3), (100, 8)])
def test_the_memory_of_files_from_stores_is_waited_for(limited, monkeypatch, tmp_path, files, most, says_size):
    """Eight workers read as many files as memory may hold at a time; local files are read meanwhile."""
    fsspec.register_implementation("watched", Watched, clobber=True)
    content = picture(kind="BMP")
    monkeypatch.setattr(Watched, "says_size", says_size)
    monkeypatch.setattr(Watched, "most", 0)
    (tmp_path / "a.bmp").write_bytes(content)
    for number in range(12):
        Watched().pipe_file(f"/{number}.bmp", content)
    limited(4 * files * len(content))
    asked = [image for number in range(12) for image in (stored(f"watched://{number}.bmp"), tmp_path / "a.bmp")]
    scores = list(Scorer(small.model(), samples=2).score_many(asked, workers=8))
    assert [score.error for score in scores] == [None] * 24 and len({score.mean for score in scores}) == 1
    assert 1 <= Watched.most <= (most if says_size else 1)


def test_a_file_of_a_store_that_exceeds_the_limit_is_refused_by_its_name(limited):
    content = picture(kind="BMP")
    fsspec.filesystem("memory").pipe_file("/large/a.bmp", content)
    limited(len(content) - 1, "--max-memory 1")
    (score,) = Scorer(small.model(), samples=2).score_many([stored("memory://large/a.bmp")])
    assert "reading it takes" in score.error and "--max-memory 1 leaves for pictures" in score.error


def test_a_second_search_sees_what_has_come(monkeypatch):
    """A store may cache its listings."""
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
