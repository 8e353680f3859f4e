"""`/v1`: a picture's bytes in, the JSON of a score out."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from importlib import metadata
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from dcnn_fast import strict_json
from dcnn_fast.scoring import Score
from dcnn_fast.serve.bodies import parts, whole
from dcnn_fast.serve.errors import RefusedError
from dcnn_fast.serve.files import opened_below
from dcnn_fast.serve.gate import Room
from dcnn_fast.serve.schemas import schema
from dcnn_fast.serve.service import Service, as_json

_MOST_JSON = 2**16  # bytes of a request naming a file
_PLENTY = ((408, "the request did not come in time"), (413, "the request is too large"))
_BUSY = ((401, "a token is needed"), (429, "the server is busy; Retry-After says for how long"), (504, "no score in time"))
_UNREADABLE = "the picture cannot be read: its score has the reason as its error"


def documented(name: str, *errors: tuple[int, str], ok: str = "the score") -> dict[int | str, dict[str, Any]]:
    """The answers of a route, for the OpenAPI document."""
    said: dict[int | str, dict[str, Any]] = {200: _of_schema(ok, name)}
    return said | {status: _of_schema(about, "serve-error.v1") for status, about in (*errors, (500, "the server failed"))}


def _of_schema(about: str, name: str) -> dict[str, Any]:
    return {"description": about, "content": {"application/json": {"schema": schema(name)}}}


def _body(content: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": content}}


_BYTES = {"schema": {"type": "string", "format": "binary"}}
_FORM = {
    "schema": {
        "type": "object", "required": ["files"],
        "properties": {"files": {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}}},
    }
}  # fmt: skip
_NAMED = {
    "schema": {
        "type": "object", "required": ["path"], "additionalProperties": False,
        "properties": {"path": {"type": "string", "minLength": 1, "description": "of a file below the server's --root"}},
    }
}  # fmt: skip


def router(service: Service) -> APIRouter:
    """The routes of `/v1`."""
    ways, settings = APIRouter(prefix="/v1"), service.settings

    async def one(request: Request, room: Room) -> Response:
        room.take(images=1)
        content = await whole(request, room, settings.body_bytes)
        (score,) = await service.scores(request, room, [content])
        return _scored(score)

    async def several(request: Request, room: Room) -> Response:
        room.take(images=1)
        files = await parts(request, room, settings.body_bytes, settings.images)
        room.take(images=len(files) - 1)
        scores = await service.scores(request, room, [part.content for part in files])
        return as_json({"scores": [replace(s, path=part.name).as_dict() for s, part in zip(scores, files, strict=True)]})

    async def named(request: Request, room: Room) -> Response:
        room.take(images=1)
        path = _path_in(await whole(request, room, min(_MOST_JSON, settings.body_bytes)))
        file, size = opened_below(settings.root, path, settings.body_bytes)
        with file:
            room.take(size=size)
            content = await asyncio.to_thread(file.read, size)
        (score,) = await service.scores(request, room, [content])
        return _scored(replace(score, path=path))

    @ways.post(
        "/score", summary="Score a picture", openapi_extra=_body({"application/octet-stream": _BYTES}),
        responses=documented("score.v1", *_PLENTY, *_BUSY) | {422: _of_schema(_UNREADABLE, "score.v1")},
    )  # fmt: skip
    async def score(request: Request) -> Response:
        """The body is the picture's file, of any format that the command reads; the answer is a line of its --jsonl."""
        return await service.answer(request, one)

    @ways.post(
        "/score/batch", summary="Score several pictures", openapi_extra=_body({"multipart/form-data": _FORM}),
        responses=documented(
            "serve-batch.v1", (400, "the body is no such form"), (415, "the body is of another type"), *_PLENTY, *_BUSY,
            ok="the scores, in order; one that cannot be read has its error in its place",
        ),
    )  # fmt: skip
    async def batch(request: Request) -> Response:
        """The body is a form of files."""
        return await service.answer(request, several)

    @ways.post(
        "/score/file", summary="Score a file of the server's machine", openapi_extra=_body({"application/json": _NAMED}),
        responses=documented(
            "score.v1", (400, "the body names no file"), (403, "the server was started without --root"),
            (404, "there is no such file below its root"), *_PLENTY, *_BUSY,
        ) | {422: _of_schema(_UNREADABLE, "score.v1")},
    )  # fmt: skip
    async def file(request: Request) -> Response:
        """The body names a file below the folder that the server was started with."""
        return await service.answer(request, named)

    @ways.get("/model", summary="Describe the model", responses=documented("serve-model.v1", _BUSY[0], ok="the model"))
    async def model() -> Response:
        """The model that scores, and the settings."""
        return as_json(described(service))

    return ways


def described(service: Service) -> dict[str, Any]:
    """The model and the server's settings; schema "serve-model.v1.json"."""
    scorer, settings = service.scorer, service.settings
    return {
        "dcnn_fast_serve": 1, "version": metadata.version("dcnn-fast"),
        "model": {"name": scorer.model.spec.name, "digest": service.digest, "labels": list(scorer.model.spec.labels)},
        "views": scorer.samples, "seed": scorer.seed, "grid": scorer.grid, "device": scorer.device, "dtype": scorer.dtype,
        "decode": scorer.decode, "long_side": scorer.long_side, "caution": scorer.caution,
        "limits": {
            "images": settings.images, "bytes": settings.bytes, "body_bytes": settings.body_bytes,
            "deadline": settings.deadline, "max_pixels": scorer.max_pixels,
        },
    }  # fmt: skip


def _scored(score: Score) -> Response:
    return as_json(score.as_dict(), 200 if score.error is None else 422)


def _path_in(body: bytes) -> str:
    try:
        said = strict_json.loads(body)
    except ValueError:
        raise RefusedError(400, "the body must be JSON") from None
    if not isinstance(said, dict) or said.keys() != {"path"} or not isinstance(said["path"], str) or not said["path"]:
        raise RefusedError(400, "the body must be an object of a path")
    path: str = said["path"]
    return path
