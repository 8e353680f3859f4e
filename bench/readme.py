"""Writes the figures of docs/performance.md and the README's table from the committed results: `python -m bench.readme`.

Modelled times follow from the counts and the model alone, not from a result. Where the sources have changed since the
measurement, the section says "stale since", by suites. Run it after a new measurement and after a change that makes figures
stale: it needs no measurement and takes seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from bench import result as results
from bench import sources
from bench.result import Result
from bench.row import OURS, OURS_BF16, Row, counted
from bench.suites import backbone, host, host_step, jpeg, kernels, paper, read, score, training
from bench.training_step import EAGER

PAGE, README = "docs/performance.md", "README.md"
START, END = "<!-- performance: made by `python -m bench.readme` -->", "<!-- end of performance -->"
FIGURES_START, FIGURES_END = "<!-- figures: made by `python -m bench.readme` -->", "<!-- end of figures -->"
MINE = (OURS, OURS_BF16)
PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True)
class Mark:
    """Suites of a result file with stale figures: since when, and for what reason."""

    file: str
    suites: tuple[str, ...]
    since: str
    changed: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"**Stale since {self.since}**: the figures of {', '.join(self.suites)} in `{self.file}` were measured "
            f"with older sources (changed since: {'; '.join(self.changed)})."
        )


_MARK = re.compile(
    r"\*\*Stale since (.+?)\*\*: the figures of (.+?) in `(.+?)` were measured with older sources \(changed since: (.+)\)\."
)


def marks_in(section: str) -> list[Mark]:
    """The marks in a section."""
    found = _MARK.findall(section)
    return [Mark(file, tuple(suites.split(", ")), since, tuple(what.split("; "))) for since, suites, file, what in found]


def marks(found: Mapping[str, Result], before: Sequence[Mark], now: str, root: Path = sources.ROOT) -> list[Mark]:
    """The marks required in a section of these results.

    found: results by their files' displayed paths. before: the section's present marks, whose dates stay. now: the date of new
    ones.
    """
    since = {(mark.file, suite): mark.since for mark in before for suite in mark.suites}
    grouped: dict[tuple[str, str], list[str]] = {}
    changed = {file: result.changed(root) for file, result in found.items()}
    for file, suites in changed.items():
        for suite in suites:
            grouped.setdefault((file, since.get((file, suite), now)), []).append(suite)
    return [
        Mark(file, tuple(suites), when, _places(what for suite in suites for what in changed[file][suite]))
        for (file, when), suites in grouped.items()
    ]


def _places(changed: Iterable[str]) -> tuple[str, ...]:
    """Folders at most two deep, with the benchmark's own as one, for readers of the page."""
    short = ("/".join(what.split("/")[: 1 if what.startswith("bench/") else 2]) for what in changed)
    return tuple(sorted(set(short)))


def stale(carried: Iterable[Mark]) -> set[tuple[str, str]]:
    """The pairs of file and suite named in marks."""
    return {(mark.file, suite) for mark in carried for suite in mark.suites}


COMPARED = ("block", "score", "backbone")  # suites that compare ours with the best peer
MEASURED = "Measured"
# The origin of the other suites' figures.
KINDS = {
    "host": "Measured, with the launches for GPUs counted and not run",
    "kernels": "Modelled, from what the PTX simulator counted; nothing ran on a GPU",
}


def section(found: Mapping[str, Result], carried: Sequence[Mark]) -> str:
    """The section's text. found: results by their files' paths; the first is shown, the others are named.

    carried: the stale marks.
    """
    (source, shown), *others = found.items()
    of_shown = {suite for file, suite in stale(carried) if file == source}
    tables = {
        COMPARED: _comparisons(shown.rows), ("training",): _training(shown.rows),
        ("jpeg",): _large_files(shown.rows), ("paper",): _paper(shown.rows), ("scaling",): _scaling(shown.rows),
        ("read",): _read(shown.rows), ("host",): _host(shown.rows), ("serve",): _serve(shown.rows),
        ("kernels",): _modelled(),
    }  # fmt: skip
    some = not set(shown.suites) <= of_shown  # else the mark at the top covers all
    parts = [
        [str(mark) for mark in carried if mark.file == source],
        _machine(shown, source),
        *(
            [*_stale_line(suites, of_shown if some else set()), f"*{KINDS.get(suites[0], MEASURED)}:*", "", *lines]
            for suites, lines in tables.items()
            if lines
        ),
        _bullets("Slower than the best peer:", _losses(shown.rows)),
        _bullets("No time, as the output disagreed:", shown.refused),
        _bullets("Not measured to the end:", shown.failed),
        _bullets("Below the floors that the project set itself (`bench/floors.py`):", shown.missed),
        _bullets("Floors without a measurement:", shown.unjudged),
        _others(others, carried),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _stale_line(suites: Sequence[str], of_shown: set[str]) -> list[str]:
    named = [suite for suite in suites if suite in of_shown]
    return [f"(**Stale**, as said above: {', '.join(named)}.)", ""] if named else []


def _others(others: Sequence[tuple[str, Result]], carried: Sequence[Mark]) -> list[str]:
    lines = []
    for file, result in others:
        lines.append(f"[`{file}`](../{file}): {', '.join(result.suites)} on {result.machine['processor']}, {_when(result)}")
        lines += [f"  {mark}" for mark in carried if mark.file == file]
    return ["Other results:", "", *(line if line.startswith("  ") else f"- {line}" for line in lines)] if lines else []


def _when(result: Result) -> str:
    return f"measured {result.measured}" if result.measured else "of a date that was not written down"


def _machine(result: Result, source: str) -> list[str]:
    machine, limits = result.machine, result.limits
    peak = max(rate for name, rate in limits.items() if name.startswith("multiply-adds"))
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    when = f" ({result.measured})" if result.measured else ""
    return [
        f"Measured on {machine['processor']}, {machine['cores']} cores{when}; {packages}. One thread does {peak:.0f} GFLOP/s",
        f"of fp32 multiply-adds in registers, torch's matrix product {limits['torch GEMM 2048 float32']:.0f} in fp32 and "
        f"{limits['torch GEMM 2048 bfloat16']:.0f} in bf16.",
        f"Everything, the slower peers too, is in [`{source}`](../{source}); `python -m bench` repeats it.",
    ]


def _comparisons(rows: Sequence[Row]) -> list[str]:
    """A line per case and precision: ours, the best peer and the ratio, for each number of threads."""
    mine = [row for row in rows if row.suite in COMPARED and row.name in MINE]
    threads = _distinct(row.threads for row in mine)
    what = _distinct((row.suite, row.case, row.precision) for row in mine)
    lines = []
    for suite, case, precision in what:
        cells = []
        for count in threads:
            same = [row for row in rows if _key(row) == (suite, case, count, precision)]
            ours = [row for row in same if row.name in MINE]
            others = [row for row in same if row.name not in MINE]
            cells.append(_compared(ours[0], others) if ours and others else "-")
        name = {"block": f"{case} alone, 50 images", "score": f"50 samples, {case}"}.get(suite, case)
        lines.append(f"| {name} | {precision} | {' | '.join(cells)} |")
    if not lines:
        return []
    columns = " | ".join(f"{counted(count)}: dcnn_fast, best peer, ratio" for count in threads)
    head = _header(f"same weights, same windows, outputs agree | precision | {columns}")
    return ["Each peer in the fastest of its settings here; the ratio is its time over ours.", "", *head, *lines]


def _compared(ours: Row, others: Sequence[Row]) -> str:
    best = min(others, key=lambda row: row.seconds)
    name = best.name.removesuffix(" bf16")
    return f"{ours.seconds * 1e3:.0f} ms, {name} {best.seconds * 1e3:.0f} ms, **{best.seconds / ours.seconds:.2f}**"


def _key(row: Row) -> tuple[str, str, int, str]:
    return row.suite, row.case, row.threads, row.precision


def _training(rows: Sequence[Row]) -> list[str]:
    """Seconds and memory of a step, ours and torch eager's."""
    steps = {(row.case, row.name): row for row in rows if row.suite == "training"}
    lines = []
    for case in (training.SCNN, training.DCNN):
        ours, eager = steps.get((case, OURS)), steps.get((case, EAGER))
        if ours and eager:
            share = f"{ours.peak_bytes / eager.peak_bytes:.0%}" if ours.peak_bytes and eager.peak_bytes else "-"
            setting = f", {ours.setting}" if ours.setting else ""
            times = f"{ours.seconds:.2f} s{setting} | {eager.seconds:.2f} s, **{eager.seconds / ours.seconds:.2f}**"
            lines.append(f"| {case}, {counted(ours.threads)} | {times} | {share} |")
    head = _header("mini-batches of 128 | dcnn_fast | torch eager in its fastest setting, ratio | our memory over its")
    return [*head, *lines] if lines else []


def _large_files(rows: Sequence[Row]) -> list[str]:
    found = [row for row in rows if row.suite == "jpeg" and row.case == jpeg.NETWORK]
    if not found:
        return []
    lines = []
    for row in found:
        same = [other for other in rows if (other.suite, other.threads, other.name) == (row.suite, row.threads, row.name)]
        took = {other.case: f"{other.seconds * 1e3:.0f} ms" for other in same}
        times = " | ".join(took.get(case, "-") for case in (jpeg.DECODING, jpeg.NETWORK, jpeg.WHOLE))
        lines.append(f"| {row.precision} | {row.threads} | {times} | {row.ratio or 0:.2f} |")
    about = found[0].note.split(", seconds")[0]
    head = _header("precision | threads | decoding | network | both, end to end | decoding / network")
    return [f"DCNN, 50 samples, grid 1, from JPEG files ({about}), an image:", "", *head, *lines]


def _read(rows: Sequence[Row]) -> list[str]:
    """A line per size, a column per kind of file: the time as a multiple of Pillow's decoding alone."""
    found = {(row.case, row.name): row for row in rows if row.suite == "read"}
    if not found:
        return []
    lines = []
    for size in read.MEGAPIXELS:
        cells = []
        for kind in read.KINDS:
            ours, bare = found.get((read.case(kind, size), OURS)), found.get((read.case(kind, size), read.PILLOW))
            cells.append(f"{ours.seconds * 1e3:.0f} ms, {ours.seconds / bare.seconds:.2f} x" if ours and bare else "-")
        tensor = found.get((read.case(read.SRGB, size), read.TO_TENSOR))
        cells.append(f"{tensor.seconds * 1e3:.0f} ms, {tensor.ratio or 0:.2f} x" if tensor else "-")
        lines.append(f"| {size} | {' | '.join(cells)} |")
    about = (
        "Reading a JPEG file (decode, turn, convert, hash, reduce), time of one processor, and over Pillow's decoding alone:"
    )
    return [about, "", *_header(f"megapixels | {' | '.join(read.KINDS)} | {read.TO_TENSOR}, sRGB"), *lines]


def _paper(rows: Sequence[Row]) -> list[str]:
    """Minutes from files and for the network only: a line per network, a column per precision and number of threads."""
    ours = [row for row in rows if row.suite == "paper"]
    if not ours:
        return []
    columns = sorted({(row.threads, row.precision) for row in ours}, key=lambda c: (PRECISIONS.index(c[1]), c[0]))
    minutes = {(row.case, row.threads, row.precision): f"{row.seconds / 60:.1f}" for row in ours}
    lines = []
    for name in _distinct(row.case.split(", ")[0] for row in ours):
        note = next(row.note for row in ours if row.case.startswith(f"{name}, "))
        parts = [
            [minutes.get((f"{name}, {part}", *column), "-") for part in (paper.FROM_FILES, paper.NETWORK)] for column in columns
        ]
        cells = " | ".join(f"{files} / {network} min" for files, network in parts)
        lines.append(f"| {name} | {note.split('the paper: ')[1]} | {cells} |")
    heads = " | ".join(f"{precision}, {counted(threads)}" for threads, precision in columns)
    count = ours[0].note.split(" scaled")[0]
    about = f"2,048 images, 50 samples each, scaled from {count}: from JPEG files / network only:"
    return [about, "", *_header(f"network | the paper | {heads}"), *lines]


def _scaling(rows: Sequence[Row]) -> list[str]:
    shared = {
        row: row.ratio
        for row in rows
        if row.suite == "scaling" and row.name == f"{OURS}, sharing" and row.threads == 1 and row.ratio
    }
    if not shared:
        return []
    least, most = min(shared, key=shared.__getitem__), max(shared, key=shared.__getitem__)
    least_case, most_case = (re.sub(r"\bview", "sample", row.case) for row in (least, most))  # as results have named it
    return [
        f"Sharing against every window by itself, on one thread: from {shared[least]:.2f} x ({least_case}) to "
        f"{shared[most]:.2f} x ({most_case}).",
    ]


def _host(rows: Sequence[Row]) -> list[str]:
    """The host's times, a line per case, beside those at the commit where the C++ core began."""
    found = [row for row in rows if row.suite == "host"]
    if not found:
        return []
    lines = []
    for row in found:
        said = row.note.removeprefix("at c820935: ") or "-"
        gain = "" if row.ratio is None else f", {row.ratio:.2f} x"
        if row.case in host_step.STEPS:
            gain = f", {row.ratio:.0f} launched a step"
        if row.case in host.FIXED:
            gain = f", {row.ratio:.0f} launched a batch"
        lines.append(f"| {row.case} | {row.precision} | {row.seconds * 1e3:.3g} ms{gain} | {said} |")
    before = "before, at commit c820935, on another machine (two AMD cores)"
    head = _header(f"the host's side, launches for GPUs collected and not run | precision | a time | {before}")
    return [*head, *lines]


def _serve(rows: Sequence[Row]) -> list[str]:
    """Pictures per second, a line per case."""
    found = [row for row in rows if row.suite == "serve"]
    if not found:
        return []
    lines = [f"| {row.case} | {1 / row.seconds:.1f} | {_share(row.ratio)} | {row.note} |" for row in found]
    return [*_header("the shipped model over HTTP on loopback | pictures a second | of that before | how"), *lines]


def _share(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.0%}"


def _modelled() -> list[str]:
    """A line a block, a column a GPU: Triton's kernel and the one in CUDA C++, by the model as it is now."""
    times: dict[tuple[str, str, str], float] = {}
    for row in kernels.rows():
        by = re.fullmatch(r"(.+) fp16 (triton|cuda) \(modelled\)", row.name) if isinstance(row, Row) else None
        if isinstance(row, Row) and by is not None:
            times[row.case, by[1], by[2]] = row.seconds
            times[row.case, by[1], "floor"] = row.seconds * (row.share or 0)
    cases, gpus = (_distinct(key[i] for key in times) for i in range(2))
    lines = []
    for case in cases:
        cells = (
            f"{_tenths(times, (case, gpu, 'triton'))}, {_tenths(times, (case, gpu, 'cuda'))} "
            f"({_tenths(times, (case, gpu, 'floor'))})"
            for gpu in gpus
        )
        lines.append(f"| {case} | {' | '.join(cells)} |")
    return [*_header(f"SCNN in fp16, ms: Triton, CUDA C++ (the physical limit) | {' | '.join(gpus)}"), *lines]


def _tenths(times: Mapping[tuple[str, str, str], float], key: tuple[str, str, str]) -> str:
    return f"{1e3 * times[key]:.2g}" if key in times else "-"


def _losses(rows: Sequence[Row]) -> list[str]:
    return [
        f"{row.case}, {counted(row.threads)}, {row.precision}: {row.ratio:.2f} x"
        for row in rows
        if row.suite in COMPARED and row.name in MINE and row.ratio is not None and row.ratio < 1
    ]


def _bullets(title: str, lines: Sequence[str]) -> list[str]:
    return [title, "", *(f"- {line}" for line in lines)] if lines else []


def _header(columns: str) -> list[str]:
    return [f"| {columns} |", "|" + "---|" * (columns.count(" | ") + 1)]


def _distinct(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


SHOWN = ("score", "backbone", "training")  # suites with figures in the README
_FIGURES = {  # a case and its name in the README
    **{case: f"50 samples, {case}" for case in (score.GRID_1, score.GRID_8, score.DCNN)},
    backbone.LITE0: backbone.LITE0,
    **{case: f"{case}, 128 windows" for case in (training.SCNN, training.DCNN)},
}


def figures(found: Mapping[str, Result], carried: Sequence[Mark]) -> str:
    """The README's table: whole scores and training steps of the first result, with its largest number of threads."""
    (source, shown), *_ = found.items()
    old = [suite for file, suite in sorted(stale(carried)) if file == source and suite in SHOWN]
    lines = [line for case, name in _FIGURES.items() for line in _figure(shown.rows, case, name)]
    changed = f" **Stale**: sources of {', '.join(old)} have changed since." if old else ""
    about = f"{shown.machine['processor']}, {shown.machine['cores']} cores, fp32, {_when(shown)}.{changed}"
    head = _header("same weights, same windows, outputs agree | dcnn_fast | best peer in its fastest setting | ratio")
    page = f"[Everything that was measured]({PAGE}), including cases where a peer or a target was not beaten."
    return "\n".join([*head, *lines, "", about, page, ""])


def _figure(rows: Sequence[Row], case: str, name: str) -> list[str]:
    """One line of the README's table; empty where the case was not measured."""
    same = [row for row in rows if row.case == case and row.precision == "fp32" and row.suite in SHOWN]
    most = max((row.threads for row in same), default=0)
    ours = [row for row in same if row.threads == most and row.name in MINE]
    others = [row for row in same if row.threads == most and row.name not in MINE]
    if not ours or not others:
        return []
    best = min(others, key=lambda row: row.seconds)
    times = f"{_time(ours[0].seconds)} | {best.name}, {_time(best.seconds)} | **{best.seconds / ours[0].seconds:.2f}**"
    return [f"| {name}, {counted(most)} | {times} |"]


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.0f} ms"


def section_of(page: str, start: str = START, end: str = END) -> str:
    """The section between its marks. Raises ValueError where they are missing."""
    try:
        return page.split(f"{start}\n")[1].split(end, maxsplit=1)[0]
    except IndexError:
        raise ValueError(f"no section begins with {start}") from None


def replaced(page: str, text: str, start: str = START, end: str = END) -> str:
    """`page` with the section between its marks replaced."""
    return page.replace(f"{start}\n{section_of(page, start, end)}{end}", f"{start}\n{text}{end}")


def named(found: Mapping[Path, Result], root: Path) -> dict[str, Result]:
    """Results by their paths relative to the root, as on the page."""
    return {path.resolve().relative_to(root.resolve()).as_posix(): result for path, result in found.items()}


def _since(state: sources.State) -> str:
    return f"{state.date}, after {state.commit}" if state.commit else state.date


def main(root: Annotated[Path, typer.Option(help="The project's folder.")] = sources.ROOT) -> None:
    """Write docs/performance.md's section and the README's table from the results in bench/results, the latest in full.

    What is stale is marked; a mark that is there keeps its date.
    """
    page, readme = root / PAGE, root / README
    try:
        found = named(results.committed(root / "bench" / "results"), root)
        if not found:
            raise ValueError(f"{root / 'bench' / 'results'} holds no results")
        text, front = page.read_text(), readme.read_text()
        carried = marks(found, marks_in(section_of(text)), _since(sources.state(root)), root)
        written = replaced(text, section(found, carried))
        written_front = replaced(front, figures(found, carried), FIGURES_START, FIGURES_END)
    except (OSError, ValueError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    for path, before, after in ((page, text, written), (readme, front, written_front)):
        if before != after:
            path.write_text(after)
    for mark in carried:
        typer.echo(str(mark))


app = typer.Typer(add_completion=False)
app.command()(main)

if __name__ == "__main__":
    app()
