"""Model files: round trips, compact storage, and refusal of everything that is no model file."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from dcnn_fast.nets import ModelError, load_model, save_model
from dcnn_fast.networks import BackboneColumn
from dcnn_fast.scoring import Scorer, shipped_model
from tests import small


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    save_model(small.model(), path)
    return path


def test_round_trip(path):
    before, after = small.model(), load_model(path)
    assert after.spec == before.spec
    assert after.provenance == before.provenance
    assert not after.net.training
    for name, tensor in before.net.state_dict().items():
        assert torch.equal(after.net.state_dict()[name], tensor), name
    windows = [torch.randint(0, 256, (2, 3, 24, 24), dtype=torch.uint8) for _ in range(2)]
    assert torch.equal(after.net(*windows), before.net(*windows))
    after.net.train()(*windows).sum().backward()
    assert after.net.label.weight.grad is not None


@pytest.mark.parametrize(("storage", "error"), [("float16", 2**-11), ("int8", 1 / 254)])
def test_compact_storage_rounds_only_fully_connected_weights(tmp_path, storage, error):
    before, file = small.model(), tmp_path / "m.safetensors"
    save_model(before, file, fc_storage=storage)
    after = load_model(file).net.state_dict()
    for name, tensor in before.net.state_dict().items():
        if ".fc." in name and name.endswith("weight"):
            limit = error * tensor.abs().amax(dim=1, keepdim=True) * 1.001
            assert ((after[name] - tensor).abs() <= limit).all()
            assert not torch.equal(after[name], tensor)
        else:
            assert torch.equal(after[name], tensor)


def test_filters_may_be_stored_in_half_the_bytes(tmp_path):
    before, file = small.model(), tmp_path / "m.safetensors"
    save_model(before, file, block_storage="float16")
    after = load_model(file).net.state_dict()
    for name, tensor in before.net.state_dict().items():
        rounded = ".blocks." in name and name.endswith("weight")
        assert torch.equal(after[name], tensor.half().float() if rounded else tensor), name


def test_the_file_says_how_it_was_made(path):
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])
    ours = json.loads(header["__metadata__"]["dcnn_fast"])
    assert ours["format"] == 1
    assert ours["network"]["columns"][0]["mean"] == [120.5, 110.0, 100.0]
    assert ours["provenance"] == {"trained on": "nothing"}


def _altered(path, tmp_path, change_header=None, change_tensors=None):
    """The model file with its header or tensors changed."""
    tensors = load_file(path)
    content = path.read_bytes()
    metadata = json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])["__metadata__"]
    header = json.loads(metadata["dcnn_fast"])
    if change_header:
        change_header(header)
    if change_tensors:
        change_tensors(tensors)
    target = tmp_path / "altered.safetensors"
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, target, metadata={"dcnn_fast": json.dumps(header)}
    )
    return target


def _poison(tensors):
    tensors["columns.0.fc.0.weight"][3, 4] = float("nan")


@pytest.mark.parametrize(
    ("header", "tensors", "message"),
    [
        (lambda h: h.update(format=2), None, "format must be 1, got 2"),
        (lambda h: h.pop("network"), None, "Network must be a JSON object, got NoneType"),
        (lambda h: h["network"].update(columns=[]), None, "columns must hold at least one Column"),
        (lambda h: h["network"]["columns"][0].update(fc=[10**12]), None, "fc must be at most 1048576, got 1,000,000,000,000"),
        (lambda h: h["network"]["columns"][0].update(fc=[2**20, 2**20]), None, "at most 2,147,483,648 parameters"),
        (lambda h: h["network"]["columns"][0]["blocks"][0]["pool"].update(size=2**61), None, "size must be at most 255"),
        (lambda h: h["network"]["columns"][0].update(fc=[21, 16]), None, "must have shape .21, 432.|must have shape .21"),
        (lambda h: h["network"]["columns"][0].update(scale=float("inf")), None, "must be a finite number"),
        (lambda h: h.update(provenance=[1]), None, "provenance must be a JSON object"),
        (None, lambda t: t.pop("label.bias"), "missing .'label.bias'."),
        (None, lambda t: t.update(extra=torch.zeros(1)), "unknown .'extra'."),
        (None, lambda t: t.update({"label.bias": torch.zeros(3)}), r"label.bias must have shape \[2\], got \[3\]"),
        (None, lambda t: t.update({"label.bias": torch.zeros(2).long()}), "label.bias must be float32, float16 or scaled int8"),
        (None, _poison, "columns.0.fc.0.weight must be finite, got NaN or infinity"),
    ],
)  # fmt: skip
def test_a_file_that_contradicts_itself_is_refused(path, tmp_path, header, tensors, message):
    with pytest.raises(ModelError, match=message) as caught:
        load_model(_altered(path, tmp_path, header, tensors))
    assert "altered.safetensors" in str(caught.value)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ModelError, match="missing.safetensors"):
        load_model(tmp_path / "missing.safetensors")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ModelError, match="not a readable safetensors file"):
        load_model(tmp_path / "text")
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign")
    with pytest.raises(ModelError, match="this is not a model file of this project"):
        load_model(tmp_path / "foreign")
    torch.save({"a": torch.zeros(1)}, tmp_path / "pickle")
    with pytest.raises(ModelError, match="not a readable safetensors file"):
        load_model(tmp_path / "pickle")


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6), st.integers(50, 100))
def test_mutated_files_load_or_are_refused(path, tmp_path_factory, changes, kept):
    content = bytearray(path.read_bytes())
    for position, value in changes:
        content[position % (4000 if position % 3 else len(content))] = value
    target = tmp_path_factory.getbasetemp() / "mutated.safetensors"
    target.write_bytes(content[: len(content) * kept // 100] if kept < 70 else content)
    try:
        model = load_model(target)
    except ModelError as error:
        assert "mutated.safetensors" in str(error)
        return
    assert all(torch.isfinite(parameter).all() for parameter in model.net.parameters())


def test_a_file_from_before_there_were_backbones_loads_and_scores_as_it_did():
    """The file, its digest and its score come from revision 43f90e7."""
    model = load_model(Path(__file__).parent / "files" / "before-backbones.safetensors")
    assert model.digest == "d6fbab8069ac4505808a209ec9a404f79c44cac665a933b5fc36d8d01a3b512e"
    image = (np.arange(50 * 60 * 3).reshape(50, 60, 3) * 7919 % 256).astype(np.uint8)
    assert Scorer(model, samples=5).score(image).mean == pytest.approx(0.3255763468185716, abs=1e-6)


def test_the_shipped_model_is_small_and_says_where_it_comes_from():
    path = shipped_model()
    assert path.stat().st_size <= 30e6
    model = load_model(path)
    (column,) = model.spec.columns
    assert isinstance(column, BackboneColumn) and (column.lite, column.view) == ("lite2", "warp")
    assert column.plane == column.window  # the plane is the only window, so it is computed once
    assert model.spec.labels == ("low", "high") and model.spec.long_side == 500
    assert {"trained on", "held out", "recipe"} <= set(model.provenance) and "caution" not in model.provenance
    assert model.percentiles.about.startswith("240 ") and len(model.percentiles.scores) == 240
    assert (path.parent / "LICENSE-EfficientNet-Lite").read_text().count("Apache License") > 1


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_model_file_has_the_mode_of_any_new_file_or_keeps_its_own(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        save_model(small.model(), tmp_path / "m.safetensors")
        assert (tmp_path / "m.safetensors").stat().st_mode & 0o777 == mode
        (tmp_path / "m.safetensors").chmod(0o640)
        save_model(small.model(), tmp_path / "m.safetensors")
        assert (tmp_path / "m.safetensors").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]
