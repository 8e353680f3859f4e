"""`dcnn-fast score`: the options; `score_run` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def score(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH...", help="Files and folders; - or nothing: one path a line from standard input."),
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Subfolders too.")] = False,
    csv: Annotated[Path | None, typer.Option(dir_okay=False, help="Write a CSV row for each image.")] = None,
    jsonl: Annotated[Path | None, typer.Option(dir_okay=False, help="Write a JSON line for each image.")] = None,
    html: Annotated[Path | None, typer.Option(dir_okay=False, help="Write a contact sheet, best first.")] = None,
    model: Annotated[Path | None, typer.Option(help="A model file; default: the shipped one.")] = None,
    views: Annotated[int, typer.Option(help="Random views averaged for each image.")] = 50,
    grid: Annotated[int, typer.Option(help="1: any offset (the paper); 2, 4, 8: multiples of it.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the views; the same seed gives the same scores.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto, which is cpu.")] = "auto",
    dtype: Annotated[str, typer.Option(help="Of the products' operands: float32 or bfloat16 (faster).")] = "float32",
    top: Annotated[int | None, typer.Option(min=1, help="Show the K best; default 20, 500 on the sheet.")] = None,
    batch: Annotated[int, typer.Option(help="Images computed together; changes no score.")] = 4,
    workers: Annotated[int | None, typer.Option(help="Images in work at a time, a thread each; changes no score.")] = None,
    resume: Annotated[bool, typer.Option(help="Skip the images that the CSV already holds.")] = False,
    max_megapixels: Annotated[
        int | None, typer.Option(min=1, help="Refuse larger images, decompression bombs; default 178.")
    ] = None,
    background: Annotated[str, typer.Option(help="RRGGBB under transparent pixels.")] = "ffffff",
) -> None:
    """Rate images: P(high) averaged over random views, with a ranked table at the end.

    Exit status: 0 when every image was scored, 1 when some could not be read (each is named with its reason) or none was
    found, 2 for a wrong call, 130 when interrupted; files written so far are valid then, and --resume goes on.
    """
    from dcnn_fast.cli.score_run import ScoreOptions, run  # noqa: PLC0415 - keeps `dcnn-fast --help` fast

    options = ScoreOptions(
        paths=tuple(paths or ()), recursive=recursive, csv=csv, jsonl=jsonl, html=html, model=model, views=views, grid=grid,
        seed=seed, device=device, dtype=dtype, top=top, batch=batch, workers=workers, resume=resume,
        max_megapixels=max_megapixels, background=background,
    )  # fmt: skip
    raise typer.Exit(run(options))
