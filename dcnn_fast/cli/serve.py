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
    "Score the photographs of this folder and its subfolders first, and give out the culling page of score --html, for this "
    "machine alone, at an address with a secret in it, which is printed. Stars and rejections go into sidecars at once, as "
    "a person's."
)


@dataclass(frozen=True, kw_only=True)
class Listening:
    """The address that is listened on, and who may ask for what there."""

    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 is all of this machine's.")] = "127.0.0.1"
    port: Annotated[int, typer.Option(help="The port to listen on; 0: a free one, which is printed.")] = 8000
    allow_host: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="NAME",
            help="A further name that requests may have in their Host, as a proxy passes it on; others are refused with "
            "421 where --host is this machine alone. May be given several times.",
        ),
    ] = ()
    token_file: Annotated[
        Path | None, typer.Option(metavar="PATH", help="A file whose first line every request must bring as a bearer token.")
    ] = None
    root: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Let requests name files below this folder; default: none.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """The model, and options of `Scorer`."""

    model: Annotated[Path | None, typer.Option(help="A model file; default: the shipped one.")] = None
    samples: Annotated[int, typer.Option(help="Samples that are averaged: random windows, one of each column.")] = 50
    grid: Annotated[int, typer.Option(help="Windows lie at multiples of this: 1 (the paper), 2, 4 or 8.")] = 1
    seed: Annotated[
        int, typer.Option(callback=ranges.SEED, help="Seed of the windows; the same one gives the same scores.")
    ] = 0
    dtype: Annotated[str, typer.Option(help="Format that products are rounded to: float32 or bfloat16.")] = "float32"
    decode: Annotated[str, typer.Option(help="How to decode: exact, or scaled, large JPEG files at a part of their size.")] = (
        "exact"
    )
    long_side: Annotated[
        int | None, typer.Option(help="Pixels that the long side of larger pictures is reduced to; default: the model's.")
    ] = None
    max_megapixels: Annotated[
        int | None, typer.Option(min=1, help="Refuse pictures of more megapixels, such as decompression bombs; default 178.")
    ] = None
    faults: Annotated[bool, typer.Option("--faults", help="Name technical faults beside the score.")] = False


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """Limits of `serve.Settings` and of the process."""

    workers: Annotated[
        int | None, typer.Option(callback=ranges.THREADS, help="Pictures that are computed at a time; default: a core each.")
    ] = None
    queue_images: Annotated[int, typer.Option(help="Pictures that wait or are computed at most; more are refused.")] = 64
    queue_megabytes: Annotated[int, typer.Option(help="Megabytes of requests that wait or are computed at most.")] = 256
    body_megabytes: Annotated[int, typer.Option(help="Megabytes of one request at most.")] = 64
    deadline: Annotated[float, typer.Option(help="Seconds that a request may take; its head at most 20.")] = 60.0
    max_memory: MaxMemory = None


@dataclass(frozen=True, kw_only=True)
class Culling:
    """The folder of a culling page, and the naming of its sidecars."""

    cull: Annotated[Path | None, typer.Option(metavar="FOLDER", help=CULL)] = None
    xmp_names: Annotated[
        str, typer.Option(metavar="digikam|adobe", help="Names of new sidecars of --cull: photo.jpg.xmp or photo.xmp.")
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
    """Score pictures that come over HTTP, with the numbers of `dcnn-fast score`.

    POST a picture's bytes to /v1/score; /openapi.json says the rest. SIGTERM and Ctrl-C let requests in work end. Needs the
    extra serve.

    Exit status: 2 for a wrong call or a port that is taken, otherwise 143 or 130, by the signal that ended it.
    """
    from dcnn_fast.cli import serve_run  # noqa: PLC0415 - keeps `dcnn-fast --help` fast

    serve_run.run(options)
