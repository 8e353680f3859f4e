"""Files are whole or absent."""

from __future__ import annotations

import pytest

from dcnn_fast.training.durable_files import put


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with open(path) as reader:
        put(path, lambda partial: partial.write_text("new") and None)
        assert reader.read() == "old"  # an open reader keeps the old content
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_former_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def failing(partial):
        partial.write_text("ne")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        put(path, failing)
    assert path.read_text() == "old"
    put(path, lambda partial: partial.write_text("new") and None)
    assert path.read_text() == "new"
