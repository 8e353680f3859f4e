"""`dcnn-fast why`: which parts of a photograph raise its score and which lower it, as a picture and as numbers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dcnn_fast.cli import ranges
from dcnn_fast.cli.console import StreamError, fail, note, stderr, stdout
from dcnn_fast.cli.options import Panel, takes
from dcnn_fast.cli.targets import Kind, TargetError, Wanted, check, json_with

if TYPE_CHECKING:
    from dcnn_fast.scoring.why import HeatMap


@dataclass(frozen=True, kw_only=True)
class Written:
    """Files that are written."""

    out: Annotated[
        str,
        typer.Option(metavar="PATH", help="The picture to write, .png or .jpg: the photograph beside its heat map."),
    ]
    json_path: Annotated[
        str | None, typer.Option("--json", metavar="PATH", help="Also write the cells' values as JSON; - is standard output.")
    ] = None
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the picture and the JSON file of an earlier run.")] = (
        False
    )


@dataclass(frozen=True, kw_only=True)
class Explained:
    """The model to explain, and the map's detail."""

    model: Annotated[Path | None, typer.Option(help="A model file; default: the shipped one.")] = None
    cells: Annotated[int, typer.Option(help="Cells along the long side of the photograph, 2 to 64.")] = 12
    samples: Annotated[int, typer.Option(help="Number of samples, for a model whose windows differ.")] = 50
    seed: Annotated[int, typer.Option(callback=ranges.SEED, help="Seed of the windows; equal seeds give equal maps.")] = 0


@dataclass(frozen=True, kw_only=True)
class WhyOptions:
    """The command line of `dcnn-fast why`."""

    photograph: Annotated[Path, typer.Argument(help="The photograph to explain.")]
    written: Annotated[Written, Panel("Files that are written")]
    explained: Annotated[Explained, Panel("The map")] = field(default_factory=Explained)


@takes(WhyOptions)
def why(options: WhyOptions) -> None:
    """Draw which parts of a photograph raise its score and which lower it.

    For a model that sees the whole photograph, as the shipped one does, each cell in turn is covered and the photograph scored
    again; for a model of random windows, a cell's value comes from the scores of the windows over it. The map shows what this
    model reacts to, not what is good or bad about the photograph.

    Exit status: 0; 1 when the photograph cannot be read; 2 for a wrong call; 3 when an output could not be written.
    """
    from dcnn_fast.cli.writing import PICTURE, picture_failed, write_failed  # noqa: PLC0415 - keeps `dcnn-fast --help` fast
    from dcnn_fast.data.reading import ReadError  # noqa: PLC0415
    from dcnn_fast.scoring import Scorer  # noqa: PLC0415
    from dcnn_fast.scoring.why import ABOUT, heat_map  # noqa: PLC0415
    from dcnn_fast.viz.heat_map import heat_picture  # noqa: PLC0415
    from dcnn_fast.viz.picture_files import save_picture  # noqa: PLC0415

    photograph, written, explained = options.photograph, options.written, options.explained
    out, json_path, model = written.out, written.json_path, explained.model
    if Path(out).suffix not in (".png", ".jpg"):
        fail(f"--out must end in .png or .jpg, got {out}")
    numbers: Kind = json_with("the values of a heat map", "dcnn_fast_heat_map", "values")
    wanted = [Wanted("--out", out, PICTURE), *([] if json_path is None else [Wanted("--json", json_path, numbers)])]
    inputs: list[str | Path] = [photograph, *([] if model is None else [model])]
    try:
        picture, *values = check(wanted, inputs=inputs, overwrite=written.overwrite)
        scorer = Scorer(model, samples=explained.samples, seed=explained.seed, per_sample=True)
        found = heat_map(scorer, photograph, cells=explained.cells)
    except ReadError as error:
        note(f"{photograph}: {error}")
        raise typer.Exit(1) from None
    except StreamError:
        raise
    except (TargetError, ValueError, OSError) as error:
        fail(str(error))
    drawn = heat_picture(found.pixels, found.values, middle=found.middle)
    failed = picture_failed(picture, lambda path: save_picture(drawn, path))
    for target in values:
        content = json.dumps(_as_dict(found, photograph, ABOUT[found.kind]), allow_nan=False)
        failed = write_failed(target, (content + "\n").encode()) or failed
    shown = stderr() if any(target.is_standard_output for target in values) else stdout()
    shown.print(f"P(high) {found.score.mean:.4f}, {found.kind}, {found.values.shape[0]} x {found.values.shape[1]} cells")
    note(ABOUT[found.kind])
    if scorer.caution:
        note(scorer.caution)
    if failed:
        raise typer.Exit(3)


def _as_dict(found: HeatMap, photograph: Path, about: str) -> dict[str, Any]:
    return {
        "dcnn_fast_heat_map": 1, "path": str(photograph), "kind": found.kind, "mean": found.score.mean,
        "width": found.pixels.shape[1], "height": found.pixels.shape[0], "values": found.rows(), "about": about,
    }  # fmt: skip
