"""The work of `dcnn-fast serve`."""

from __future__ import annotations

import logging
import math
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from dcnn_fast.cli.console import fail, note
from dcnn_fast.cli.cull import culling_of, require_cull
from dcnn_fast.cli.input_files import require_file
from dcnn_fast.cli.loopback import is_loopback
from dcnn_fast.cli.max_memory import limit_memory
from dcnn_fast.cli.serve import Listening, Scoring, ServeOptions
from dcnn_fast.cli.targets import reason
from dcnn_fast.data.reading import MAX_PIXELS
from dcnn_fast.printable import printable
from dcnn_fast.scoring import Scorer

if TYPE_CHECKING:
    from fastapi import FastAPI

    from dcnn_fast.serve import Settings
    from dcnn_fast.serve.cull import Culling

_NEEDED = ("fastapi", "uvicorn", "prometheus_client", "python_multipart", "httptools")
_MEGABYTE = 1_000_000
_HEAD = 20.0  # most seconds for a request's head
_KEEP_ALIVE = 75  # seconds that an idle connection stays open


def run(options: ServeOptions) -> None:
    """Serve until a signal ends it."""
    lacking = [name for name in _NEEDED if find_spec(name) is None]
    if lacking:
        fail(f"serve needs {', '.join(lacking)}: pip install 'dcnn-fast[serve]'")
    from dcnn_fast.serve import Settings, create_app  # noqa: PLC0415 - the extra

    listening, allowed, cull, names = options.listening, options.allowed, options.culling.cull, options.culling.xmp_names
    try:
        if cull is not None:
            require_cull(cull, listening.host, names)
        settings = Settings(
            allowed.queue_images, allowed.queue_megabytes * _MEGABYTE, allowed.body_megabytes * _MEGABYTE, allowed.deadline,
            allowed.workers, None if listening.token_file is None else _token(listening.token_file), listening.root,
            _hosts(listening),
        )  # fmt: skip
        scorer = _scorer(options.scoring)
        limit_memory(allowed.max_memory, allowed.workers, what="this model, its workers and the queue", beside=settings.bytes)
        listener = _listener(listening)
        culling = None if cull is None else culling_of(cull, scorer, names, settings.workers)
    except (ValueError, OSError) as error:
        fail(str(error))
    with listener:
        _say(listener, listening.host, scorer, settings, culling)
        _serve(create_app(scorer, settings, culling), listener, settings.deadline)


def _scorer(scoring: Scoring) -> Scorer:
    if scoring.model is not None:
        require_file(scoring.model)
    return Scorer(
        scoring.model, samples=scoring.samples, grid=scoring.grid, seed=scoring.seed, dtype=scoring.dtype,
        decode=scoring.decode, long_side=scoring.long_side, faults=scoring.faults,
        max_pixels=MAX_PIXELS if scoring.max_megapixels is None else scoring.max_megapixels * _MEGABYTE,
    )  # fmt: skip


def _token(path: Path) -> str:
    require_file(path)
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline(10_000).rstrip("\r\n")


def _listener(listening: Listening) -> socket.socket:
    """A listening socket. Raises ValueError."""
    if not 0 <= listening.port <= 65535:
        raise ValueError(f"--port must be from 0 to 65535, got {listening.port}")
    listener = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            listening.host, listening.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise ValueError(f"cannot listen on {listening.host} port {listening.port}: {reason(error)}") from None
    return listener


def _hosts(listening: Listening) -> tuple[str, ...] | None:
    """The names allowed in the Host header of requests; None allows any, for a server that other machines may reach."""
    from dcnn_fast.serve.hosts import require_bare  # noqa: PLC0415 - the extra

    require_bare(listening.allow_host)
    if is_loopback(listening.host) or listening.allow_host:
        return ("localhost", listening.host, *listening.allow_host)
    return None


def _say(listener: socket.socket, host: str, scorer: Scorer, settings: Settings, culling: Culling | None) -> None:
    address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
    note(f"serving on {address}")
    if culling is not None:
        note(f"the page: {address}{culling.address}")
    if scorer.caution:
        note(scorer.caution)
    if settings.token is None and not is_loopback(listener.getsockname()[0]):
        note("anybody who reaches this address may have pictures scored: --token-file asks for a token")


def _serve(app: FastAPI, listener: socket.socket, deadline: float) -> None:
    import uvicorn  # noqa: PLC0415 - the extra

    from dcnn_fast.serve.connections import Limits, protocol_of  # noqa: PLC0415

    limits = Limits.of_process(min(deadline, _HEAD))
    logging.basicConfig(format="%(message)s", level=logging.WARNING, handlers=[_OneLine()])
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, http=protocol_of(limits), ws="none", proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE, timeout_graceful_shutdown=math.ceil(deadline) + 1, lifespan="on",
        backlog=limits.backlog,
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[listener])


class _OneLine(logging.Handler):
    """Prints log records on standard error, a line each and never a traceback."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        said = record.getMessage() + (f": {type(error).__name__}: {error}" if error else "")
        note(printable(" ".join(said.split())))
