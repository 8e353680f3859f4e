"""`dcnn-fast score`: the options; `score_run` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dcnn_fast.cli import after, ranges
from dcnn_fast.cli.formulas import ForSpreadsheets
from dcnn_fast.cli.max_memory import MaxMemory


def score(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH...",
            help="Files, folders, zip files, and addresses of fsspec (s3://bucket/photos; the extra stores); - or nothing: one "
            "a line from standard input.",
        ),
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Search subfolders too.")] = False,
    hidden: Annotated[
        bool,
        typer.Option("--hidden", help="In folders, take hidden files and folders too, and the system's (trash, thumbnails)."),
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", help="With -r, search linked folders too, each folder once.")] = False,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="Pass over files and folders found in folders: '*_small.jpg' and 'raw' match names, 'old/*.jpg' the end of a "
            "path, '/old' a path from the folder named, 'old/' folders alone. May be given several times.",
        ),
    ] = None,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="After the last photograph go on, and score others as they come into the folders named (with -r their "
            "subfolders), once a file has not changed for two seconds. Ctrl-C or SIGTERM ends that; then come the table, the "
            "page, the stars.",
        ),
    ] = False,
    csv: Annotated[
        str | None, typer.Option(metavar="PATH", help="Write a CSV row for each image; - is standard output.")
    ] = None,
    jsonl: Annotated[
        str | None, typer.Option(metavar="PATH", help="Write a JSON line for each image; - is standard output.")
    ] = None,
    parquet: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Write a Parquet file with a row for each image, whole at the end of the run; - is standard output. Needs the "
            "extra batch.",
        ),
    ] = None,
    html: Annotated[
        str | None, typer.Option(metavar="PATH", help="Write a page to choose from, best first; - is standard output.")
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace files of --csv, --jsonl, --parquet and --html that an earlier run wrote."),
    ] = False,
    model: Annotated[Path | None, typer.Option(help="A model file; default: the shipped one.")] = None,
    views: Annotated[int, typer.Option(help="Random views averaged for each image.")] = 50,
    grid: Annotated[int, typer.Option(help="Windows lie at multiples of this: 1 (the paper), 2, 4 or 8.")] = 1,
    seed: Annotated[
        int, typer.Option(callback=ranges.SEED, help="Seed of the windows; the same one gives the same scores.")
    ] = 0,
    long_side: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="PIXELS",
            help="Reduce larger photographs to this long side; default: the one that the model learnt from.",
        ),
    ] = None,
    decode: Annotated[
        str,
        typer.Option(
            help="How to decode: exact, or scaled: JPEG files are decoded at 1/2, 1/4 or 1/8 of their size where --long-side, "
            "or the model's, needs no more. Much faster for large photographs; scores differ a little."
        ),
    ] = "exact",
    device: Annotated[
        str, typer.Option(help="Where to compute: cpu, cuda, cuda:N, or auto, a GPU that was checked (else cpu).")
    ] = "auto",
    dtype: Annotated[str, typer.Option(help="Format of the products' operands: float32 or bfloat16 (faster).")] = "float32",
    top: Annotated[int | None, typer.Option(min=1, help="Show the K best; default 20, 2000 on the page of --html.")] = None,
    batch: Annotated[
        int | None, typer.Option(help="Images computed together; changes no score. Default: 4, on a GPU 8.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(callback=ranges.THREADS, help="Images in work at a time, a thread each, 256 at most; changes no score."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the files of --csv and --jsonl: skip the images that they hold, try again those that failed.",
        ),
    ] = False,
    keep_failures: Annotated[
        bool, typer.Option("--keep-failures", help="With --resume, do not try again the images that failed.")
    ] = False,
    max_megapixels: Annotated[
        int | None, typer.Option(min=1, help="Refuse images of more megapixels, such as decompression bombs; default 178.")
    ] = None,
    csv_for_spreadsheets: ForSpreadsheets = False,
    max_memory: MaxMemory = None,
    background: Annotated[str, typer.Option(help="Colour under transparent pixels, RRGGBB.")] = "ffffff",
    faults: Annotated[
        bool,
        typer.Option(
            "--faults",
            help="Look for technical faults and name them in the field faults of --csv and --jsonl and on the page of --html, "
            "beside the score and never in it: blurred, overexposed, underexposed, flat, noisy, tiny, empty.",
        ),
    ] = False,
    per_sample: Annotated[
        bool, typer.Option("--per-sample", help="Write the probabilities of every view with its windows into --jsonl.")
    ] = False,
    groups: Annotated[
        bool,
        typer.Option(
            "--groups",
            help="Find photographs that show the same (copies, edited copies, bursts) and the one of each group to keep, for "
            "the fields group and best_of_group of --csv, --jsonl and --parquet and the page of --html. Scores that differ by "
            "less than their own spread say nothing: the sharpest is kept then.",
        ),
    ] = False,
    heat_maps: Annotated[
        int | None,
        typer.Option(
            "--heat-maps",
            min=1,
            metavar="N",
            help="Show on the page of --html, by the key h, which parts of each of the N best photographs raise its score and "
            "which lower it, as dcnn-fast why does. Made at the end: some fifty scores for each with the shipped model.",
        ),
    ] = None,
    xmp: after.Xmp = False,
    xmp_names: after.XmpNames = None,
    embed: after.Embed = False,
    stars: after.Stars = None,
    stars_at: after.StarsAt = None,
    copy: after.Copy = None,
    link: after.Link = None,
    move: after.Move = None,
    best: after.Best = None,
    above: after.Above = None,
    dry_run: after.DryRun = False,
) -> None:
    """Rate images: P(high) averaged over random views, with a ranked table at the end.

    Nothing that is not the program's own is ever replaced, and no file that is an input, but for the stars that --xmp merges
    into sidecars and --embed into JPEG files. Beside each CSV or JSONL file NAME stands NAME.run.json, which says what decided
    the scores; --resume goes on only with the same model and settings.

    Exit status: 0 when every image was scored; 1 when some could not be read (each is named with its reason) or none was
    found; 2 for a wrong call; 3 when an output could not be written, a photograph's stars among them, or a photograph not
    copied, linked or moved (it is named; the others are whole); 130 when interrupted, 143 by SIGTERM, 129 by SIGHUP: files
    written so far are valid then, and --resume goes on. A second signal ends the run at once.
    """
    from dcnn_fast.cli.score_options import ScoreOptions  # noqa: PLC0415 - keeps `dcnn-fast --help` fast
    from dcnn_fast.cli.score_run import run  # noqa: PLC0415

    options = ScoreOptions(
        paths=tuple(paths or ()), recursive=recursive, hidden=hidden, follow=follow, exclude=tuple(exclude or ()), watch=watch,
        csv=csv, jsonl=jsonl, parquet=parquet, html=html, overwrite=overwrite,
        model=model, views=views, grid=grid, seed=seed, device=device,
        dtype=dtype, top=top, batch=batch, workers=workers, resume=resume, keep_failures=keep_failures,
        max_megapixels=max_megapixels, max_memory=max_memory, long_side=long_side, decode=decode, background=background,
        csv_for_spreadsheets=csv_for_spreadsheets, faults=faults, per_sample=per_sample, groups=groups, heat_maps=heat_maps,
        after=after.After(xmp, xmp_names, embed, stars, stars_at, copy, link, move, best, above, dry_run),
    )  # fmt: skip
    raise typer.Exit(run(options))
