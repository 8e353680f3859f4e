"""`/v2`: the Open Inference Protocol, version 2, with one input of BYTES: files of pictures."""

from __future__ import annotations

from importlib import metadata
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from dcnn_fast.serve.bodies import whole
from dcnn_fast.serve.errors import RefusedError
from dcnn_fast.serve.gate import Room
from dcnn_fast.serve.service import Service, as_json, failure
from dcnn_fast.serve.tensors import HEADER, INPUT, answered, outputs_of, parsed
from dcnn_fast.serve.v1 import documented

MODEL, VERSION = "dcnn_fast", "1"
_NOT_READY: dict[int | str, dict[str, Any]] = {503: {"description": "no score has been made yet"}}
_NO_MODEL = (404, "there is no such model")


def router(service: Service) -> APIRouter:
    """The routes of `/v2`."""
    ways = APIRouter(prefix="/v2")
    labels = service.scorer.model.spec.labels
    known = outputs_of(labels)

    async def infer(request: Request, room: Room) -> Response:
        room.take(images=1)
        body = await whole(request, room, service.settings.body_bytes)
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise RefusedError(415, "the body must not be compressed")
        asked = parsed(body, request.headers.get(HEADER), known, service.settings.images)
        del body
        room.take(images=len(asked.images) - 1)
        scores = await service.scores(request, room, asked.images)
        for number, score in enumerate(scores):
            if score.error is not None:
                raise RefusedError(400, f"image {number}: {score.error}")
        content, head = answered(asked, MODEL, VERSION, scores, labels)
        binary = head < len(content)
        kind = "application/octet-stream" if binary else "application/json"
        return Response(content, media_type=kind, headers={HEADER: str(head)} if binary else None)

    @ways.get("", summary="Describe the server")
    async def server() -> Response:
        """Name, version and extensions."""
        version = metadata.version("dcnn-fast")
        return as_json({"name": MODEL, "version": version, "extensions": ["binary_tensor_data"]})

    @ways.get("/health/live", summary="Whether the server runs")
    async def live() -> Response:
        """Always, where there is an answer."""
        return as_json({"live": True})

    @ways.get("/health/ready", summary="Whether it scores", responses=_NOT_READY)
    async def ready() -> Response:
        """Whether a first score has been made."""
        return as_json({"ready": service.ready}, 200 if service.ready else 503)

    async def described(model: str, version: str = VERSION) -> Response:
        """Its input and outputs."""
        return as_json(_described(known)) if (model, version) == (MODEL, VERSION) else _unknown()

    async def model_ready(model: str, version: str = VERSION) -> Response:
        """Whether a first score has been made."""
        if (model, version) != (MODEL, VERSION):
            return _unknown()
        return as_json({"name": MODEL, "ready": service.ready}, 200 if service.ready else 503)

    async def inferred(request: Request, model: str, version: str = VERSION) -> Response:
        """Pictures' files in, as base64 or in binary; an answer only where all of them can be read."""
        return await service.answer(request, infer) if (model, version) == (MODEL, VERSION) else _unknown()

    errors = (
        (400, "the request is none, or a picture cannot be read"), (401, "a token is needed"), _NO_MODEL,
        (408, "the request did not come in time"), (413, "the request is too large"), (415, "the body is compressed"),
        (429, "the server is busy; Retry-After says for how long"), (504, "no score in time"),
    )  # fmt: skip
    about = documented("serve-infer.v1", *errors, ok="the outputs")
    about[200]["content"]["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
    for path in ("/models/{model}", "/models/{model}/versions/{version}"):
        ways.add_api_route(path, described, methods=["GET"], responses=documented("serve-infer-model.v1", _NO_MODEL))
        ways.add_api_route(f"{path}/ready", model_ready, methods=["GET"], responses={**_NOT_READY, **_only(_NO_MODEL)})
        ways.add_api_route(f"{path}/infer", inferred, methods=["POST"], responses=about, openapi_extra=_request())
    return ways


def _only(error: tuple[int, str]) -> dict[int | str, dict[str, Any]]:
    return {error[0]: documented("serve-error.v1", error)[error[0]]}


def _request() -> dict[str, Any]:
    tensor = {
        "type": "object", "required": ["name", "shape", "datatype", "data"],
        "properties": {
            "name": {"const": INPUT}, "datatype": {"const": "BYTES"},
            "shape": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "integer", "minimum": 1}},
            "data": {"type": "array", "items": {"type": "string", "contentEncoding": "base64"}},
        },
    }  # fmt: skip
    request = {
        "type": "object", "required": ["inputs"],
        "properties": {
            "id": {"type": "string"}, "inputs": {"type": "array", "minItems": 1, "maxItems": 1, "items": tensor},
            "outputs": {"type": "array", "items": {"type": "object", "required": ["name"], "properties": {"name": {}}}},
        },
    }  # fmt: skip
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": request}}}}


def _described(known: dict[str, tuple[str, list[int]]]) -> dict[str, Any]:
    outputs = [{"name": name, "datatype": kind, "shape": shape} for name, (kind, shape) in known.items()]
    return {
        "name": MODEL, "versions": [VERSION], "platform": "dcnn_fast",
        "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}], "outputs": outputs,
    }  # fmt: skip


def _unknown() -> Response:
    return failure(404, f"there is no such model: {MODEL}, version {VERSION}, is the one")
