"""Checkpoints of cuda-convnet and torch made to exhaust time or memory: each ends soon, with one sentence."""

from __future__ import annotations

import collections
import io
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest
import torch

from dcnn_fast.nets import ModelError, import_convnet
from dcnn_fast.nets.importing import read_state
from tests import measured
from tests.nets.convnet_writer import pickled
from tests.nets.test_convnet_checkpoint import checkpoint, layers

START = b"\x80\x02"
PRIME = 2**61 - 1  # numbers that differ by PRIME have the same hash
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
BYTES = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
LATIN1 = b"c_codecs\nencode\nh\x00U\x06latin1\x86R"
NUMBERS, TENSORS = "not a checkpoint of cuda-convnet", "not a readable state dict"


def size(number):
    return struct.pack("<i", number)


def text(length):
    return b"T" + size(length) + b"x" * length


def many(state, times):
    """A list of `times` objects that `state` builds, which may use a text of five megabytes under memo 0."""
    return START + b"](" + text(5_000_000) + b"q\x00" + state * times + b"e."


def numbers(count, step):
    """A dict whose keys are numbers `step` apart."""
    return START + b"}(" + b"".join(b"\x8a\x0b" + (i * step).to_bytes(11, "little") + b"N" for i in range(count)) + b"u."


PICKLES = {
    "one text encoded a thousand times": (lambda: many(LATIN1, 1000), "more memory than it holds"),
    "one text the data of a thousand arrays": (
        lambda: many(ARRAY + b"(K\x01J" + size(5_000_000) + b"\x85" + BYTES + b"\x89h\x00tb", 1000),
        "more memory than it holds",
    ),
    "one text the name of a hundred thousand types": (
        lambda: many(b"cnumpy\ndtype\nh\x00K\x00K\x01\x87R", 100_000), "of numbers",
    ),
    "one text a thousand numbers": (
        lambda: many(b"cnumpy.core.multiarray\nscalar\n" + BYTES + b"h\x00\x86R", 1000), "must have 1",
    ),
    "one list in a thousand dicts": (
        lambda: (
            START + b"](](" + b"K\x01K\x01\x86" * 100_000 + b"eq\x00"
            + b"ccollections\nOrderedDict\nh\x00\x85R" * 1000 + b"e."
        ),
        "more memory than it holds",
    ),
    "ten million dicts": (lambda: START + b"](" + b"}" * 10_000_000 + b"e.", "at most 1,000,000 instructions"),
    "ten million lists": (lambda: START + b"](" + b"]" * 10_000_000 + b"e.", "at most 1,000,000 instructions"),
    "ten million marks": (lambda: START + b"(" * 10_000_000 + b".", "at most 1,000,000 instructions"),
    "tuples half a million deep": (lambda: START + b")" + b"\x85" * 500_000 + b".", "must have 'model_state'"),
    "keys of one hash": (lambda: numbers(60_000, PRIME), "a number must have at most 64 bits"),
    "a number of a million bytes": (lambda: START + b"\x8b" + size(1_000_000) + b"\x01" * 1_000_000 + b".", "at most 64 bits"),
    "a number of a million digits": (lambda: b"L" + b"1" * 1_000_000 + b"L\n.", "at most 64 bits"),
    "a thousand numbers of four thousand digits": (
        lambda: b"](" + (b"L" + b"1" * 4000 + b"L\n") * 1000 + b"e.", "at most 64 bits",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PICKLES)
def test_a_pickle_costs_what_it_holds(tmp_path, name):
    data, message = PICKLES[name]
    (tmp_path / "c").write_bytes(measured.made(data))
    measured.require_refused(message, "convert", "c", "m.safetensors", cwd=tmp_path)


def test_a_long_training_is_no_attack(tmp_path):
    """The log of forty thousand batches, with arrays in Python 3's form, whose bytes are a call's result."""
    state = checkpoint(layers())
    del state["op"]
    state["model_state"]["train_outputs"] = [({"logprob": [0.5, 1.5, 2.5]}, 3072) for _ in range(40_000)]
    (tmp_path / "c").write_bytes(pickle.dumps(state, 2))
    assert import_convnet(tmp_path / "c").model.spec.labels == ("low", "high")


def of_layers(change):
    """A pickle of changed layers."""
    made = layers()
    change({each["name"]: each for each in made}, made)
    return pickled(checkpoint(made))


def no_rows(named, made):
    named["fclabel"]["weights"] = [np.zeros((2**31 - 1, 0), np.float32)] * 2


def shared_weights(named, made):
    """One array thirty times in one layer."""
    big = np.zeros((1000, 2000), np.uint8)
    named["fc1"]["weights"] = [big] * 30


def shared_inputs(named, made):
    named["fc1"]["inputs"] = [0] * 100_000


def too_many_layers(named, made):
    made += [{"name": f"l{i}", "type": "pass", "inputs": [0]} for i in range(2000)]


def a_long_name(named, made):
    named["fc1"]["name"] = "x" * 2_000_000


def wide(named, made):
    for each in made:
        if each["type"] == "conv":
            each["imgSize"] = 2**30
        if each["type"] == "pool":
            each["outputsX"] = 0


def beyond_float32(named, made):
    named["fc1"]["weights"] = [value.astype(np.float64) * 1e300 for value in named["fc1"]["weights"]]


NETWORKS = {
    "no rows of two billion": (no_rows, "[fclabel] weights: must be a matrix"),
    "weights that are shared": (shared_weights, "no more weights than"),
    "a hundred thousand inputs": (shared_inputs, "[fc1] inputs: must be at most 64 layers"),
    "two thousand layers": (too_many_layers, "must have at most 1000 layers"),
    "a name of two megabytes": (a_long_name, "name must have at most 1000 characters"),
    "windows of a billion": (wide, "must be at most 4096"),
    "weights beyond float32": (beyond_float32, "[fc1] weights: must be finite"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_costs_what_the_file_holds(tmp_path, name):
    change, message = NETWORKS[name]
    data = of_layers(change)
    if change is shared_weights:  # one array in the file, repeated through the memo
        array = pickled(np.zeros((1000, 2000), np.uint8))[2:-1]
        first, *more = data.split(array)
        data = first + array + b"q\x07" + b"h\x07".join(more)
    (tmp_path / "c").write_bytes(measured.made(data))
    measured.require_refused(message, "convert", "c", "m.safetensors", cwd=tmp_path)


def zipped(path, members, how=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in members:
            archive.writestr(name, content)


@pytest.mark.parametrize("how", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
@pytest.mark.parametrize("name", ["c", "c.pth"])
def test_a_zip_unpacks_to_what_it_holds(tmp_path, name, how):
    zipped(tmp_path / name, [("a/data.pkl" if name == "c.pth" else "data", bytes(80 << 20))], how)
    measured.require_refused("it would unpack to 83,886,080 bytes", "convert", name, "m.safetensors", cwd=tmp_path)


def long_list(path):
    """A zip file whose directory lists one member a hundred thousand times."""
    zipped(path, [("data", b"x")])
    data = path.read_bytes()
    start = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    entry = data[start:end] * 100_000
    tail = bytearray(data[end:])
    tail[8:12] = struct.pack("<HH", 65535, 65535)
    tail[12:16] = struct.pack("<I", len(entry))
    path.write_bytes(data[:start] + entry + bytes(tail))


@pytest.mark.parametrize("name", ["c", "c.pth"])
def test_a_zip_of_many_members_is_refused(tmp_path, name):
    long_list(tmp_path / name)
    measured.require_refused("its list of members must have at most", "convert", name, "m.safetensors", cwd=tmp_path)


def test_damaged_zips_are_refused(tmp_path):
    """Zips cut or changed anywhere, and zips within zips."""
    zipped(tmp_path / "inner", [("data", pickled(checkpoint(layers()[:3])))])
    data = (tmp_path / "inner").read_bytes()
    zipped(tmp_path / "outer", [("data", data)])
    with pytest.raises(ModelError, match=NUMBERS):
        import_convnet(tmp_path / "outer")
    torch.save({"a": torch.zeros(4)}, tmp_path / "state")
    rng = np.random.default_rng(0)
    for good, read in ((data, import_convnet), ((tmp_path / "state").read_bytes(), read_state)):
        for number in range(150):
            damaged = bytearray(good)
            for place in rng.integers(0, len(good), 3):
                damaged[place] = rng.integers(256)
            (tmp_path / "d").write_bytes(damaged if number % 2 else damaged[: rng.integers(len(good))])
            try:
                read(tmp_path / "d")
            except ModelError as error:
                assert "\n" not in str(error)


OLD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + b"\x80\x02M\xe9\x03." + b"\x80\x02}U\x0dlittle_endian\x88s."


def tensor(count, extent, stride=1, key=b"0", offset=0, storage=b"Float"):
    """A one-dimensional tensor in a storage of `count` values."""
    identifier = b"(U\x07storagectorch\n" + storage + b"Storage\nU\x01" + key + b"U\x03cpuJ" + size(count) + b"tQ"
    place = b"J" + size(offset) + b"J" + size(extent) + b"\x85J" + size(stride) + b"\x85"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + identifier + place + b"\x89}tR"


STATES = {
    "a text encoded a thousand times": (lambda: many(LATIN1, 1000), "more memory than it holds"),
    "ten million lists": (lambda: START + b"](" + b"]" * 10_000_000 + b"e.", "at most 1,000,000 instructions"),
    "keys of one hash": (lambda: numbers(60_000, PRIME), "a number must have at most 64 bits"),
    "a storage that is not there": (START + b"}U\x01a" + tensor(2**30, 4) + b"s.", "the storage '0' must be in the file"),
    "a tensor beyond its storage": (START + b"}U\x01a" + tensor(4, 2**30) + b"s.", "must lie in its storage of 4 values"),
    "a stride beyond its storage": (START + b"}U\x01a" + tensor(4, 2, 4) + b"s.", "must lie in its storage of 4 values"),
    "an offset beyond its storage": (START + b"}U\x01a" + tensor(4, 1, 1, offset=4) + b"s.", "must lie in its storage"),
    "a negative stride": (START + b"}U\x01a" + tensor(4, 4, -1) + b"s.", "must be whole numbers, none negative"),
    "a quantised tensor": (START + b"ctorch._utils\n_rebuild_qtensor\n)R.", "is not one that a state dict"),
    "a tensor of a size": (START + b"ctorch\nTensor\nJ\xff\xff\xff\x7f\x85R.", "is not one that a state dict"),
    "bytes of a size": (START + b"c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R.", "is not one that a state dict"),
    "a call": (START + b"cos\nsystem\nU\x04true\x85R.", "is not one that a state dict"),
    "a list": (START + b"].", "must hold a state dict, got list"),
    "another object": (START + b"}U\x01aK\x01s.", "must hold weights of AlexNet or SqueezeNet"),
}


@pytest.mark.parametrize("form", ["zip", "old"])
@pytest.mark.parametrize("name", STATES)
def test_a_state_dict_costs_what_it_holds(tmp_path, name, form):
    program, message = measured.made(STATES[name][0]), STATES[name][1]
    if form == "zip":
        zipped(tmp_path / "c.pth", [("a/data.pkl", program), ("a/data/0", bytes(16))], zipfile.ZIP_STORED)
    else:
        keys = b"\x80\x02]U\x010a." if b"storage" in program else b"\x80\x02]."
        (tmp_path / "c.pth").write_bytes(OLD + program + keys + struct.pack("<q", 4) + bytes(16))
    measured.require_refused(message, "convert", "c.pth", "m.safetensors", cwd=tmp_path)


def test_a_tar_of_old_is_refused(tmp_path):
    with tarfile.open(tmp_path / "c.pth", "w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO(b""))
    measured.require_refused(TENSORS, "convert", "c.pth", "m.safetensors", cwd=tmp_path)


def awkward():
    """A state dict with every form of plain tensor."""
    base = torch.arange(24, dtype=torch.float32)
    state = collections.OrderedDict(
        a=base.view(2, 3, 4).transpose(0, 2), b=base[5:9], c=torch.tensor(3), d=torch.zeros(0, 3), e=base.half(),
        f=base.bfloat16().expand(2, 24), g=torch.nn.Parameter(base.double()), h=torch.tensor([True]), i=7, j="text",
        k=torch.zeros(2, 3, 4, 4).contiguous(memory_format=torch.channels_last),
    )  # fmt: skip
    state._metadata = collections.OrderedDict([("", {"version": 1})])
    return state


@pytest.mark.parametrize("new", [True, False])
def test_what_torch_writes_is_read_as_torch_reads_it(tmp_path, new):
    torch.save(awkward(), tmp_path / "s.pth", _use_new_zipfile_serialization=new)
    wanted, found = torch.load(tmp_path / "s.pth", weights_only=True), read_state(tmp_path / "s.pth")
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        if isinstance(value, torch.Tensor):
            assert found[name].dtype == value.dtype and found[name].stride() == value.stride()
            assert torch.equal(found[name], value)
        else:
            assert found[name] == value
