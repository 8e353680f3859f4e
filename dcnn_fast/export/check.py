"""Checks exported files in other programs' runtimes against the expected answers."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dcnn_fast import strict_json
from dcnn_fast.data import reading
from dcnn_fast.export import names
from dcnn_fast.export.about import GRID, PROPERTY, SAMPLES, SEED
from dcnn_fast.export.expected import SCHEMA, TOLERANCE, Given, given_of
from dcnn_fast.export.inputs import high_of
from dcnn_fast.nets import Model
from dcnn_fast.printable import quoted

Arrays = Mapping[str, np.ndarray]


class CheckError(ValueError):
    """The files are not those of one export of this model; the message names the file and the reason."""


class Runtime(Protocol):
    """Runs a file's content on named arrays and returns named arrays."""

    def __call__(self, content: bytes, inputs: Arrays) -> dict[str, np.ndarray]: ...


@dataclass(frozen=True)
class Outcome:
    """The result of one file in one runtime.

    Attributes:
        runtime: The runtime's name.
        file: The file's name.
        difference: The largest difference over all expected values.
        allowed: The limit of the difference.
    """

    runtime: str
    file: str
    difference: float
    allowed: float = TOLERANCE

    @property
    def passed(self) -> bool:
        """Whether the difference is within the limit; NaN is not."""
        return self.difference <= self.allowed


def runtimes() -> dict[str, Runtime]:
    """The installed runtimes by name. Raises CheckError where ONNX Runtime is not installed."""
    if find_spec("onnxruntime") is None:
        raise CheckError("check needs ONNX Runtime: pip install 'dcnn-fast[export]'")
    found: dict[str, Runtime] = {"ONNX Runtime": _onnx_runtime}
    if find_spec("openvino") is not None:
        found["OpenVINO"] = _openvino
    return found


def check(model: Model, folder: Path) -> Iterator[Outcome]:
    """Run every file of an export of `model` in every installed runtime.

    Args:
        model: The model that was exported.
        folder: The folder of the exported files.

    Returns:
        The outcomes, one for each file and runtime, as they are ready.

    Raises:
        CheckError: A file is missing, changed since the export or of another model; the picture's planes or windows differ from
            the exported ones; or ONNX Runtime is not installed.
        OSError: A file cannot be read.
    """
    said = _said(model, folder)
    given = _given(model, said, folder)
    found = runtimes()
    for kind in names.KINDS:
        name = names.onnx(kind)
        content, inputs, wanted = _content(said, folder, name), _inputs(kind, given), _wanted(model, kind, said)
        _require_metadata(content, model, name)
        for runtime, run in found.items():
            yield Outcome(runtime, name, _difference(run(content, inputs), wanted))
    if names.PT2 in said["files"]:
        content = _content(said, folder, names.PT2)
        yield Outcome("torch.export", names.PT2, _difference(_torch(content, given), _wanted(model, "windows", said)))


def _said(model: Model, folder: Path) -> dict[str, Any]:
    try:
        said = strict_json.loads((folder / names.EXPECTED).read_bytes())
    except FileNotFoundError:
        raise CheckError(f"{names.EXPECTED} is missing in {folder}") from None
    except ValueError as error:
        raise CheckError(f"{names.EXPECTED} cannot be read: {error}") from None
    if not isinstance(said, dict) or said.get("dcnn_fast_expected") != SCHEMA or not isinstance(said.get("files"), dict):
        raise CheckError(f"{names.EXPECTED} is not of an export of this version of the program")
    if said.get("model") != model.digest:
        raise CheckError(f"{folder} is an export of another model, of digest {said.get('model')}; this one's is {model.digest}")
    drawn = {"samples": SAMPLES, "seed": SEED, "grid": GRID}
    for name, value in drawn.items():
        if said.get(name) != value:
            raise CheckError(f"{names.EXPECTED}: {name} must be {value}, got {quoted(said.get(name))}")
    return said


def _content(said: Mapping[str, Any], folder: Path, name: str) -> bytes:
    try:
        content = (folder / name).read_bytes()
    except FileNotFoundError:
        raise CheckError(f"{name} is missing in {folder}") from None
    if hashlib.sha256(content).hexdigest() != said["files"].get(name):
        raise CheckError(f"{name} is not the file that was exported together with {names.EXPECTED}")
    return content


def _given(model: Model, said: Mapping[str, Any], folder: Path) -> tuple[Given, ...]:
    pixels = reading.read(_content(said, folder, names.PICTURE)).pixels
    given, columns = given_of(model, pixels), said.get("columns")
    if not isinstance(columns, list) or len(columns) != len(given) or not all(isinstance(each, dict) for each in columns):
        raise CheckError(f"{names.EXPECTED}: columns must be those of the model, {len(given)}")
    for each, column in zip(given, columns, strict=True):
        key = each.inputs.key
        if hashlib.sha256(each.plane.tobytes()).hexdigest() != column.get("plane_sha256"):
            raise CheckError(f"the plane of column {key} is not the one that was exported")
        if each.offsets.tolist() != column.get("offsets"):
            raise CheckError(f"the windows of column {key} are not those that were exported")
    return given


def _require_metadata(content: bytes, model: Model, name: str) -> None:
    import onnx  # noqa: PLC0415 - optional dependency

    said = {each.key: each.value for each in onnx.load_model_from_string(content).metadata_props}
    if PROPERTY not in said or json.loads(said[PROPERTY])["model"]["digest"] != model.digest:
        raise CheckError(f"{name} does not say that it is of this model")


def _inputs(kind: str, given: tuple[Given, ...]) -> dict[str, np.ndarray]:
    if kind == "windows":
        return {each.inputs.windows_name: each.windows() for each in given}
    planes = {each.inputs.plane_name: each.plane for each in given}
    return planes | ({each.inputs.offsets_name: each.offsets for each in given} if kind == "planes" else {})


def _wanted(model: Model, kind: str, said: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The expected values of a file of that kind; none may be missing."""
    more = {"windows": (), "planes": ("mean", "std"), "single": ("mean",)}[kind]
    numbers = ("probabilities", *(more if high_of(model.spec.labels) is not None else ()))
    try:
        return {name: np.asarray(said[kind][name], np.float64) for name in numbers}
    except (KeyError, TypeError, ValueError):
        raise CheckError(f"{names.EXPECTED}: {kind} must have the numbers {', '.join(numbers)}") from None


def _difference(found: Arrays, wanted: Arrays) -> float:
    """The largest difference: NaN where a value is NaN; infinity where an array is missing or has another shape."""
    largest = 0.0
    for name, numbers in wanted.items():
        if name not in found or found[name].shape != numbers.shape:
            return float("inf")
        largest = float(np.maximum(largest, np.abs(found[name].astype(np.float64) - numbers).max(initial=0.0)))
    return largest


def _onnx_runtime(content: bytes, inputs: Arrays) -> dict[str, np.ndarray]:
    import onnxruntime  # noqa: PLC0415 - optional dependency

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]
    return dict(zip(outputs, session.run(outputs, dict(inputs)), strict=True))


def _openvino(content: bytes, inputs: Arrays) -> dict[str, np.ndarray]:
    import openvino  # noqa: PLC0415 - optional dependency

    core = openvino.Core()
    compiled = core.compile_model(core.read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return {output.get_any_name(): np.array(value) for output, value in compiled(dict(inputs)).items()}


def _torch(content: bytes, given: tuple[Given, ...]) -> dict[str, np.ndarray]:
    import torch  # noqa: PLC0415

    program: Callable[..., torch.Tensor] = torch.export.load(io.BytesIO(content)).module()
    with torch.no_grad():
        return {"probabilities": program(*(torch.from_numpy(each.windows()) for each in given)).numpy()}
