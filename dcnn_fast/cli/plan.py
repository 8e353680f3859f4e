"""`dcnn-fast plan`: the work in the sharing plan of one photograph, and a picture of which region serves which windows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from dcnn_fast.cli import ranges
from dcnn_fast.cli.console import StreamError, fail, plain_table, stderr, stdout
from dcnn_fast.cli.options import takes
from dcnn_fast.cli.targets import Kind, Wanted, check


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """The command line of `dcnn-fast plan`."""

    image: Annotated[Path, typer.Argument(help="The photograph to plan for.")]
    model: Annotated[str | None, typer.Option(help="A model file or a preset; default: the shipped model.")] = None
    samples: Annotated[int, typer.Option(help="Samples in the plan: random windows, one for each column.")] = 50
    grid: Annotated[int, typer.Option(help="Windows lie at multiples of this: 1 (the paper), 2, 4 or 8.")] = 1
    seed: Annotated[int, typer.Option(callback=ranges.SEED, help="Seed of the windows.")] = 0
    svg: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="Draw block 1's regions over the photograph; only a picture of this command is replaced."
        ),
    ] = None


@takes(PlanOptions)
def plan(options: PlanOptions) -> None:
    """Print, for each column and block, the regions of the plan and its multiplications with and without sharing.

    Windows of one class have offsets that agree modulo the convolution's stride, and read the same results of the previous
    block. Multiplications are those of the C++ engine in fp32, which computes most convolutions in tiles, transforms included.
    For comparison, the cost without sharing is printed in such tiles and as plain sums over the taps. Exit status: 0; 2 for a
    wrong call; 3 when the picture could not be written.
    """
    from dcnn_fast.cli.describe import network_named  # noqa: PLC0415 - keeps `dcnn-fast --help` fast
    from dcnn_fast.cli.writing import write_failed  # noqa: PLC0415
    from dcnn_fast.data.reading import ReadError  # noqa: PLC0415
    from dcnn_fast.runtime import PlaneJob, require_kind  # noqa: PLC0415
    from dcnn_fast.scoring.prepare import prepare  # noqa: PLC0415
    from dcnn_fast.scoring.scorer import require_draws  # noqa: PLC0415
    from dcnn_fast.scoring.shipped import shipped_model  # noqa: PLC0415
    from dcnn_fast.viz.plan_picture import is_plan_picture, plan_picture  # noqa: PLC0415

    image, model, svg = options.image, options.model, options.svg
    wanted = [] if svg is None else [Wanted("--svg", svg, Kind("a picture of a plan", is_plan_picture), kept=True)]
    inputs: list[str | Path] = [image, *([] if model is None else [model])]
    failed = False
    try:
        targets = check(wanted, inputs=inputs)
        require_draws(options.samples, options.grid, options.seed)
        network = network_named(str(shipped_model()) if model is None else model, "convnet")
        prepared = prepare(str(image), network, samples=options.samples, grid=options.grid, seed=options.seed)
        jobs = require_kind("jobs", prepared.jobs, PlaneJob)
        for key, column, job in zip(network.column_keys(), network.columns, jobs, strict=True):
            _print_column(key, column, job, stderr() if any(each.is_standard_output for each in targets) else stdout())
        for target in targets:
            failed = write_failed(target, plan_picture(network, jobs).encode())
    except StreamError:
        raise
    except (ValueError, OSError, ReadError) as error:
        fail(f"{image}: {error}" if isinstance(error, ReadError) else str(error))
    if failed:
        raise typer.Exit(3)


def _print_column(key: str, column: Any, job: Any, out: Console) -> None:
    from dcnn_fast.plan import brute_force  # noqa: PLC0415 - imports torch
    from dcnn_fast.plan.cost import costs_of  # noqa: PLC0415

    brute = brute_force(column, job.windows)
    rows, cols = job.plane.shape[:2]
    distinct = len(set(brute.window_of.tolist()))
    out.print(
        f"column {key}: {len(job.windows)} windows ({distinct} different) of a {rows} x {cols} plane, plan: {job.plan.name}"
    )
    if not brute.blocks:
        out.print("its layers see whole windows, each by itself: nothing is shared but what is the same window")
        return
    table = plain_table(
        "block", "classes", "windows in them", "their regions", "all", "multiplications", "without sharing", "as sums", "fewer"
    )
    costs = zip(costs_of(column, "cpu"), costs_of(column, "reference"), strict=True)
    blocks = zip(column.blocks, job.plan.blocks, brute.blocks, costs, strict=True)
    for number, (block, shared, alone, (tiled, plain)) in enumerate(blocks, 1):
        counts = tiled.multiplications(shared), tiled.multiplications(alone), plain.multiplications(alone)
        serving = [(region, images) for region in shared if len(images := _served(region)) > 1]
        classes = {(region.source, region.top % block.stride, region.left % block.stride) for region, _ in serving}
        windows = set().union(*(images for _, images in serving))
        sizes = len(classes), len(windows), len(serving), len(shared)
        cells = (*map(str, sizes), *(f"{count:,.0f}" for count in counts), f"{counts[2] / counts[0]:.2f} x")
        table.add_row(f"conv{number}", *cells)
    out.print(table)


def _served(region: Any) -> set[int]:
    """The windows that use a region's results."""
    return {store.image for piece in region.pieces for store in piece.stores if store.output == 0}
