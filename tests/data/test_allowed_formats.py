"""Only photographs are read: no container gets a program run or another format tried."""

from __future__ import annotations

import inspect
import io
import os
import stat
import struct

import numpy as np
import pytest
from PIL import Image

from dcnn_fast.data import ReadError, read
from dcnn_fast.data.pillow_settings import FORMATS
from dcnn_fast.scoring import Scorer
from tests.cli import command

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) print flush\nshowpage\n%%EOF\n"
PIXELS = np.random.default_rng(0).integers(0, 256, (24, 20, 3)).astype(np.uint8)


def field(record: int, number: int, data: bytes) -> bytes:
    return bytes((0x1C, record, number, *len(data).to_bytes(2, "big"))) + data


def iptc(inner: bytes, side: int = 9) -> bytes:
    """An IPTC file whose picture is `inner`, in any format."""
    sides = field(3, 20, side.to_bytes(2, "big")) + field(3, 30, side.to_bytes(2, "big"))
    return field(3, 60, b"\x01\x00") + sides + field(3, 120, b"\x05") + field(8, 10, inner) + bytes(5)


def saved(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, kind)
    return buffer.getvalue()


def icns(kind: bytes, inner: bytes) -> bytes:
    block = kind + (8 + len(inner)).to_bytes(4, "big") + inner
    return b"icns" + (8 + len(block)).to_bytes(4, "big") + block


CONTAINERS = {
    "eps": EPS,
    "iptc": iptc(EPS),
    "iptc in iptc": iptc(iptc(EPS)),
    "dos eps": b"\xc5\xd0\xd3\xc6" + (30).to_bytes(4, "little") + len(EPS).to_bytes(4, "little") + bytes(18) + EPS,
    "icns": icns(b"ic07", EPS),
    "icns of jpeg 2000": icns(b"ic09", b"\x00\x00\x00\x0cjP  " + EPS),
    "ico": b"\x00\x00\x01\x00\x01\x00\x09\x09\x00\x00\x01\x00\x18\x00"
    + len(EPS).to_bytes(4, "little")
    + (22).to_bytes(4, "little")
    + EPS,
    "behind a jpeg": saved("JPEG") + EPS,
    "behind a gif": saved("GIF") + EPS,
    "behind a png": saved("PNG") + EPS,
    "behind a tiff": saved("TIFF") + EPS,
    "behind a webp": saved("WEBP") + EPS,
    "behind a bmp": saved("BMP") + EPS,
    "behind a jpeg 2000": saved("JPEG2000") + EPS,
    "wmf": b"\xd7\xcd\xc6\x9a" + bytes(18) + EPS,
    "emf": b"\x01\x00\x00\x00" + bytes(36) + b" EMF" + bytes(60) + EPS,
    "cursor": b"\x00\x00\x02\x00\x01\x00\x09\x09\x00\x00\x01\x00\x18\x00" + struct.pack("<II", len(EPS), 22) + EPS,
    "psd": b"8BPS\x00\x01" + bytes(6) + struct.pack(">HIIHH", 3, 9, 9, 8, 3) + bytes(12) + EPS,
    "fpx and mic": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504) + EPS,  # compound documents
    "dcx": b"\xb1\x68\xde\x3a" + struct.pack("<II", 12, 0) + EPS,
    "dib": struct.pack("<IiiHH", 40, 9, 9, 1, 24) + bytes(24) + EPS,
    "fli": b"\x00\x01\x00\x00\x11\xaf" + bytes(122) + EPS,
    "fits": b"SIMPLE  =                    T".ljust(80) + EPS,
    "stubs": b"GRIB\x00\x00\x00\x01" + EPS,
    "hdf5": b"\x89HDF\r\n\x1a\n" + EPS,
    "bufr": b"BUFR" + EPS,
    "mpeg": b"\x00\x00\x01\xb3\x00\x90\x09" + EPS,
    "photo cd": b"\xff" * 2048 + b"PCD_" + bytes(6000) + EPS,
    "thumbnail": b"P7 332\n#END_OF_COMMENTS\n9 9 255\n" + EPS,
}


@pytest.fixture
def ghostscript(tmp_path, monkeypatch):
    """A program called ghostscript on the PATH that records that it ran; Pillow would find it."""
    folder, ran = tmp_path / "bin", tmp_path / "ran"
    folder.mkdir()
    program = folder / "gs"
    program.write_text(f'#!/bin/sh\necho "$@" >> {ran}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    from PIL import EpsImagePlugin  # noqa: PLC0415

    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    return ran


def what_is_read(source):
    try:
        return read(source).pixels.shape
    except ReadError as error:
        return str(error)


def test_the_recording_program_would_be_run(ghostscript):
    """Pillow itself runs the program: otherwise the other tests here could not fail."""
    for content in (EPS, iptc(EPS)):
        with pytest.raises((OSError, ValueError)):
            Image.open(io.BytesIO(content)).load()
    assert ghostscript.exists()


@pytest.mark.parametrize("name", CONTAINERS)
def test_no_container_runs_a_program(ghostscript, tmp_path, name):
    """As bytes, as a file with a photograph's name, and as a PIL image that a caller has opened and not loaded."""
    content = CONTAINERS[name]
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    found = {str(what_is_read(source)) for source in (content, path)}
    assert len(found) == 1
    assert found == {"(24, 20, 3)"} if name.startswith("behind") else found == {"not an image of a known format"}
    try:
        image = Image.open(io.BytesIO(content))
    except Exception:
        pass
    else:
        what_is_read(image)
        assert Scorer(samples=1).score_many([image]) is not None
    assert not ghostscript.exists()


def test_no_container_runs_a_program_of_the_command(ghostscript, tmp_path):
    for number, content in enumerate(CONTAINERS.values()):
        (tmp_path / f"{number}.jpg").write_bytes(content)
    found = command.run("score", tmp_path, "--csv", tmp_path / "s.csv", "--html", tmp_path / "s.html")
    assert found.returncode == 1 and "not an image of a known format" in found.stdout + found.stderr
    assert not ghostscript.exists()


def test_a_second_frame_is_no_way_in(ghostscript):
    """An MPO file whose second picture's offset points to the program."""
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "MPO", save_all=True, append_images=[Image.fromarray(PIXELS[::-1])])
    content = buffer.getvalue()
    with Image.open(io.BytesIO(content)) as image:
        image.seek(1)
        second = content.rindex(b"\xff\xd8\xff")
    hostile = content[:second] + EPS + bytes(len(content))
    assert what_is_read(content) == what_is_read(hostile) == (24, 20, 3)
    assert not ghostscript.exists()


@pytest.fixture
def late():
    """Registers readers of formats as plug-ins do, and removes them afterwards."""
    before = list(Image.ID), dict(Image.OPEN)

    def register(name, magic, opened):
        def make(fp, filename):
            fp.seek(len(magic))
            return opened(fp)

        Image.register_open(name, make, lambda head: head.startswith(magic))

    yield register
    Image.ID[:], Image.OPEN = before[0], before[1]


def test_formats_registered_late_are_no_way_in(ghostscript, late):
    """A format that is not allowed is not tried; an allowed one (HEIF) is, but opens only allowed formats inside its file."""

    def inner(fp):
        return Image.open(io.BytesIO(fp.read()))

    late("LATE", b"late", inner)
    late("HEIF", b"heif", inner)
    assert what_is_read(b"late" + EPS) == what_is_read(b"late" + saved("PNG")) == "not an image of a known format"
    assert what_is_read(b"heif" + saved("PNG")) == (24, 20, 3)
    for content in (EPS, iptc(EPS), saved("PPM"), b"late" + saved("PNG")):
        assert what_is_read(b"heif" + content) == "not an image of a known format"
    assert not ghostscript.exists()
    assert what_is_read(Image.open(io.BytesIO(b"late" + saved("PNG")))) == (24, 20, 3)  # the caller has opened it


def test_every_other_format_of_pillows_is_refused():
    Image.init()
    image = Image.fromarray(PIXELS)
    tried = set()
    for kind in sorted(set(Image.SAVE) - {"PDF", "MPO"}):
        buffer = io.BytesIO()
        for mode in ("RGB", "L", "1", "P"):
            try:
                image.convert(mode).save(buffer, kind)
                break
            except (OSError, ValueError, KeyError):
                buffer = io.BytesIO()
        if not buffer.getvalue() or kind not in Image.OPEN:
            continue
        tried.add(kind)
        found = what_is_read(buffer.getvalue())
        assert found == ((24, 20, 3) if kind in FORMATS else "not an image of a known format"), kind
    assert {"EPS", "PPM", "TGA", "ICO", "ICNS", "PCX", "SGI", "DDS"} | (FORMATS - {"HEIF"}) <= tried


def test_pillow_opens_everything_again_afterwards():
    before = Image.open
    with pytest.raises(ReadError):
        read(saved("PPM"))
    assert Image.open is before and inspect.isfunction(before)  # Pillow's own, not a stand-in left by an earlier reading
    with Image.open(io.BytesIO(saved("PPM"))) as image:
        assert np.array_equal(np.asarray(image), PIXELS)
    assert what_is_read(image.copy()) == (24, 20, 3)
    lazy = Image.open(io.BytesIO(saved("PPM")))
    assert what_is_read(lazy) == (24, 20, 3)  # the caller has chosen to open it
