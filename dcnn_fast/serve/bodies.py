"""Reads requests' bodies into memory up to their size limit, and counts them while they arrive."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from dcnn_fast.serve.errors import ClientGoneError, RefusedError
from dcnn_fast.serve.gate import Room

_FAR_TOO_LARGE = 8  # times the limit: above, the connection is closed instead of reading the rest


@dataclass(frozen=True)
class Part:
    """One file of a form. name: the client's."""

    name: str | None
    content: bytes


def admitted(request: Request, room: Room, most: int) -> int | None:
    """Reserve room for a body of declared length before reading it. Returns the length, None where undeclared.

    Raises RefusedError: 413 for a length above `most`, 429 where there is no room, 400 for an invalid length.
    """
    said = request.headers.get("content-length")
    if said is None:
        return None
    if not said.isascii() or not said.isdigit():
        raise RefusedError(400, "Content-Length must be a number")
    length = int(said)
    if length > most:
        raise _too_large(most, length > _FAR_TOO_LARGE * most)
    room.take(size=length)
    return length


async def pieces(request: Request, room: Room, most: int) -> AsyncGenerator[bytes, None]:
    """Yield the body as it arrives. Raises RefusedError as `admitted` does; for an undeclared length, while it arrives."""
    length, read = admitted(request, room, most), 0
    try:
        async for piece in request.stream():
            read += len(piece)
            if read > most:
                raise _too_large(most, True)
            if length is None:
                room.take(size=len(piece))
            yield piece
    except ClientDisconnect:
        raise ClientGoneError from None


async def whole(request: Request, room: Room, most: int) -> bytes:
    """The whole body."""
    content = bytearray()
    async for piece in pieces(request, room, most):
        content += piece
    return bytes(content)


class _InMemory(MultiPartParser):
    """Keeps parts in memory, where they are counted already, instead of on a disk."""

    spool_max_size = 2**62


async def parts(request: Request, room: Room, most: int, most_parts: int) -> list[Part]:
    """The files of a form of the type multipart/form-data, in order.

    Raises RefusedError, 400 for a body that is not such a form and 413 for more files than `most_parts`.
    """
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "multipart/form-data":
        raise RefusedError(415, "the body must be of the type multipart/form-data")
    parser = _InMemory(
        request.headers, pieces(request, room, most), max_files=most_parts, max_fields=most_parts, max_part_size=most
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError, UnicodeError) as error:
        said = error.message if isinstance(error, MultiPartException) else "it cannot be read"
        if said.startswith("Too many"):
            raise RefusedError(413, f"a form must have at most {most_parts} files") from None
        raise RefusedError(400, f"the body is no form of the type multipart/form-data: {said}") from None
    found = []
    try:
        for _, value in form.multi_items():
            if not isinstance(value, UploadFile):
                raise RefusedError(400, "every part of the form must be a file: it must have a filename")
            found.append(Part(value.filename or None, await value.read()))
    finally:
        await form.close()
    if not found:
        raise RefusedError(400, "the form must have a file at least")
    return found


def _too_large(most: int, close: bool) -> RefusedError:
    return RefusedError(413, f"a request must have at most {most} bytes", {"Connection": "close"} if close else {})
