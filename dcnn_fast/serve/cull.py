"""A culling page on the server, whose choices are saved at once.

All its paths lie below `/cull/TOKEN/`; without the token they do not exist.
"""

from __future__ import annotations

import asyncio
import errno
import hmac
import mimetypes
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from dcnn_fast import strict_json
from dcnn_fast.data.tables import is_file
from dcnn_fast.printable import printable
from dcnn_fast.serve.errors import RefusedError
from dcnn_fast.serve.files import opened
from dcnn_fast.serve.service import as_json, failure
from dcnn_fast.xmp import XmpError

PREFIX = "/cull/"
_MOST_CHOICE = 1000  # bytes
_MOST_PHOTOGRAPH = 2**33
_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}
_RATINGS = range(-1, 6)


@dataclass(frozen=True)
class Culling:
    """A culling page and the photographs on it.

    Args:
        page: The live page of `viz.culling`.
        folder: The base of its links.
        photographs: Those on it, best first.
        load: Reads a photograph's rating, 1 to 5 stars, 0 for none, -1 for rejected; may raise XmpError and OSError.
        save: Writes a photograph's rating, the same numbers; may raise XmpError and OSError.
        token: A secret, part of the page's address.
    """

    page: bytes
    folder: Path
    photographs: Sequence[Path]
    load: Callable[[Path], int]
    save: Callable[[Path, int], object]
    token: str

    @property
    def address(self) -> str:
        """The page's address on its server."""
        return f"{PREFIX}{self.token}/"


def router(culling: Culling) -> APIRouter:
    """The page's routes."""
    ways = APIRouter(prefix=PREFIX + "{token}", include_in_schema=False)
    turn = asyncio.Lock()  # one rating is written at a time
    shown = {os.path.relpath(os.fsencode(path), os.fsencode(culling.folder)) for path in culling.photographs}

    def knows(token: str) -> bool:
        return hmac.compare_digest(token.encode(), culling.token.encode())

    @ways.get("/")
    async def page(token: str) -> Response:
        return Response(culling.page, media_type="text/html; charset=utf-8", headers=_HEADERS) if knows(token) else _nothing()

    @ways.get("/choices")
    async def choices(token: str) -> Response:
        if not knows(token):
            return _nothing()
        async with turn:
            return as_json(await asyncio.to_thread(_ratings, culling), headers=_HEADERS)

    @ways.post("/choice")
    async def choice(request: Request, token: str) -> Response:
        if not knows(token):
            return _nothing()
        try:
            number, rating = _choice(await _small(request), len(culling.photographs))
            async with turn:
                await asyncio.to_thread(_saved, culling, culling.photographs[number - 1], rating)
        except RefusedError as refused:
            return failure(refused.status, refused.message, refused.headers)
        return as_json({"photo": number, "rating": rating}, headers=_HEADERS)

    @ways.get("/{name:path}")
    async def photograph(request: Request, token: str) -> Response:
        if not knows(token):
            return _nothing()
        below = request.scope["raw_path"].removeprefix(request.scope.get("root_path", "").encode())
        name = unquote_to_bytes(below.split(b"/", 3)[3])
        try:
            if name not in shown:
                raise RefusedError(404, "there is no such photograph on the page")
            file, size = opened(os.path.join(culling.folder, os.fsdecode(name)), _MOST_PHOTOGRAPH)
        except RefusedError as refused:
            return failure(refused.status, refused.message)
        with file:
            content = await asyncio.to_thread(file.read, size)
        kind = mimetypes.guess_type(os.fsdecode(name))[0] or "application/octet-stream"
        return Response(content, media_type=kind, headers=_HEADERS)

    return ways


def _nothing() -> Response:
    return failure(404, "Not Found")


async def _small(request: Request) -> bytes:
    content = b""
    try:
        async for piece in request.stream():
            content += piece
            if len(content) > _MOST_CHOICE:
                raise RefusedError(413, f"a choice must have at most {_MOST_CHOICE} bytes")
    except ClientDisconnect:
        raise RefusedError(400, "the request was cut short") from None
    return content


def _choice(body: bytes, photographs: int) -> tuple[int, int]:
    """The photograph's number on the page, from 1, and its rating."""
    try:
        said = strict_json.loads(body)
    except ValueError:
        raise RefusedError(400, "a choice must be JSON") from None
    if not isinstance(said, dict) or said.keys() != {"photo", "rating"}:
        raise RefusedError(400, "a choice must be an object of photo and rating")
    photo, rating = said["photo"], said["rating"]
    if type(photo) is not int or not 1 <= photo <= photographs:
        raise RefusedError(400, f"photo must be from 1 to {photographs}")
    if type(rating) is not int or rating not in _RATINGS:
        raise RefusedError(400, "rating must be -1 or 0 to 5")
    return photo, rating


def _ratings(culling: Culling) -> dict[str, dict[str, Any]]:
    """Ratings, or the reasons why they cannot be read, by the photograph's number on the page."""
    found: dict[str, int] = {}
    unreadable: dict[str, str] = {}
    for number, path in enumerate(culling.photographs, 1):
        try:
            rating = culling.load(path)
        except (XmpError, OSError) as error:
            unreadable[str(number)] = printable(str(error))
            continue
        if rating:
            found[str(number)] = rating
    return {"ratings": found, "unreadable": unreadable}


def _saved(culling: Culling, photograph: Path, rating: int) -> None:
    """Write the rating atomically beside a photograph that still exists. Raises RefusedError."""
    if not is_file(photograph):
        raise RefusedError(410, f"{photograph}: the photograph is not there any more")
    try:
        culling.save(photograph, rating)
    except XmpError as error:
        raise RefusedError(409, str(error)) from None
    except OSError as error:
        status = 507 if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else 500
        raise RefusedError(status, printable(f"{error.filename or photograph}: {error.strerror or error}")) from None
