"""The cache folder's place, and that a process without a home directory goes on without one."""

from __future__ import annotations

import logging
import pwd
from pathlib import Path

import pytest
import torch

from dcnn_fast.ops import cache_folder as module
from dcnn_fast.ops import cuda_compile
from dcnn_fast.ops.block.triton import tune
from dcnn_fast.ops.block.triton.config import forward_candidates
from dcnn_fast.ops.cache_folder import cache_folder
from tests.ops.block.problems import problem
from tests.ops.cuda_copy import copied


@pytest.fixture
def homeless(monkeypatch):
    """As in a container whose user has no entry in the user database."""

    def unknown(_):
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    module._say.cache_clear()


def test_it_is_below_the_variable_or_the_home_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "dcnn_fast"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_folder() == Path("/home/somebody/.cache/dcnn_fast")


def test_without_a_home_directory_kernels_are_compiled_tiles_timed_and_it_is_said_once(homeless, tmp_path, caplog):
    folder, params = copied(tmp_path / "sources"), problem(1, 16, 20, 20, 32, 3, torch.float16)
    candidates, timed = forward_candidates(params), []
    last = list(candidates.values())[-1]

    def seconds(config):
        timed.append(config)
        return float(config != last)

    with caplog.at_level(logging.WARNING):
        assert cache_folder() is None
        assert cuda_compile.compiled("scaled.cu", {}, 80, folder).cubin
        for _ in range(2):
            assert tune.tuned(params, 80, False, seconds) == last
    assert len(timed) == len(candidates), "this process remembers"
    (said,) = [record.getMessage() for record in caplog.records]
    assert "nothing is kept between processes" in said and "set XDG_CACHE_HOME" in said
    tune._found.clear()


def test_a_disk_that_is_full_when_a_kernel_is_to_be_kept_is_done_without(tmp_path, monkeypatch):
    folder = copied(tmp_path / "sources")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def full(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cuda_compile.tempfile, "mkstemp", full)
    assert cuda_compile.compiled("scaled.cu", {}, 80, folder).cubin
    assert not list((tmp_path / "cache").rglob("*.kernel"))
