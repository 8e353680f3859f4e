"""Entry point of the command `dcnn-fast`."""

from __future__ import annotations

import errno
import logging
import platform
import sys
from importlib import metadata
from typing import Annotated

import typer

from dcnn_fast.cli import data, descriptors
from dcnn_fast.cli.adapt import adapt
from dcnn_fast.cli.config import Configured
from dcnn_fast.cli.console import StreamError, be_quiet, flush, note, prepare_streams
from dcnn_fast.cli.convert import convert
from dcnn_fast.cli.crossval import crossval
from dcnn_fast.cli.describe import describe
from dcnn_fast.cli.evaluate import evaluate
from dcnn_fast.cli.explain import explain
from dcnn_fast.cli.export import export
from dcnn_fast.cli.former import Command
from dcnn_fast.cli.plan import plan
from dcnn_fast.cli.reproduce import reproduce
from dcnn_fast.cli.score import score
from dcnn_fast.cli.serve import serve
from dcnn_fast.cli.train import train
from dcnn_fast.cli.why import why
from dcnn_fast.version import version

_OF_STREAMS = (errno.ENOSPC, errno.EPIPE, errno.EIO, errno.EBADF)

app = typer.Typer(
    help="Rates photographs with the networks of 'Rating Image Aesthetics using Deep Learning'.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dcnn-fast {version()}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors and notes: no tables, no progress.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print versions first, and all log messages of the package.")
    ] = False,
) -> None:
    """Options of every command; they go before its name."""
    if quiet:
        be_quiet()
    if verbose:
        _tell_everything()


def _tell_everything() -> None:
    """Print versions on standard error, and log there from now on."""
    names = ("torch", "numpy", "pillow")
    note(f"dcnn-fast {version()}, Python {platform.python_version()}, {', '.join(f'{n} {metadata.version(n)}' for n in names)}")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logger = logging.getLogger("dcnn_fast")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)


app.command(cls=Command)(score)
app.command(cls=Command)(describe)
app.command(cls=Command)(explain)
app.command(cls=Command)(plan)
app.command(cls=Command)(why)
app.add_typer(data.app, name="data")
app.command(cls=Configured)(train)
app.command(cls=Configured)(adapt)
app.command(cls=Configured)(crossval)
app.command(cls=Command)(evaluate)
app.command(cls=Command)(reproduce)
app.command(cls=Command)(convert)
app.command(cls=Command)(export)
app.command(cls=Command)(serve)


def run() -> None:
    """Run the command line.

    Exit status: 0 for success; 1 when images failed; 2 for a wrong call; 3 when an output could not be written; 128 plus the
    signal's number when a signal ended it (130 for Ctrl-C).
    """
    descriptors.occupy_closed()
    prepare_streams()
    try:
        try:
            app(prog_name="dcnn-fast")  # also under `python -m dcnn_fast`: completion is for this command name
        finally:
            flush()
    except OSError as error:
        # Typer's own output (--help) fails with a bare error; every other error names its file.
        printing = isinstance(error, StreamError) or (error.filename is None and error.errno in _OF_STREAMS)
        note(f"error: standard output: {error.strerror}" if printing else f"error: {error}")
        sys.exit(3 if printing else 2)
