"""The ONNX files in other programs' runtimes, compared with the scorer: every kind of network, and refusals."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import onnx
import onnxruntime
import openvino
import pytest

from dcnn_fast import Scorer
from dcnn_fast.export.about import Difference, properties
from dcnn_fast.export.expected import given_of, probabilities
from dcnn_fast.export.inputs import require_exportable
from dcnn_fast.export.programs import onnx_file
from dcnn_fast.nets import build
from dcnn_fast.networks import Network
from tests import small
from tests.export import networks
from tests.export.networks import KINDS, NORMS, VIEWS, overhanging, photograph
from tests.export.schemas import require_valid

TOLERANCE = 1e-5


def opened_by_onnx_runtime(content):
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]

    def run(inputs):
        assert {each.name for each in session.get_inputs()} == set(inputs)
        return dict(zip(names, session.run(names, inputs), strict=True))

    return run


def opened_by_openvino(content):
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda inputs: {output.get_any_name(): np.array(value) for output, value in compiled(inputs).items()}


def by_onnx_runtime(content, inputs):
    return opened_by_onnx_runtime(content)(inputs)


def by_openvino(content, inputs):
    return opened_by_openvino(content)(inputs)


def planes(given):
    return {each.inputs.plane_name: each.plane for each in given}


def planes_and_offsets(given):
    return planes(given) | {each.inputs.offsets_name: each.offsets for each in given}


def close(found, wanted):
    np.testing.assert_allclose(np.asarray(found, float), wanted, rtol=0, atol=TOLERANCE)


def require_scores(model, pixels, run):
    """Check that all three files give the package's scores."""
    score = Scorer(model, samples=VIEWS, per_sample=True).score(pixels)
    assert score.error is None
    given, labels = given_of(model, pixels, VIEWS), model.spec.labels
    found = run(onnx_file(model.net, "planes", {}), planes_and_offsets(given))
    close(found["probabilities"], [score.probs[label] for label in labels])
    close(found["sample_probabilities"], score.samples.probs)
    assert ("mean" in found, "std" in found) == (score.mean is not None,) * 2
    if score.mean is not None:
        close(found["mean"], score.mean)
        close(found["std"], score.std)
    windows = {each.inputs.windows_name: each.windows(VIEWS) for each in given}
    close(run(onnx_file(model.net, "windows", {}), windows)["probabilities"], score.samples.probs)
    single = run(onnx_file(model.net, "single", {}), planes(given))
    middle = probabilities(model, tuple(each.centre for each in given))[0]
    close(single["probabilities"], middle)
    if score.mean is not None:
        close(single["mean"], middle[labels.index("high") if "high" in labels else 1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_gives_what_the_scorer_gives(kind):
    require_scores(KINDS[kind](), photograph(90, 120), by_onnx_runtime)


@pytest.mark.parametrize("kind", ["all views", "EfficientNet-Lite and blocks", "a whole plane beside windows", "three labels"])
def test_openvino_gives_the_same(kind):
    require_scores(KINDS[kind](), photograph(), by_openvino)


@pytest.mark.parametrize("order", ["conv-pool-norm", "conv-norm-pool"])
@pytest.mark.parametrize("norm", [None, *NORMS], ids=str)
def test_every_norm_in_either_order(norm, order):
    model = networks.of_columns(overhanging(norm, order), overhanging(norm, order, view="local"))
    require_scores(model, photograph(), by_onnx_runtime)


@pytest.mark.parametrize("norm", [NORMS[0], NORMS[2], NORMS[6], NORMS[9]], ids=str)
def test_norms_of_every_form_in_openvino(norm):
    require_scores(networks.of_columns(overhanging(norm)), photograph(), by_openvino)


@pytest.mark.parametrize("reduce", ["flatten", "mean"])
@pytest.mark.parametrize("rounding", ["up", "down"])
@pytest.mark.parametrize("window", range(33, 42))
def test_windows_of_every_overhang(window, rounding, reduce):
    column = overhanging(NORMS[0], rounding=rounding, reduce=reduce, window=window)
    require_scores(networks.of_columns(column), photograph(), by_onnx_runtime)


@pytest.mark.parametrize(("height", "width"), [(20, 26), (24, 300), (300, 24), (32, 32), (31, 33), (1, 40), (401, 119)])
def test_photographs_of_every_shape(height, width):
    """Enlarged, reduced along one side more than along the other, and with a single row."""
    model = small.model(views=("local", "center", "pad", "warp"))
    require_scores(model, photograph(height, width), by_onnx_runtime)


@pytest.mark.parametrize("kind", KINDS)
def test_all_operators_are_onnx_s_own_and_old(kind):
    model = KINDS[kind]()
    for each in ("windows", "planes", "single"):
        found = onnx.load_model_from_string(onnx_file(model.net, each, {}))
        onnx.checker.check_model(found, full_check=True)
        assert [(opset.domain, opset.version <= 20) for opset in found.opset_import] == [("", True)]
        assert {node.domain for node in found.graph.node} == {""} and not found.functions


@pytest.mark.parametrize("opened", [opened_by_onnx_runtime, opened_by_openvino])
@pytest.mark.parametrize(("kind", "most"), [("dcnn", 8), ("EfficientNet-Lite, whole", 0)])
@pytest.mark.parametrize("axis", [0, 1])
def test_windows_that_leave_their_plane_give_no_numbers(kind, most, axis, opened):
    model = KINDS[kind]()
    given = given_of(model, photograph(), VIEWS)
    run, inputs = opened(onnx_file(model.net, "planes", {})), planes_and_offsets(given)
    name = given[-1].inputs.offsets_name
    for offset, lies_inside in ((0, True), (most, True), (-1, False), (most + 1, False), (2**40, False), (-(2**40), False)):
        if opened is opened_by_openvino and abs(offset) > 2**31:
            continue  # it computes with fewer bits
        moved = inputs[name].copy()
        moved[2, axis] = offset
        found = run(inputs | {name: moved})
        assert np.isfinite(found["mean"]) == lies_inside, (offset, found)
        assert np.isfinite(found["probabilities"]).all() == lies_inside == np.isfinite(found["std"])
        assert np.isfinite(found["sample_probabilities"]).all() == lies_inside


@pytest.mark.parametrize("shape", [(31, 60), (60, 31), (23, 60), (3, 3), (24, 24)])
def test_a_local_plane_that_was_not_enlarged_gives_no_numbers(shape):
    model = small.model(views=("local",))
    small_plane = {"plane_local_0": photograph(*shape)}
    found = by_onnx_runtime(onnx_file(model.net, "single", {}), small_plane)
    assert np.isnan(found["probabilities"]).all() and np.isnan(found["mean"])
    offsets = {"offsets_local_0": np.zeros((2, 2), np.int64)}
    found = by_onnx_runtime(onnx_file(model.net, "planes", {}), small_plane | offsets)
    assert np.isnan(found["probabilities"]).all() and np.isnan(found["mean"]) and np.isnan(found["std"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("plane_warp_0", np.zeros((33, 32, 3), np.uint8)), ("plane_warp_0", np.zeros((32, 32, 4), np.uint8)),
        ("plane_warp_0", np.zeros((3, 32, 32), np.uint8)), ("plane_warp_0", np.zeros((32, 32, 3), np.float32)),
        ("offsets_warp_0", np.zeros((VIEWS, 3), np.int64)), ("offsets_warp_0", np.zeros((VIEWS - 1, 2), np.int64)),
        ("offsets_local_0", np.zeros((VIEWS, 2), np.int32)),
    ],
)  # fmt: skip
def test_inputs_of_another_shape_or_type_are_refused(name, value):
    model = small.model()
    inputs = planes_and_offsets(given_of(model, photograph(), VIEWS)) | {name: value}
    with pytest.raises(Exception, match="(?i)invalid|unexpected|mismatch|dimension"):
        by_onnx_runtime(onnx_file(model.net, "planes", {}), inputs)


def test_a_network_that_scores_no_photographs_is_refused():
    column = networks.overhanging()
    grey = type(column)("warp", column.blocks[:1], (4,), plane=40, window=37, channels=1, mean=(0.0,))
    with pytest.raises(ValueError, match="3 channels to score photographs, warp:0 has 1"):
        onnx_file(build(Network("grey", (grey,))), "windows", {})


def test_a_network_that_no_file_holds_is_refused_before_anything_is_made():
    column = type(networks.overhanging())("warp", networks.overhanging().blocks, (2**20, 600), plane=41, window=37)
    with pytest.raises(ValueError, match="at most 2,000,000,000 bytes of weights for an ONNX file, got 2,"):
        require_exportable(Network("huge", (column,)))


@pytest.mark.parametrize("difference", [None, Difference(3, 0.01, 0.02)])
@pytest.mark.parametrize("kind", ["windows", "planes", "single"])
def test_the_metadata_say_what_must_be_done_first(kind, difference):
    model = KINDS["reduced photographs"]()
    content = onnx_file(model.net, kind, properties(model, kind, difference))
    found = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).get_modelmeta().custom_metadata_map
    said = json.loads(found["dcnn_fast"])
    require_valid("export-metadata.v1", said)
    assert said["kind"] == kind and said["model"]["digest"] == model.digest and said["preprocessing"]["long_side"] == 60
    assert [column["key"] for column in said["preprocessing"]["columns"]] == ["local:0", "warp:0"]
    if kind == "single":
        wanted = None if difference is None else {**vars(difference)}
        assert said["difference_from_samples"] == wanted
    with pytest.raises(jsonschema.ValidationError):
        require_valid("export-metadata.v1", {**said, "kind": "other"})
