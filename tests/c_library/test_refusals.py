"""What the C library does not do it refuses by name: wrong arguments, damaged files, networks that it does not run."""

from __future__ import annotations

import ctypes
import json
import os
import struct
import time
from dataclasses import replace

import numpy as np
import pytest

from bench import c_binding as binding
from dcnn_fast import networks
from dcnn_fast.nets import Model, ModelError, build, load_model, save_model
from dcnn_fast.networks.graph_layers import ConvLayer, NeuronLayer, PoolLayer
from dcnn_fast.scoring import Scorer
from tests import small, small_lite
from tests.nets import test_hostile_models as hostile

pytestmark = pytest.mark.needs_engine


def picture(height=40, width=36):
    """Some pixels."""
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    found = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(small.model(), found)
    return found


@pytest.fixture(scope="module")
def model(path):
    with binding.Model(path) as opened:
        yield opened


@pytest.mark.parametrize(("options", "message"), [
    ({"views": 0}, "options->views must be 1 to 1000000, got 0"),
    ({"views": 1_000_001}, "options->views must be 1 to 1000000"),
    ({"grid": 3}, "options->grid must be 1, 2, 4 or 8, got 3"),
    ({"seed": -1}, "options->seed must be 0 to"),
    ({"long_side": 65537}, "options->long_side must be 0 to 65536"),
    ({"threads": -1}, "options->threads must be 0 to 1024"),
    ({"reserved": 1}, "options->reserved must be 0 to 0"),
    ({"struct_size": 8}, "options->struct_size must be set by its _init function, got 8"),
    ({"row_bytes": 107}, "image->row_bytes must be at least 3 * width"),
    ({"row_bytes": 2**62}, "image->row_bytes must be at least 3 * width"),
], ids=str)  # fmt: skip
def test_options_that_are_none(model, options, message):
    with pytest.raises(binding.FailedError) as failed:
        model.score(picture(), **options)
    assert failed.value.status == binding.ARGUMENT and message in str(failed.value)


def call(opened, /, **changes):
    """dcnn_score of structs with these fields in place of theirs: "image.width", or None for "image", say."""
    pixels = picture()
    structs = {"image": binding.init(binding.Image(), pixels.ctypes.data, 36, 40), "result": binding.init(binding.Result())}
    structs["options"] = binding.init(binding.Options())
    error, handle = binding.new_error(), opened.handle
    for name, value in changes.items():
        owner, _, field = name.partition(".")
        if owner == "model":
            handle = value
        elif field:
            setattr(structs[owner], field, value)
        else:
            structs[owner] = value
    image, result, options = (None if each is None else ctypes.byref(each) for each in structs.values())
    status = binding.loaded().dcnn_score(handle, image, options, result, ctypes.byref(error))
    return status, error.message.decode(), structs["result"]


ROOM = (ctypes.c_double * 99)()


@pytest.mark.parametrize(("changes", "message"), [
    ({"model": None}, "model must be given, got null"),
    ({"image": None}, "image must be given, got null"),
    ({"result": None}, "result must be given, got null"),
    ({"image.pixels": None}, "image->pixels must be given"),
    ({"image.width": 0}, "image->width must be 1 to 2147483647, got 0"),
    ({"image.height": -5}, "image->height must be 1 to 2147483647, got -5"),
    ({"image.struct_size": 0}, "image->struct_size must be set"),
    ({"result.struct_size": 16}, "result->struct_size must be set"),
    ({"result.probabilities": ROOM, "result.probabilities_count": 1}, "result->probabilities_count must be at least 2, got 1"),
    ({"result.samples": ROOM, "result.samples_count": 99}, "result->samples_count must be at least 100, got 99"),
], ids=lambda value: value if isinstance(value, str) else "-".join(value))  # fmt: skip
def test_structs_that_are_none(model, changes, message):
    status, said, _ = call(model, **changes)
    assert status == binding.ARGUMENT and message in said


def test_a_caller_without_an_error_or_with_a_short_one(model, path):
    library = binding.loaded()
    assert library.dcnn_score(model.handle, None, None, None, None) == binding.ARGUMENT
    error = binding.new_error()
    error.struct_size, error.message = 12 + 20, b"x" * 507
    assert library.dcnn_score(None, None, None, None, ctypes.byref(error)) == binding.ARGUMENT
    assert error.message == b"model must be given"[:19]
    assert bytes(error)[12 + 20 :].startswith(b"xxx")  # nothing behind what the caller has is written to
    assert library.dcnn_model_open(None, ctypes.byref(ctypes.c_void_p()), None) == binding.ARGUMENT
    assert library.dcnn_model_open(str(path).encode(), None, None) == binding.ARGUMENT
    assert library.dcnn_model_read(None, ctypes.c_size_t(5), ctypes.byref(ctypes.c_void_p()), None) == binding.ARGUMENT
    library.dcnn_model_close(None)
    assert library.dcnn_model_labels(None) == 0 and library.dcnn_model_label(None, ctypes.c_size_t(0)) is None
    assert library.dcnn_model_label(model.handle, ctypes.c_size_t(2)) is None


# Structs of callers who were compiled with more fields.
LATER = {
    kind.__name__: type(kind.__name__, (kind,), {"_fields_": (("later", ctypes.c_int64),)})
    for kind in (binding.Error, binding.Image, binding.Options, binding.Result)
}  # fmt: skip
PIXELS = {"Image": (None, 36, 40)}  # what _init is given beside the struct


def test_a_result_of_a_later_version_keeps_its_fields(model):
    """Those that this version does not know stay as they are."""
    longer = binding.init(LATER["Result"]())
    assert (longer.later, longer.struct_size) == (0, ctypes.sizeof(longer))
    longer.later = 77
    status, said, _ = call(model, result=longer)
    assert (status, longer.later, longer.struct_size) == (binding.OK, 77, ctypes.sizeof(longer)), said
    assert 0 < longer.mean < 1


@pytest.mark.parametrize("name", ["image", "options"])
def test_what_a_later_version_asks_for_is_refused_where_it_is_not_known(model, name):
    """Never done without, in silence; at 0 it asks for nothing."""
    pixels = picture()
    values = (pixels.ctypes.data, 36, 40) if name == "image" else ()
    longer = binding.init(LATER[name.title()](), *values)
    assert call(model, **{name: longer})[0] == binding.OK
    longer.later = 1
    status, said, _ = call(model, **{name: longer})
    assert status == binding.ARGUMENT and f"{name}: fields that version" in said and "must be 0" in said
    longer.struct_size = 2**60
    assert call(model, **{name: longer})[0] == binding.ARGUMENT


@pytest.mark.parametrize("kind", [binding.Error, binding.Image, binding.Options, binding.Result])
def test_init_writes_no_further_than_the_callers_struct(kind):
    """Which has fewer fields than the library's where it was compiled with an earlier version, and more with a later one."""
    name, values = kind.__name__, PIXELS.get(kind.__name__, ())
    binding.init(kind(), *values)
    function = getattr(binding.loaded(), f"dcnn_{name.lower()}_init_sized")
    for size in (0, 8, 24, ctypes.sizeof(kind), ctypes.sizeof(kind) + 16):
        memory = (ctypes.c_ubyte * 700)(*[0xAA] * 700)
        function(ctypes.addressof(memory), size, *values)
        assert bytes(memory)[size:] == b"\xaa" * (700 - size)
        assert size == 0 or int.from_bytes(bytes(memory)[:8], "little") == size
        assert not any(bytes(memory)[ctypes.sizeof(kind) : size])
    function(None, 48, *values)


def test_a_failed_call_leaves_no_answer_of_the_last_one(model):
    result = binding.init(binding.Result())
    assert call(model, result=result)[0] == binding.OK and result.mean > 0 and result.views == 50
    status, _, _ = call(model, **{"result": result, "image.width": 0})
    assert status == binding.ARGUMENT and np.isnan([result.mean, result.std, result.percentile]).all()
    assert (result.views, result.label, result.enlarged) == (0, -1, 0)


def test_a_sliver_of_a_picture(tmp_path):
    save_model(Model(build(small.network(("local",)), seed=1).eval()), tmp_path / "m.safetensors")
    with binding.Model(tmp_path / "m.safetensors") as opened, pytest.raises(binding.FailedError, match="so narrow") as failed:
        opened.score(np.zeros((1, 40_000, 3), np.uint8))
    assert failed.value.status == binding.IMAGE


def test_a_picture_that_cannot_be_reduced(model):
    with pytest.raises(binding.FailedError, match="too many weights") as failed:
        model.score(np.zeros((1, 135_000_000, 3), np.uint8), long_side=1024, views=1)
    assert failed.value.status == binding.IMAGE


def test_views_that_take_more_memory_than_a_column_may_have(tmp_path):
    column = networks.Column("local", (networks.Block(1024, 1),), (2,), plane=181, window=181, reduce="mean")
    save_model(Model(build(networks.Network("wide", (column,)), seed=1).eval()), tmp_path / "m.safetensors")
    with binding.Model(tmp_path / "m.safetensors") as opened, pytest.raises(binding.FailedError, match="64 GiB") as failed:
        opened.score(np.zeros((5000, 5000, 3), np.uint8), views=3000)
    assert failed.value.status == binding.MEMORY and "so many views of so large a picture" in str(failed.value)


def test_strides_that_cannot_be_planned_are_found_on_opening(tmp_path):
    column = networks.Column("warp", (networks.Block(2, 3, stride=3, padding=1),) * 20, (2,), plane=16, window=12)
    save_model(Model(build(networks.Network("strides", (column,)), seed=1).eval()), tmp_path / "m.safetensors")
    with pytest.raises(binding.FailedError, match="strides' product") as failed:
        binding.Model(tmp_path / "m.safetensors")
    assert failed.value.status == binding.MODEL


def test_numbers_that_are_not_finite(tmp_path):
    net = build(small.network(), seed=1).eval()
    for layer in (net.columns[0].fc[0], net.columns[0].fc[1], net.label):
        layer.weight.data.mul_(1e30)
    save_model(Model(net), tmp_path / "m.safetensors")
    assert "not finite" in next(Scorer(str(tmp_path / "m.safetensors")).score_many([picture()])).error
    with binding.Model(tmp_path / "m.safetensors") as opened, pytest.raises(binding.FailedError, match="not finite") as failed:
        opened.score(picture())
    assert failed.value.status == binding.NOT_FINITE


def test_files_that_cannot_be_read(tmp_path):
    for wrong, said in ((tmp_path / "none", "No such file"), (tmp_path, "is no file")):
        with pytest.raises(binding.FailedError, match=said) as failed:
            binding.Model(wrong)
        assert failed.value.status == binding.FILE


@pytest.mark.parametrize("name", [b"caf\xe9", b"a" * 200 + b"/" + b"b" * 200 + b"/" + b"c" * 200], ids=["Latin-1", "long"])
def test_a_path_of_any_bytes_leaves_the_reason_and_utf8(name):
    with pytest.raises(binding.FailedError, match="No such file or directory: /") as failed:
        binding.Model(os.fsdecode(b"/none/" + name))
    assert failed.value.status == binding.FILE and ("caf\ufffd" in str(failed.value) or name[0] == ord("a"))


def test_an_instruction_set_that_there_is_not(path, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_CPU_ISA", "abacus")
    with pytest.raises(binding.FailedError, match="DCNN_FAST_CPU_ISA: instruction set must be one of .*'abacus'") as failed:
        binding.Model(path)
    assert failed.value.status == binding.ARGUMENT


def test_networks_that_it_does_not_run(tmp_path):
    layers = (ConvLayer((0,), 4, 3), PoolLayer((1,), "avg"), NeuronLayer((2,), "tanh", (1.0, 1.0)))
    graph = networks.GraphColumn(layers, plane=16, window=12)
    grey = replace(small.column("warp"), channels=1, mean=(0.0,))
    for column, said in ((graph, "column of single layers"), (grey, "columns of 3 channels")):
        save_model(Model(build(networks.Network("other", (column,)), seed=1).eval()), tmp_path / "m.safetensors")
        with pytest.raises(binding.FailedError, match=said) as failed:
            binding.Model(tmp_path / "m.safetensors")
        assert failed.value.status == binding.UNSUPPORTED


def test_a_backbone_without_weights(tmp_path):
    save_model(Model(build(small_lite.network(small_lite.LOCAL), seed=1).eval()), tmp_path / "m.safetensors")
    with pytest.raises(binding.FailedError, match="no weights yet") as failed:
        binding.Model(tmp_path / "m.safetensors")
    assert failed.value.status == binding.MODEL


def test_an_empty_file_and_none_of_this_project():
    for data in (b"", b"\0" * 7, struct.pack("<Q", 2) + b"{}", struct.pack("<Q", 2**63) + b"{}", b"PK" * 100):
        with pytest.raises(binding.FailedError) as failed:
            binding.Model(data)
        assert failed.value.status == binding.MODEL


# ---- Damaged files: what Python refuses is refused here, with a sentence.

HOSTILE = {
    **{f"spec: {name}": {"change_spec": change} for name, (change, _) in hostile.SPECS.items()},
    **{f"text: {name}": {"text": change} for name, (change, _) in hostile.TEXTS.items()},
    **{f"header: {name}": {"change_header": change} for name, (change, _) in hostile.HEADERS.items()},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(name, tmp_path, path):
    hostile.written(tmp_path / "m.safetensors", path.read_bytes(), **HOSTILE[name])
    with pytest.raises(binding.FailedError) as failed:
        binding.Model((tmp_path / "m.safetensors").read_bytes())
    assert failed.value.status == binding.MODEL and 0 < len(str(failed.value)) < 400


def changed(data, place, value):
    """The file with another value somewhere in its network; `...` takes the member away."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    entry = json.loads(header["__metadata__"]["dcnn_fast"])
    at = entry
    for step in place[:-1]:
        at = at[step]
    if value is ...:
        del at[place[-1]]
    else:
        at[place[-1]] = value
    header["__metadata__"]["dcnn_fast"] = json.dumps(entry)
    content = json.dumps(header).encode()
    return struct.pack("<Q", len(content)) + content + data[8 + length :]


def with_entry(data, change):
    """The file with the JSON text of its network as `change` makes it."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"]["dcnn_fast"] = change(header["__metadata__"]["dcnn_fast"])
    content = json.dumps(header).encode()
    return struct.pack("<Q", len(content)) + content + data[8 + length :]


def caution_of(data):
    """What the library reads of the file."""
    with binding.Model(data) as model:
        return model.caution


@pytest.mark.parametrize(("provenance", "caution"), [
    (r'{"path": "caf\udce9", "\ud800x": ["\ud800\u0041", "\udc00"], "caution": "a"}', "a"),
    (r'{"tiny": 1e-400, "large": [1e400, -1e999], "caution": "b"}', "b"),
    (r'{"caution": "\ud83d\ude00 \ud83d!"}', "\U0001f600 \ufffd\ufffd\ufffd!"),
], ids=["half a pair", "past a double", "a caution of half a pair"])  # fmt: skip
def test_what_decides_no_score_is_read_as_by_python(provenance, caution, tmp_path, path):
    def change(text):
        return json.dumps({**json.loads(text), "provenance": "PLACE"}).replace('"PLACE"', provenance)

    data = with_entry(path.read_bytes(), change)
    (tmp_path / "m.safetensors").write_bytes(data)
    load_model(tmp_path / "m.safetensors")
    assert caution_of(data) == caution


@pytest.mark.parametrize(("place", "value", "said"), [
    (("network", "labels"), ["a\0b", "c"], "label whose name is no text in C"),
    (("network", "labels"), ["a\ud800", "c"], "label whose name is no text in C"),
    (("provenance",), {"caution": "a\0b"}, "caution has a zero"),
], ids=str)  # fmt: skip
def test_texts_that_c_does_not_have(path, place, value, said):
    with pytest.raises(binding.FailedError, match=said) as failed:
        binding.Model(changed(path.read_bytes(), place, value))
    assert failed.value.status == binding.UNSUPPORTED


def test_names_are_cut_between_characters(path):
    name = "a" * 59 + "\u00e9" * 9
    with pytest.raises(binding.FailedError) as failed:  # its message is decoded as UTF-8
        binding.Model(with_entry(path.read_bytes(), lambda _: f'{{"{name}": 1, "{name}": 2}}'))
    assert failed.value.status == binding.MODEL and "a" * 59 + "...' twice" in str(failed.value)


def colliding_names(count):
    """Different names of 16 letters that have one hash by C++'s standard library, whose seed is known."""
    mul, rng = 0xC6A4A7935BD1E995, np.random.default_rng(0)
    times, back = np.uint64(mul), np.uint64(pow(mul, -1, 2**64))

    def mixed(value):
        return value ^ value >> np.uint64(47)

    found = set()
    while len(found) < count:
        first = rng.integers(97, 123, (1 << 20, 8), np.uint8)
        state = (np.uint64(0xC70F6907 ^ 16 * mul % 2**64) ^ mixed(first.view("<u8")[:, 0] * times) * times) * times
        second = (mixed((state ^ np.uint64(12345)) * back) * back).astype("<u8")[:, None].view(np.uint8)
        found |= set(map(bytes, np.hstack((first, second))[(second < 128).all(1)]))
    return [name.decode() for name in sorted(found)[:count]]


def test_names_that_share_a_hash_take_no_longer(path):
    def seconds(names):
        data = with_entry(
            path.read_bytes(), lambda text: text[:-1] + "," + ",".join(f"{json.dumps(name)}:1" for name in names) + "}"
        )
        start = time.process_time()
        caution_of(data)
        return time.process_time() - start

    count = 40_000
    assert seconds(colliding_names(count)) < 0.3 + 5 * seconds([f"{i:016}" for i in range(count)])


def test_a_backbone_of_the_largest_windows_that_python_reads(tmp_path):
    save_model(small_lite.model(small_lite.LITE), tmp_path / "m.safetensors")
    data = (tmp_path / "m.safetensors").read_bytes()
    for member in ("plane", "window"):
        data = changed(data, ("network", "columns", 0, member), 1280)
    (tmp_path / "m.safetensors").write_bytes(data)
    load_model(tmp_path / "m.safetensors")
    assert caution_of(data) == ""


VALUES = (
    ..., None, True, -1, 0, 1, 2, 7, 300, 2**40, 10**30, 0.5, -0.25, float("nan"), float("inf"), "", "max", "warp", [], [1],
    [3, 3], {}, {"size": 1},
)  # fmt: skip


def places(value, at=()):
    """Every place of a JSON value, from the outermost to the innermost."""
    found = []
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        found.append((*at, key))
        if isinstance(inner, (dict, list)) and (not isinstance(inner, list) or len(inner) < 20):
            found += places(inner, (*at, key))
    return found


@pytest.mark.parametrize(("make", "within"), [
    (small.model, ()), (lambda: small_lite.model(small_lite.LITE), ("network", "columns", 0)),
], ids=["blocks", "backbone"])  # fmt: skip
def test_every_member_with_other_values_is_taken_or_refused_as_by_python(make, within, tmp_path):
    """Which never leads to other scores: a file that both read has the same ones."""
    path = tmp_path / "m.safetensors"
    save_model(make(), path)
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    entry = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["dcnn_fast"])
    chosen = [place for place in places(entry) if place[: len(within)] == within]
    assert len(chosen) > 10
    read = 0
    rng = np.random.default_rng(0)
    for place in chosen:
        for value in rng.permutation(len(VALUES))[:4]:
            other = changed(data, place, VALUES[value])
            path.write_bytes(other)
            try:
                theirs = load_model(path)
            except ModelError:
                theirs = None
            try:
                with binding.Model(other) as ours:
                    assert theirs is not None, f"{place} = {VALUES[value]!r} is read, which Python refuses"
                    read += 1
                    if read % 5 == 0:
                        expected = Scorer(theirs, samples=2, per_sample=True).score(picture()).samples.probs
                        assert ours.score(picture(), views=2).samples.tolist() == [list(each) for each in expected]
            except binding.FailedError as failed:
                assert theirs is None, f"{place} = {VALUES[value]!r} is refused, which Python reads: {failed}"
                assert failed.status == binding.MODEL
    assert read > 3


def test_bytes_changed_anywhere_are_read_or_refused(path):
    data, rng = path.read_bytes(), np.random.default_rng(2)
    ends = {binding.OK: 0, binding.MODEL: 0, binding.UNSUPPORTED: 0}
    for _ in range(600):
        other = bytearray(data)
        for at in rng.integers(0, 4000, rng.integers(1, 4)):
            other[at] = rng.integers(0, 256)
        del other[int(rng.integers(0, 2 * len(other))) :]
        try:
            binding.Model(bytes(other)).__exit__()
            ends[binding.OK] += 1
        except binding.FailedError as failed:
            ends[failed.status] += 1
    assert ends[binding.MODEL] > 100 and ends[binding.OK] > 5
