"""Other programs that read files for the tests; a test whose program is missing is skipped, or fails in CI."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest


def need(program):
    """Skip the test if that program is missing."""
    if shutil.which(program) is None:
        pytest.skip(f"needs the program {program}")


def exiftool_ratings(*paths):
    """Each file's rating as exiftool reads it, or None."""
    need("exiftool")
    done = subprocess.run(
        ["exiftool", "-config", "", "-json", "-XMP-xmp:Rating", *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [each.get("Rating") for each in json.loads(done.stdout)]


def exiv2_properties(path):
    """All XMP properties in a file as exiv2 reads them (digiKam's and darktable's library), as lines of key and value."""
    need("exiv2")
    done = subprocess.run(["exiv2", "-q", "-PXkv", str(path)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode in (0, 253), done  # 253 if the file has none
    return [" ".join(line.split(None, 1)) for line in done.stdout.splitlines()]


def darktable_rating(photograph, sidecar, tmp_path):
    """The rating with which darktable exports a photograph, given that sidecar."""
    need("darktable-cli")
    out = tmp_path / "exported.jpg"
    command = ["darktable-cli", str(photograph), str(sidecar), str(out), "--core", "--conf", "opencl=FALSE"]
    folders = ["--library", ":memory:", "--configdir", str(tmp_path / "config"), "--cachedir", str(tmp_path / "cache")]
    done = subprocess.run([*command, *folders], capture_output=True, text=True, check=False, timeout=120)
    assert out.exists(), done
    return exiftool_ratings(out)[0]
