"""`dcnn-fast serve`: scores over HTTP."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from dcnn_fast.cli import ranges
from dcnn_fast.cli.max_memory import MaxMemory
from dcnn_fast.cli.options import Panel, takes

CULL = (
    "First score the photographs of this folder and its subfolders, then serve the culling page of score --html, to this "
    "machine only, at a secret address, which is printed. Stars and rejections go into sidecars at once, as "
    "a person's ratings."
)


@dataclass(frozen=True, kw_only=True)
class Listening:
    """The address to listen on, and the requests allowed there."""

    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0: all addresses of this machine.")] = "127.0.0.1"
    port: Annotated[int, typer.Option(help="The port to listen on; 0: any free port, which is printed.")] = 8000
    allow_host: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="NAME",
            help="A further name allowed in the Host header of requests, e.g. one that a proxy passes on; with a loopback "
            "--host, all other names are refused with 421. May be given several times.",
        ),
    ] = ()
    token_file: Annotated[
        Path | None, typer.Option(metavar="PATH", help="A file whose first line every request must send as a bearer token.")
    ] = None
    root: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Let requests name files below this folder; default: no files.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """The model and the options of `Scorer`."""

    model: Annotated[Path | None, typer.Option(help="A model file; default: the shipped one.")] = None
    samples: Annotated[int, typer.Option(help="Samples averaged for each image: random windows, one for each column.")] = 50
    grid: Annotated[int, typer.Option(help="Windows lie at multiples of this: 1 (the paper), 2, 4 or 8.")] = 1
    seed: Annotated[int, typer.Option(callback=ranges.SEED, help="Seed of the windows; equal seeds give equal scores.")] = 0
    dtype: Annotated[str, typer.Option(help="Format of the products' operands: float32, or bfloat16, which is faster.")] = (
        "float32"
    )
    decode: Annotated[
        str, typer.Option(help="How to decode: exact, or scaled, which decodes large JPEG files at reduced size.")
    ] = "exact"
    long_side: Annotated[
        int | None, typer.Option(help="Reduce larger pictures to this long side, in pixels; default: the model's.")
    ] = None
    max_megapixels: Annotated[
        int | None, typer.Option(min=1, help="Refuse pictures of more megapixels, e.g. decompression bombs; default: 178.")
    ] = None
    faults: Annotated[bool, typer.Option("--faults", help="Report technical faults beside the score.")] = False


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """Limits of `serve.Settings` and of the process."""

    workers: Annotated[
        int | None, typer.Option(callback=ranges.THREADS, help="Pictures computed at a time; default: one per core.")
    ] = None
    queue_images: Annotated[int, typer.Option(help="Most pictures waiting or in work; further ones are refused.")] = 64
    queue_megabytes: Annotated[int, typer.Option(help="Most megabytes of requests waiting or in work.")] = 256
    body_megabytes: Annotated[int, typer.Option(help="Most megabytes of one request.")] = 64
    deadline: Annotated[float, typer.Option(help="Seconds that a request may take; its head may take at most 20.")] = 60.0
    max_memory: MaxMemory = None


@dataclass(frozen=True, kw_only=True)
class Culling:
    """The folder of a culling page, and the naming of its sidecars."""

    cull: Annotated[Path | None, typer.Option(metavar="FOLDER", help=CULL)] = None
    xmp_names: Annotated[
        str,
        typer.Option(
            metavar="digikam|adobe",
            help="Names of the new sidecars that --cull writes: digikam, photo.jpg.xmp, or adobe, photo.xmp.",
        ),
    ] = "digikam"


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """The command line of `dcnn-fast serve`."""

    listening: Annotated[Listening, Panel("Listening")] = field(default_factory=Listening)
    scoring: Annotated[Scoring, Panel("Scoring")] = field(default_factory=Scoring)
    allowed: Annotated[Allowed, Panel("Limits")] = field(default_factory=Allowed)
    culling: Annotated[Culling, Panel("Culling")] = field(default_factory=Culling)


@takes(ServeOptions)
def serve(options: ServeOptions) -> None:
    """Score pictures sent over HTTP, with the same numbers as `dcnn-fast score`.

    POST a picture's bytes to /v1/score; /openapi.json describes the rest. After SIGTERM or Ctrl-C, requests in work are
    completed. Needs the extra serve.

    Exit status: 2 for a wrong call or a port that is taken; otherwise 143 or 130, by the signal that ended it.
    """
    from dcnn_fast.cli import serve_run  # noqa: PLC0415 - keeps `dcnn-fast --help` fast

    serve_run.run(options)
