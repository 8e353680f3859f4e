"""`convert` killed within each write, or with a full disk: the former file stays, with nothing beside it."""

from __future__ import annotations

import pytest

from dcnn_fast import load_model
from tests import injected
from tests.nets.convnet_writer import pickled
from tests.nets.test_convnet_checkpoint import checkpoint, layers

needs_cc = pytest.mark.skipif(injected.compiler() is None, reason="needs the program cc")


@needs_cc
def test_what_a_killed_run_has_written_goes_with_the_next(tmp_path):
    source, out = tmp_path / "7.3", tmp_path / "out"
    source.write_bytes(pickled(checkpoint(layers())))
    out.mkdir()
    arguments = ["convert", source, out / "m.safetensors", "--plane", 20, "--overwrite"]
    with injected.Host(tmp_path) as host:
        whole = host.run("none", 0, arguments, under=out)
        assert whole.status == 0 and whole.count >= 1, whole
        former, left = (out / "m.safetensors").read_bytes(), 0
        for number in range(1, whole.count + 1):
            killed = host.run("kill", number, arguments, under=out)
            assert killed.status == -9, (number, killed)
            assert (out / "m.safetensors").read_bytes() == former, number
            left += len(list(out.iterdir())) - 1
            again = host.run("none", 0, arguments, under=out)
            assert again.status == 0, (number, again)
            assert [path.name for path in out.iterdir()] == ["m.safetensors"], number
            full = host.run("full", number, arguments, under=out)
            assert full.status == 3 and "No space left on device" in full.stderr, (number, full)
            assert [path.name for path in out.iterdir()] == ["m.safetensors"], number
        assert left >= 1  # otherwise nothing was there to be removed
    assert (out / "m.safetensors").read_bytes() == former
    assert load_model(out / "m.safetensors").spec.columns[0].plane == 20
