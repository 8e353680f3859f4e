"""The shipped model: train it, and measure it on photographs that training never saw.

    pip install -e '.[studies]'
    DCNN_FAST_DATA=... python -m studies.taste measure --out runs/taste    # prints every bar; writes report.md and report.json
    DCNN_FAST_DATA=... python -m studies.taste ship --out runs/taste       # trains on everything; writes default.safetensors
    DCNN_FAST_DATA=... python -m studies.taste personal --out runs/taste   # adapts it to four people; with the extra train

The first two keep the frozen layers' means of all photographs in --out and do not compute them again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from studies.taste import features, protocol, report, shipping
from studies.taste import personal as persons

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)

Data = Annotated[Path, typer.Option(envvar="DCNN_FAST_DATA", help="Folder with oasis/ and photos/.")]
Out = Annotated[Path, typer.Option(help="Folder of what is kept and written.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes.")]


@app.command()
def measure(data: Data, out: Out, workers: Workers = 2) -> None:
    """Train and score in every fold of every seed; print the bars and write the report."""
    found = report.measured(_study(data, out, workers), workers)
    report.write(found, out)


@app.command()
def ship(data: Data, out: Out, workers: Workers = 2) -> None:
    """Train on all photographs and write default.safetensors."""
    shipping.ship(_study(data, out, workers), data, out)


@app.command()
def personal(data: Data, out: Out) -> None:
    """Fit the shipped model to the ratings of four synthetic people; print how well it then ranks what they did not rate."""
    persons.write(persons.measure(features.rated(data), data), out)


def _study(data: Path, out: Path, workers: int) -> protocol.Study:
    torch.set_num_threads(1)
    kept = out / "features"
    return protocol.Study.of(
        features.rated(data), features.oasis(data, kept, workers), features.photos(data, kept, workers)
    )  # fmt: skip


if __name__ == "__main__":
    app()
