"""Requests and answers of the Open Inference Protocol, version 2, with its extension for binary tensors."""

from __future__ import annotations

import base64
import binascii
import json
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dcnn_fast import strict_json
from dcnn_fast.scoring import Score
from dcnn_fast.serve.errors import RefusedError

INPUT = "image"
HEADER = "Inference-Header-Content-Length"  # the number of bytes of JSON before binary tensors
_LENGTH = struct.Struct("<I")  # the length before each element of BYTES

_PARTS, _PARTS_OF_ONE = (
    1000,
    4,
)  # JSON values in all and per image: each takes a hundred times its text in memory


@dataclass(frozen=True)
class InferRequest:
    """images: files' contents. outputs: the names of the requested outputs, and whether each is binary."""

    id: str | None
    images: tuple[bytes, ...]
    outputs: Mapping[str, bool]


@dataclass(frozen=True)
class Tensor:
    """An output. values: an array, or texts for BYTES."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Any

    def binary(self) -> bytes:
        """The bytes in the extension's layout."""
        if self.datatype != "BYTES":
            content: bytes = np.ascontiguousarray(self.values, "<f8").tobytes()
            return content
        return b"".join(_LENGTH.pack(len(each)) + each for each in (text.encode() for text in self.values))

    def plain(self) -> list[Any]:
        """The values for JSON, flat."""
        return list(self.values) if self.datatype == "BYTES" else np.asarray(self.values).ravel().tolist()


def outputs_of(labels: Sequence[str]) -> dict[str, tuple[str, list[int]]]:
    """Type and shape of each output of a model with these labels; -1 is the number of images."""
    found = {"probabilities": ("FP64", [-1, len(labels)]), "label": ("BYTES", [-1])}
    return found | ({"mean": ("FP64", [-1]), "std": ("FP64", [-1])} if len(labels) == 2 else {})


def parsed(body: bytes, header_length: str | None, known: Mapping[str, Any], most: int) -> InferRequest:
    """The request in a body.

    header_length: the header's value, None without it. known: the existing outputs. most: the limit of images. Raises
    RefusedError, 400 for a body that is not such a request, 413 for too many images.
    """
    head, rest = _split(body, header_length)
    if sum(map(head.count, (b"{", b"[", b","))) > _PARTS + _PARTS_OF_ONE * most:
        raise RefusedError(400, "the request's JSON has more parts than a request of images")
    try:
        said = strict_json.loads(head)
    except ValueError:
        raise RefusedError(400, "the request must begin with JSON") from None
    request = _object(said, "the request")
    inputs = request.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1:
        raise RefusedError(400, f"inputs must be one, {INPUT}")
    identity = request.get("id")
    if identity is not None and not isinstance(identity, str):
        raise RefusedError(400, "id must be text")
    return InferRequest(identity, tuple(_images(_object(inputs[0], "an input"), rest, most)), _asked(request, known))


def answered(
    request: InferRequest, model: str, version: str, scores: Sequence[Score], labels: Sequence[str]
) -> tuple[bytes, int]:
    """The body of the answer, and the number of its bytes that are JSON."""
    tensors = _tensors(scores, labels)
    described, after = [], []
    for name, is_binary in request.outputs.items():
        tensor = tensors[name]
        said: dict[str, Any] = {"name": name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
        if is_binary:
            content = tensor.binary()
            said["parameters"] = {"binary_data_size": len(content)}
            after.append(content)
        else:
            said["data"] = tensor.plain()
        described.append(said)
    whole: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": described}
    if request.id is not None:
        whole["id"] = request.id
    head = json.dumps(whole, allow_nan=False).encode()
    return b"".join((head, *after)), len(head)


def _split(body: bytes, header_length: str | None) -> tuple[bytes, bytes]:
    if header_length is None:
        return body, b""
    if not header_length.isascii() or not header_length.isdigit() or len(header_length) > 12 or int(header_length) > len(body):
        raise RefusedError(400, f"{HEADER} must be a number of bytes of the body")
    return body[: int(header_length)], body[int(header_length) :]


def _images(said: Mapping[str, Any], rest: bytes, most: int) -> Iterator[bytes]:
    if said.get("name") != INPUT or said.get("datatype") != "BYTES":
        raise RefusedError(400, f"the input must be called {INPUT} and be of the type BYTES")
    shape = said.get("shape")
    if not isinstance(shape, list) or not 1 <= len(shape) <= 2 or any(type(each) is not int or each < 1 for each in shape):
        raise RefusedError(400, "shape must be [images] or [images, 1]")
    if len(shape) == 2 and shape[1] != 1:
        raise RefusedError(400, "shape must be [images] or [images, 1]")
    count = math.prod(shape)
    if count > most:
        raise RefusedError(413, f"a request must have at most {most} images")
    size = _parameters(said).get("binary_data_size")
    if (size is None) == ("data" not in said):
        raise RefusedError(400, "the input must have data, or binary_data_size among its parameters")
    if size is None:
        yield from _of_json(said["data"], count)
    else:
        if type(size) is not int or size != len(rest):
            raise RefusedError(400, f"binary_data_size must be the number of bytes behind the JSON, {len(rest)}")
        yield from _of_binary(rest, count)


def _of_json(data: Any, count: int) -> Iterator[bytes]:
    flat = [each for row in data for each in (row if isinstance(row, list) else [row])] if isinstance(data, list) else []
    if len(flat) != count or not all(isinstance(each, str) for each in flat):
        raise RefusedError(400, f"data must be {count} texts of base64")
    for each in flat:
        try:
            yield base64.b64decode(each, validate=True)
        except (binascii.Error, ValueError):
            raise RefusedError(400, "data must be texts of base64") from None


def _of_binary(rest: bytes, count: int) -> Iterator[bytes]:
    at = 0
    for _ in range(count):
        if len(rest) - at < _LENGTH.size:
            raise RefusedError(400, f"the binary data must be {count} images, each after its length")
        (length,) = _LENGTH.unpack_from(rest, at)
        at += _LENGTH.size
        if len(rest) - at < length:
            raise RefusedError(400, f"the binary data must be {count} images, each after its length")
        yield rest[at : at + length]
        at += length
    if at != len(rest):
        raise RefusedError(400, f"the binary data must be {count} images, each after its length")


def _asked(request: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, bool]:
    all_binary = _flag(_parameters(request), "binary_data_output", False)
    outputs = request.get("outputs")
    if outputs is None or outputs == []:
        return dict.fromkeys(known, all_binary)
    if not isinstance(outputs, list):
        raise RefusedError(400, "outputs must be a list")
    asked = {}
    for each in outputs:
        name = _object(each, "an output").get("name")
        if not isinstance(name, str) or name not in known:
            raise RefusedError(400, f"outputs must be among {', '.join(known)}")
        asked[name] = _flag(_parameters(each), "binary_data", all_binary)
    return asked


def _object(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise RefusedError(400, f"{what} must be an object")
    return value


def _parameters(said: Mapping[str, Any]) -> Mapping[str, Any]:
    found = said.get("parameters")
    return {} if found is None else _object(found, "parameters")


def _flag(parameters: Mapping[str, Any], name: str, otherwise: bool) -> bool:
    value = parameters.get(name, otherwise)
    if not isinstance(value, bool):
        raise RefusedError(400, f"{name} must be true or false")
    return value


def _tensors(scores: Sequence[Score], labels: Sequence[str]) -> dict[str, Tensor]:
    count = len(scores)
    found = [
        Tensor("probabilities", "FP64", (count, len(labels)), [[score.probs[label] for label in labels] for score in scores]),
        Tensor("label", "BYTES", (count,), [score.label or "" for score in scores]),
        Tensor("mean", "FP64", (count,), [score.mean for score in scores]),
        Tensor("std", "FP64", (count,), [score.std for score in scores]),
    ]
    return {tensor.name: tensor for tensor in found}
