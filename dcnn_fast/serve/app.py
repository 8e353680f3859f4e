"""The application: `create_app` makes it for programs with a server; `dcnn-fast serve` runs it in uvicorn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import metadata
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from dcnn_fast.scoring import Scorer
from dcnn_fast.serve import cull, metrics, v1, v2
from dcnn_fast.serve.cull import Culling
from dcnn_fast.serve.guard import Guard
from dcnn_fast.serve.service import Service, as_json, failure
from dcnn_fast.serve.settings import Settings

_ABOUT = "Rates photographs. Pictures come as bytes; no address is ever fetched."
_DEFAULTS = Settings()


def create_app(
    scorer: Scorer | None = None, settings: Settings = _DEFAULTS, culling: Culling | None = None
) -> FastAPI:  # fmt: skip
    """Make an application that scores photographs.

    The application's threads live as long as its lifespan; each serving process needs a separate application.

    Args:
        scorer: Computes the scores with its options; None: one with the shipped model. Its `model` must not be changed
            meanwhile.
        settings: The limits.
        culling: A page protected by its token; None: no such page.

    Returns:
        The application, for an ASGI server.

    Example:
        >>> app = create_app(Scorer(samples=50), Settings(token="a long secret"))

    Source:
        docs/serve.md
    """
    service = Service(scorer or Scorer(), settings)

    @asynccontextmanager
    async def running(_app: FastAPI) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            service.stop()

    app = FastAPI(
        title="dcnn_fast", version=metadata.version("dcnn-fast"), description=_ABOUT, lifespan=running, docs_url=None,
        redoc_url=None,
    )  # fmt: skip
    app.state.service = service
    app.add_middleware(Guard, service=service)
    app.include_router(v1.router(service))
    app.include_router(v2.router(service))
    if culling is not None:
        app.include_router(cull.router(culling))
    _add_health(app, service)
    _add_failures(app)
    return app


def _add_health(app: FastAPI, service: Service) -> None:
    not_ready: dict[int | str, dict[str, Any]] = {503: {"description": "no score has been made yet"}}

    @app.get("/health/live", summary="Whether the server runs")
    async def live() -> Response:
        """Always, where there is an answer."""
        return as_json({"live": True})

    @app.get("/health/ready", summary="Whether it scores", responses=not_ready)
    async def ready() -> Response:
        """Whether a first score has been made."""
        return as_json({"ready": service.ready}, 200 if service.ready else 503)

    @app.get("/metrics", summary="Counts, in Prometheus' format", responses={200: {"content": {metrics.TYPE: {}}}})
    async def counted() -> Response:
        """Requests, images, seconds, and the queue."""
        return Response(service.metrics.page(), media_type=metrics.TYPE)


def _add_failures(app: FastAPI) -> None:
    @app.exception_handler(HTTPException)
    async def refused(_request: Request, error: HTTPException) -> Response:
        return failure(error.status_code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, _error: RequestValidationError) -> Response:
        return failure(400, "the request is not as /openapi.json says")
