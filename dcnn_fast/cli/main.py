"""Entry point of the command `dcnn-fast`."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated

import typer

from dcnn_fast.cli import data
from dcnn_fast.cli.adapt import adapt
from dcnn_fast.cli.convert import convert
from dcnn_fast.cli.describe import describe
from dcnn_fast.cli.evaluate import evaluate
from dcnn_fast.cli.explain import explain
from dcnn_fast.cli.plan import plan
from dcnn_fast.cli.reproduce import reproduce
from dcnn_fast.cli.score import score
from dcnn_fast.cli.train import train

app = typer.Typer(
    help="Rates photographs with the networks of 'Rating Image Aesthetics using Deep Learning'.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dcnn-fast {metadata.version('dcnn-fast')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of every command."""


app.command()(score)
app.command()(describe)
app.command()(explain)
app.command()(plan)
app.add_typer(data.app, name="data")
app.command()(train)
app.command()(adapt)
app.command()(evaluate)
app.command()(reproduce)
app.command()(convert)


def run() -> None:
    """Run the command line; exit status 0 for success, 1 when images failed, 2 for a wrong call, 130 when interrupted."""
    app()
