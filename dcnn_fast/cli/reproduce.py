"""`dcnn-fast reproduce`: measures a table of the paper."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dcnn_fast.cli import ranges, sets
from dcnn_fast.cli.console import fail, note, plain_table, stderr, stdout
from dcnn_fast.cli.options import Panel, takes, values_of
from dcnn_fast.cli.stopping import Stop

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from dcnn_fast.evaluation.reproduce import Protocol, Row
    from dcnn_fast.evaluation.timing import Timing


SEMANTIC = "AlexNet's or SqueezeNet's weights as torchvision has them, or a model file."


@dataclass(frozen=True, kw_only=True)
class Learning:
    """The networks' training."""

    scale: Annotated[float, typer.Option(help="Use this share of the photographs, chosen by --seed.")] = 1.0
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of each training.")] = 50
    adapt_epochs: Annotated[int, typer.Option(min=1, help="Epochs of each adaptation.")] = 10
    adapt_local_epochs: Annotated[
        int, typer.Option(min=1, help="Epochs of each adaptation of an SCNN that sees local windows.")
    ] = 50
    batch: Annotated[int, typer.Option(min=1, help="Images in a mini-batch.")] = 128
    rate: Annotated[float, typer.Option(help="Learning rate of the weights; the biases learn at twice this rate.")] = 0.001
    schedule: Annotated[
        str, typer.Option(help="How the rates change: const, linear, exp or dexp, e.g. dexp[tgtFactor=100;numSteps=3].")
    ] = "const"
    flip: Annotated[bool, typer.Option("--flip", help="Mirror half of the training images.")] = False
    seed: Annotated[int, typer.Option(callback=ranges.SEED, help="Seed of weights, order, windows, dropout and choices.")] = 0
    semantic: Annotated[Path | None, typer.Option(dir_okay=False, help=SEMANTIC)] = None


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Smaller columns."""

    plane: Annotated[int | None, typer.Option(help="Side of the planes, for compact columns.")] = None
    window: Annotated[int | None, typer.Option(help="Side of the windows.")] = None
    stride: Annotated[int | None, typer.Option(help="Stride of the first convolution.")] = None
    filters: Annotated[float, typer.Option(help="A factor for every block's filters.")] = 1.0
    fc: Annotated[str, typer.Option(help="Sizes of the fully-connected layers, e.g. 64,32.")] = ""


@dataclass(frozen=True, kw_only=True)
class Testing:
    """How networks are tested, and on which photographs."""

    samples: Annotated[int, typer.Option(min=1, help="Samples averaged for each test image.")] = 50
    test: Annotated[Path | None, typer.Option(help="For iad: AVA's folder, whose test set the paper measures on.")] = None


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The device, processes and memory that the runs may use."""

    device: Annotated[str, typer.Option(help="Where to compute: cpu or cuda.")] = "cpu"
    workers: Annotated[int, typer.Option(callback=ranges.PROCESSES, help="Processes that decode, 256 at most.")] = 0
    cache: Annotated[int, typer.Option(min=0, help="Megabytes of photographs kept in memory.")] = 0


@dataclass(frozen=True, kw_only=True)
class ReproduceOptions:
    """The command line of `dcnn-fast reproduce`."""

    table: Annotated[str, typer.Argument(help="The table to reproduce: table1 to table5, categories or iad.")]
    data: Annotated[Path, typer.Argument(help="AVA's folder; for iad its CSV file; other sets where the table allows them.")]
    out: Annotated[
        Path, typer.Option(file_okay=False, help="The folder of the runs; after an interruption the same command resumes them.")
    ]
    estimate: Annotated[bool, typer.Option("--estimate", help="Estimate how long the run would take, and do nothing else.")] = (
        False
    )
    source: Annotated[sets.SetOptions, Panel("The data set", without=sets.LABELS)] = field(default_factory=sets.SetOptions)
    learning: Annotated[Learning, Panel("Learning")] = field(default_factory=Learning)
    sizes: Annotated[Sizes, Panel("Sizes")] = field(default_factory=Sizes)
    testing: Annotated[Testing, Panel("Testing")] = field(default_factory=Testing)
    machine: Annotated[Machine, Panel("The machine")] = field(default_factory=Machine)

    @property
    def protocol(self) -> Protocol:
        """How the experiments are run. Raises ValueError."""
        from dcnn_fast.cli.train_run import integers  # noqa: PLC0415 - keeps `dcnn-fast --help` fast
        from dcnn_fast.evaluation.reproduce import Protocol  # noqa: PLC0415

        same = values_of(self, without=("table", "data", "out", "estimate", "field"))
        return Protocol(**{**same, "fc": integers("fc", self.sizes.fc), "columns": tuple((self.source.columns or {}).items())})

    @property
    def inputs(self) -> list[Path]:
        """Input files and folders."""
        return [path for path in (self.data, self.learning.semantic, self.testing.test) if path is not None]


@takes(ReproduceOptions)
def reproduce(options: ReproduceOptions) -> None:
    """Run the protocol of one of the paper's tables and print its figures beside the paper's.

    An estimate of the time is printed before anything is trained, and the time of each network at the end, beside the paper's
    times (III-G). Finished rows are kept in --out and not trained again. Our choices where the paper is silent are printed with
    the table and written to <table>.json; <table>.md and <table>.csv are the table, categories.png is the paper's Fig. 9. Exit
    status: 0; 1 when a decoding process died; 2 for a wrong call; 3 when a file could not be written (the others are); 128 plus
    the number of the signal that ended it (130 for Ctrl-C). The same command then resumes.
    """
    from dcnn_fast.evaluation import reproduce as experiments  # noqa: PLC0415 - keeps `dcnn-fast --help` fast
    from dcnn_fast.evaluation.timing import together  # noqa: PLC0415
    from dcnn_fast.training import CheckpointError, DivergedError, WorkerError  # noqa: PLC0415
    from dcnn_fast.training.folder import Folder, require_outputs  # noqa: PLC0415
    from dcnn_fast.viz.category_chart import save_category_chart  # noqa: PLC0415

    table, data, out = options.table, options.data, options.out
    rows: list[Row] = []
    timings: list[Timing] = []
    warned: list[str] = []

    def warn(text: str) -> None:
        warned.append(text)
        note(text)

    files = Folder(out, warn)
    with Stop() as stop:
        try:
            protocol = options.protocol
            outputs = [*(table + suffix for suffix in (".json", ".md", ".csv", ".png")), experiments.PROTOCOL]
            require_outputs(out, outputs, options.inputs)
            _tell_time(table, data, out, protocol, stdout() if options.estimate else stderr())
            if options.estimate:
                raise typer.Exit
            found = experiments.reproduce(
                table, data, out, protocol, report=_announce, warn=warn, progress=stderr(), timed=timings.append
            )  # fmt: skip
            for row in found:
                rows.append(row)
                texts = (
                    (".json", json.dumps(experiments.summary(table, rows, protocol, together(timings)), indent=1) + "\n"),
                    (".md", experiments.markdown(rows)),
                    (".csv", experiments.csv_text(rows)),
                )
                for suffix, text in texts:
                    files.put(table + suffix, _writer(text))
            if bars := experiments.category_bars(rows):
                files.put(f"{table}.png", lambda partial: save_category_chart(bars, partial))
        except typer.Exit:  # a RuntimeError, reported already
            raise
        except WorkerError as error:
            fail(f"{error}; the same command goes on", 1)
        except (ValueError, OSError, RuntimeError, CheckpointError, DivergedError) as error:
            fail(str(error))
        except KeyboardInterrupt as error:
            fail("interrupted; the same command goes on", 128 + error.args[0] if error.args else stop.status)
    stdout().print(_table(table, rows))
    _print_times(together(timings), protocol)
    for choice in experiments.CHOICES:
        stdout().print(choice)
    if warned:
        raise typer.Exit(3)


def _writer(text: str) -> Callable[[Path], None]:
    def write(partial: Path) -> None:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")

    return write


def _tell_time(table: str, data: Path, out: Path, protocol: Protocol, to: Console) -> None:
    """Print the estimated time. Raises ValueError as `reproduce` does."""
    from dcnn_fast.evaluation.estimate import UntoldError, estimate  # noqa: PLC0415

    try:
        text = estimate(table, data, out, protocol).text
    except UntoldError as error:
        text = f"how long this will take cannot be told: {error}"
    to.print(text)


def _print_times(timings: list[Timing], protocol: Protocol) -> None:
    """Print our times beside those of section III-G, for the networks that it times."""
    from dcnn_fast.evaluation.timing import PAPER, PHOTOGRAPHS, WINDOWS, duration  # noqa: PLC0415

    test = f"{PHOTOGRAPHS:,} photographs by {WINDOWS} windows"
    table = plain_table("times (III-G)", "training, paper", "here", f"{test}, paper", "here")
    known = [timing for timing in timings if timing.kind]
    for timing in known:
        ours = ["" if seconds is None else duration(seconds) for seconds in (timing.training, timing.test)]
        training, tested = PAPER[timing.kind]
        table.add_row(timing.run, training, ours[0], tested, ours[1])
    if known:
        stdout().print(table)
        stdout().print(
            f"Here: {protocol.epochs} epochs of a share of {protocol.scale:g} of the set on {protocol.device}; tests of "
            f"{protocol.samples} windows, as if they were as many as the paper's. The paper: GPUs of 2011 to 2013."
        )


def _announce(name: str) -> None:
    note(f"training {name}")


def _table(title: str, rows: list[Row]) -> Table:
    """A table of the paper's figures beside ours, in per cent."""
    from dcnn_fast.evaluation.reproduce import count_text  # noqa: PLC0415

    figures = list(dict.fromkeys(figure for row in rows for figure in row.paper))
    table = plain_table(
        title, "n", *(text for figure in figures for text in (f"{figure}, paper", "here")), "majority", "balanced", "AUC"
    )
    for row in rows:
        if row.skipped:
            table.add_row(row.name, "", *(_cell(row.paper.get(figure)) for figure in figures[:1]), f"skipped: {row.skipped}")
            continue
        cells = [_cell(source.get(figure)) for figure in figures for source in (row.paper, row.measured)]
        if row.interval is not None and "accuracy" in figures:
            cells[2 * figures.index("accuracy") + 1] += f" ({row.interval[0]:.1f} to {row.interval[1]:.1f})"
        others = [_cell(row.majority), *(_cell(row.measured.get(name)) for name in ("balanced", "AUC"))]
        table.add_row(row.name, count_text(row), *cells, *others)
    return table


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
