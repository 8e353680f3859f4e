"""Model files made to exhaust time or memory: each ends soon, with one sentence."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from PIL import Image

from dcnn_fast.nets import load_model, save_model
from tests import measured, small


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "m.safetensors"
    save_model(small.model(), path)
    return path.read_bytes()


def written(path, good, change_spec=None, change_header=None, text=None):
    """Write the file with its spec or whole header changed, or with `text` applied to the project's entry."""
    (length,) = struct.unpack("<Q", good[:8])
    header = json.loads(good[8 : 8 + length])
    entry = json.loads(header["__metadata__"]["dcnn_fast"])
    if change_spec:
        change_spec(entry["network"])
    header["__metadata__"]["dcnn_fast"] = json.dumps(entry) if text is None else text(json.dumps(entry))
    if change_header:
        change_header(header)
    content = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(content)) + content + good[8 + length :])


def column(**changes):
    return lambda network: network["columns"][0].update(changes)


def block(**changes):
    return lambda network: network["columns"][0]["blocks"][0].update(changes)


def norm(**changes):
    return lambda network: network["columns"][0]["blocks"][0]["norm"].update(changes)


def many_columns(network):
    network["columns"] *= 5000


def deep(text):
    return text[:-1] + ', "x": ' + "[" * 100_000 + "]" * 100_000 + "}"


SPECS = {
    "a norm over two billion maps": (norm(size=2**31 - 1), "size must be at most 1023"),
    "a norm over a number of thirty digits": (norm(size=10**30), "size must be at most 1023, got more than 10**18"),
    "a norm within maps of two billion": (norm(kind="same_map", size=2**31 - 1), "has no field named k"),
    "a norm of no finite scale": (norm(scale=float("nan")), "scale must be a finite number, got nan"),
    "a plane of 16384": (column(plane=16384), "plane must be at most 4096"),
    "a window of 16384": (column(plane=16384, window=16384), "plane must be at most 4096"),
    "five thousand columns": (many_columns, "Network.columns must have at most 64 entries, got 10000"),
    "twenty thousand blocks": (
        lambda network: network["columns"][0].update(blocks=network["columns"][0]["blocks"] * 10_000), "at most 256 entries",
    ),
    "a filter of two billion": (block(size=2**31 - 1, padding=2**30), "size must be at most 255"),
    "two billion filters": (block(filters=2**31 - 8), "filters must be at most 1048576"),
    "a million filters": (block(filters=2**20), "values for a window"),
    "a pool of two billion": (block(pool={"size": 2**31 - 1, "stride": 1}), "size must be at most 255"),
    "a hundred thousand sizes": (column(fc=[1] * 100_000), "at most 64 entries"),
    "layers without measure": (column(fc=[2**20, 2**20, 2**20]), "at most 2,147,483,648 parameters"),
    "layers that are not in the file": (column(fc=[2**10, 2**18]), "must have shape"),
    "windows that are not affordable": (
        lambda network: network["columns"][0].update(
            plane=4096, window=4096, blocks=[{"filters": 64, "size": 255, "padding": 127, "norm": None, "pool": None}]
        ),
        "values for a window",
    ),
    "more multiplications than ever end": (
        lambda network: network["columns"][0].update(
            plane=700, window=700, blocks=[{"filters": 64, "size": 255, "padding": 127, "norm": None, "pool": None}]
        ),
        "multiplications for a window",
    ),
    "seventy thousand labels": (lambda network: network.update(labels=[str(i) for i in range(70_000)]), "at most 65536"),
    "a label of a megabyte": (lambda network: network.update(labels=["x" * 2**20, "y"]), "at most 1000 characters"),
    "labels that are one": (lambda network: network.update(labels=["x"] * 60_000), "at least two different names"),
    "a name of a megabyte": (lambda network: network.update(name="x" * 2**20), "at most 1000 characters"),
    "a long side without measure": (lambda network: network.update(long_side=10**30), "long_side must be at most"),
    "frozen by a word": (column(frozen="no"), "frozen must be true or false, got 'no'"),
    "a view of lists": (column(view=[["warp"]]), "view must be one of"),
    "a hundred thousand fields": (
        lambda network: network.update({f"f{i}": 1 for i in range(100_000)}), "has no field named",
    ),
}  # fmt: skip

TEXTS = {
    "nested a hundred thousand deep": (deep, "JSON must not be nested so deeply"),
    "a number of five thousand digits": (lambda text: text[:-1] + ', "x": ' + "9" * 5000 + "}", "at most 100 digits, got 5000"),
    "a number beyond all": (lambda text: text.replace('"scale": 0.015625', '"scale": 1e400', 1), "must be a finite number"),
    "a format twice": (lambda text: text[:-1] + ', "format": 1}', "got 'format' twice"),
    "no object": (lambda text: "[" * 20, "m.safetensors:"),
    "eight megabytes": (lambda text: text[:-1] + ', "x": "' + "x" * 2**23 + '"}', "must have at most 8,388,608 bytes"),
}

HEADERS = {
    "eight megabytes of names": (
        lambda header: header.update(
            {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(100_000)}
        ),
        "tensors must be those of the spec",
    ),
    "scales of what is not there": (
        lambda header: header.update(
            {f"t{i}.scale": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(50_000)}
        ),
        "tensors must be those of the spec",
    ),
    "a long name": (
        lambda header: header.update({"x" * 2**20: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}),
        "tensors must be those of the spec",
    ),
    "a long shape": (lambda header: header["label.bias"].update(shape=[1] * 500_000), "label.bias must have shape [2]"),
    "a long dtype": (lambda header: header["label.bias"].update(dtype="x" * 10_000), "label.bias must be float32, float16"),
    "a tensor that is none": (lambda header: header.update({"label.bias": 7}), "says no shape of 'label.bias'"),
    "metadata that are none": (lambda header: header.update(__metadata__=7), "not a model file of this project"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPECS)
def test_a_network_is_bounded_before_it_is_made(tmp_path, good, name):
    change, message = SPECS[name]
    written(tmp_path / "m.safetensors", good, change)
    measured.require_refused(message, "describe", "m.safetensors", cwd=tmp_path)


@pytest.mark.parametrize("name", TEXTS)
def test_a_spec_is_read_as_it_stands(tmp_path, good, name):
    change, message = TEXTS[name]
    written(tmp_path / "m.safetensors", good, text=change)
    measured.require_refused(message, "describe", "m.safetensors", cwd=tmp_path)


@pytest.mark.parametrize("name", HEADERS)
def test_the_header_is_compared_before_a_tensor_is_read(tmp_path, good, name):
    change, message = HEADERS[name]
    written(tmp_path / "m.safetensors", good, change_header=change)
    measured.require_refused(message, "describe", "m.safetensors", cwd=tmp_path)


def test_a_header_of_a_hundred_megabytes_is_not_read(tmp_path):
    with open(tmp_path / "m.safetensors", "wb") as file:
        file.write(struct.pack("<Q", 100_000_000) + b'{"a":' + b" " * 100_000_000)
    for arguments in (["describe", "m.safetensors"], ["convert", "m.safetensors", "out.safetensors"]):
        measured.require_refused("its header must have at most 8,388,608 bytes", *arguments, cwd=tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        ("score", "--model", "m.safetensors", "p.png"),
        ("explain", "m.safetensors"),
        ("plan", "p.png", "--model", "m.safetensors"),
        ("train", "data", "--out", "out", "--net", "m.safetensors"),
        ("train", "data", "--out", "out", "--net", "scnn-arch1", "--init", "0=m.safetensors"),
        ("adapt", "m.safetensors", "data", "--out", "out"),
        ("evaluate", "m.safetensors", "data"),
        ("convert", "m.safetensors", "c.cfg", "--layer-params", "p.cfg"),
    ],
)
def test_every_command_refuses_it(tmp_path, good, arguments):
    for label in ("high", "low"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(5):
            pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / label / f"{number}.png")
    Image.new("RGB", (40, 40)).save(tmp_path / "p.png")
    written(tmp_path / "m.safetensors", good, norm(size=2**31 - 1))
    measured.require_refused("size must be at most 1023", *arguments, cwd=tmp_path)


def test_labels_are_shown_on_one_line(tmp_path, good):
    labels = ["low\nerror: all is lost", "high\x1b[2J"]
    written(tmp_path / "m.safetensors", good, lambda network: network.update(labels=labels))
    found = measured.run("describe", "m.safetensors", cwd=tmp_path)
    assert found.status == 0 and r"low\nerror: all is lost, high\x1b[2J" in found.said, found.said
    assert load_model(tmp_path / "m.safetensors").spec.labels == tuple(labels)


def test_every_byte_of_the_first_kilobyte_may_be_wrong(tmp_path, good):
    """A file with a wrong byte is refused in one line or loads completely."""
    rng = np.random.default_rng(0)
    for place in range(0, 1024, 2):
        damaged = bytearray(good)
        damaged[place] = rng.integers(256)
        (tmp_path / "m.safetensors").write_bytes(damaged)
        try:
            load_model(tmp_path / "m.safetensors")
        except ValueError as error:
            assert "\n" not in str(error) and len(str(error)) < measured.LETTERS
