"""Middleware around the whole application: checks Host and token, counts, and turns exceptions into one line."""

from __future__ import annotations

import time
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dcnn_fast.serve.cull import PREFIX
from dcnn_fast.serve.errors import RefusedError
from dcnn_fast.serve.hosts import allows
from dcnn_fast.serve.service import LOG, Service, failure, one_line

OPEN = ("/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready")  # open to everybody, even with a token set
SCORED = ("/v1/score", "/v1/score/batch")  # refused before routing where the queue is full


class Guard:
    """An ASGI middleware."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, answered = time.monotonic(), _Answered(send)
        try:
            if not allows(self._service.settings.hosts, Headers(scope=scope).get("host")):
                await failure(421, "this server is not called so: --allow-host names more")(scope, receive, answered)
            elif not self._lets_in(scope):
                await failure(401, "a token is needed", {"WWW-Authenticate": "Bearer"})(scope, receive, answered)
            elif (full := self._refusal(scope)) is not None:
                await failure(full.status, full.message, full.headers)(scope, receive, answered)
            else:
                await self._app(scope, receive, answered)
        except Exception as error:
            LOG.error("%s %s failed: %s", scope["method"], _path(scope), one_line(error))
            if answered.status is None:
                await failure(500, "the server failed")(scope, receive, answered)
        finally:
            path = _path(scope)
            self._service.metrics.requests.labels(path, str(answered.status or 0)).inc()
            self._service.metrics.seconds.labels(path).observe(time.monotonic() - started)

    def _lets_in(self, scope: Scope) -> bool:
        """Whether the token is present or not needed: the culling page has a separate one in its address."""
        path = _own_path(scope)
        is_open = path in OPEN or path.startswith(PREFIX)
        return is_open or self._service.allows(Headers(scope=scope).get("authorization"))

    def _refusal(self, scope: Scope) -> RefusedError | None:
        """The cheap refusal for a full queue: under heavy overload most requests end here."""
        return self._service.gate.refusal() if scope["method"] == "POST" and _own_path(scope) in SCORED else None


class _Answered:
    """Forwards messages and records the status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


def _own_path(scope: Scope) -> str:
    """The path within this application, without the prefix where it is mounted."""
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return path


def _path(scope: Scope) -> str:
    """The route's pattern; clients' paths are not used as labels, as their number is unlimited."""
    route: Any = scope.get("route")
    if route is None and _own_path(scope) in SCORED:
        return _own_path(scope)
    return str(getattr(route, "path", "other"))
