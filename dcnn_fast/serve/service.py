"""The part common to all routes: room, workers, the deadline, and disconnecting clients."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import torch
from starlette.requests import Request
from starlette.responses import Response

from dcnn_fast.scoring import Score, Scorer
from dcnn_fast.serve.errors import ClientGoneError, RefusedError
from dcnn_fast.serve.gate import Gate, Room
from dcnn_fast.serve.metrics import Metrics
from dcnn_fast.serve.settings import Settings
from dcnn_fast.serve.workers import Workers

LOG = logging.getLogger("dcnn_fast.serve")
_WARM = np.full((64, 96, 3), 128, np.uint8)
_GONE = 499  # nginx's status for a client that disconnected; nobody receives it

Work = Callable[[Request, Room], Awaitable[Response]]


class Service:
    """A scorer behind HTTP. digest: its model's. ready: whether a first score has been made."""

    def __init__(self, scorer: Scorer, settings: Settings) -> None:
        self.scorer, self.settings = scorer, settings
        self.digest = scorer.model.digest  # computed once, as it covers all weights
        self.gate = Gate(settings)
        self._workers = Workers(scorer, settings.workers or min(256, torch.get_num_threads()))
        self.metrics = Metrics(self.gate, self._workers)
        self._warming: asyncio.Task[None] | None = None
        self.ready = False

    def start(self) -> None:
        """Start the workers and a first score. Called on the event loop."""
        self._workers.start()
        self._warming = asyncio.get_running_loop().create_task(self._warm_up())

    def stop(self) -> None:
        """End the workers."""
        self.ready = False
        self._workers.stop()

    def allows(self, authorization: str | None) -> bool:
        """Whether this header admits a request, by constant-time comparison."""
        token = self.settings.token
        return token is None or hmac.compare_digest((authorization or "").encode(), f"Bearer {token}".encode())

    async def answer(self, request: Request, work: Work) -> Response:
        """Run `work` with its own room and the deadline; every failure becomes one line of JSON."""
        arrived = asyncio.Event()
        request.state.arrived = arrived
        room = self.gate.room()
        try:
            with room:
                return await asyncio.wait_for(work(request, room), self.settings.deadline)
        except RefusedError as refused:
            return failure(refused.status, refused.message, refused.headers)
        except ClientGoneError:
            self.metrics.images.labels("given up").inc(room.images)
            return failure(_GONE, "the client is gone")
        except (TimeoutError, asyncio.TimeoutError):
            self.metrics.images.labels("given up").inc(room.images)
            return self._too_late(arrived.is_set())

    async def scores(self, request: Request, room: Room, images: Sequence[Any]) -> list[Score]:
        """The scores of images whose request has been read; an unreadable image's score holds the error.

        Raises ClientGoneError where the client disconnects before; then, and at the deadline, the rest is not computed.
        """
        request.state.arrived.set()
        jobs = [self._workers.submit(image) for image in images]
        together = asyncio.gather(*(job.answer for job in jobs))
        together.add_done_callback(lambda done: done.cancelled() or done.exception())  # retrieved even if the client has left
        left = asyncio.ensure_future(_departure(request))
        try:
            await asyncio.wait((together, left), return_when=asyncio.FIRST_COMPLETED)
            if not together.done():
                raise ClientGoneError
            scores: list[Score] = together.result()
        finally:
            left.cancel()
            together.cancel()
            for job in jobs:
                if not job.answer.done() or job.answer.cancelled():
                    job.give_up()
        room.done = len(scores)
        for score in scores:
            self.metrics.images.labels("scored" if score.error is None else "unreadable").inc()
        return scores

    def _too_late(self, arrived: bool) -> Response:
        seconds = f"{self.settings.deadline:g} seconds"
        if arrived:
            return failure(504, f"there was no score within {seconds}")
        return failure(408, f"the request had not come within {seconds}", {"Connection": "close"})

    async def _warm_up(self) -> None:
        try:
            await self._workers.submit(_WARM).answer
            self.ready = True
        except asyncio.CancelledError:
            raise
        except Exception as error:
            LOG.error("the first score failed: %s", one_line(error))


async def _departure(request: Request) -> None:
    """Return once the client has disconnected."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def failure(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """An answer with an error message; schema "serve-error.v1.json"."""
    return as_json({"error": message}, status, headers)


def as_json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON without NaN or infinities."""
    content = (json.dumps(value, allow_nan=False) + "\n").encode()
    return Response(content, status, headers, media_type="application/json")


def one_line(error: BaseException) -> str:
    """An exception's message on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
